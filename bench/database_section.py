"""Write the section on databases of docs/data.md from the cards: python bench/database_section.py"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ecgloss.data import CARDS
from ecgloss.data.cards import DatabaseCard
from ecgloss.data.cards.describe import leads_in_words, rates_in_words

PAGE = Path(__file__).resolve().parent.parent / "docs" / "data.md"
BEGIN, END = "<!-- begin databases -->", "<!-- end databases -->"


def section(cards: Iterable[DatabaseCard]) -> str:
    """A table of all cards, and what each says in full."""
    cards = tuple(cards)
    lines = ["| card | database | recognised by | leads | rate (Hz) | tasks | licence |", "|---" * 7 + "|"]
    lines += [f"| {' | '.join(_cells(card))} |" for card in cards]
    return "\n".join([*lines, *(line for card in cards for line in _full(card))])


def _cells(card: DatabaseCard) -> tuple[str, ...]:
    """The row of a card."""
    tasks = ", ".join(f"`{task}`" for task in card.tasks) or "–"
    leads, rates = leads_in_words(card.leads), rates_in_words(card.sampling_rate)
    return f"`{card.name}`", card.title, card.recognised_by, leads, rates, tasks, card.licence


def _full(card: DatabaseCard) -> list[str]:
    """The part on one card."""
    lines = ["", f"### {card.title} (`{card.name}`)", "", *(f"- {note}" for note in card.notes)]
    if card.defects:
        lines += ["", "Known defects, and what is done about them:", "", *(f"- {defect}" for defect in card.defects)]
    if card.overlaps:
        lines += ["", f"Overlaps with {', '.join(f'`{name}`' for name in card.overlaps)}."]
    if card.download:
        command, bracket, remark = card.download.partition(" (")
        lines += ["", f"Download: `{command}`{bracket}{remark}"]
    if card.citation:
        lines += ["", f"Cite: {card.citation}"]
    return lines


def filled(text: str) -> str:
    """The page with its section replaced by that of the cards."""
    pattern = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    text, count = re.subn(pattern, lambda _: f"{BEGIN}\n{section(CARDS)}\n{END}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{PAGE.name} needs exactly one {BEGIN} ... {END}, found {count}")
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
