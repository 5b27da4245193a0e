"""Database cards as text, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from ecgloss.data.cards.base import DatabaseCard
from ecgloss.data.recording import STANDARD_LEADS

_WIDTH, _INDENT = 120, 15


def leads_in_words(leads: Sequence[str]) -> str:
    """Names of leads, the twelve standard ones as a number.

    Example:
        >>> leads_in_words((*STANDARD_LEADS, "VX")), leads_in_words(("MLII", "V1"))
        ('12 standard, VX', 'MLII, V1')
    """
    if not set(STANDARD_LEADS) <= set(leads):
        return ", ".join(leads) or "as in the headers"
    return ", ".join(["12 standard", *(lead for lead in leads if lead not in STANDARD_LEADS)])


def rates_in_words(rates: Sequence[float]) -> str:
    """Sampling rates without their unit.

    Example:
        >>> rates_in_words((100.0, 500.0)), rates_in_words(())
        ('100, 500', 'any')
    """
    return ", ".join(f"{rate:g}" for rate in rates) or "any"


def table_of(cards: Iterable[DatabaseCard]) -> str:
    """One line per card: name, sampling rate, leads, title.

    Example:
        >>> from ecgloss.data.cards import CARDS
        >>> print(table_of(CARDS[-1:]))
        name  rate (Hz)  leads              database
        wfdb  any        as in the headers  WFDB records
    """
    rows = [("name", "rate (Hz)", "leads", "database")]
    rows += [(card.name, rates_in_words(card.sampling_rate), leads_in_words(card.leads), card.title) for card in cards]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]) for row in rows)


def describe(card: DatabaseCard) -> str:
    """Everything a card says, a fact a line.

    Example:
        >>> from ecgloss.data.cards import CARDS
        >>> print(describe(CARDS[0]).splitlines()[0])
        ptbxl: PTB-XL, a large publicly available electrocardiography dataset
    """
    facts = {
        "recognised by": card.recognised_by.replace("`", ""),
        "leads": leads_in_words(card.leads),
        "rate (Hz)": rates_in_words(card.sampling_rate),
        "tasks": ", ".join(card.tasks),
        "licence": card.licence,
        "download": card.download,
        "overlaps with": ", ".join(card.overlaps),
        "cite": card.citation,
    }
    lines = [f"{card.name}: {card.title}"]
    for name, text in facts.items():
        if text:
            lines += _wrapped(name.ljust(_INDENT), text)
    for title, sentences in (("how it is read", card.notes), ("known defects", card.defects)):
        if sentences:
            lines += ["", f"{title}:", *(line for sentence in sentences for line in _wrapped("- ", sentence))]
    return "\n".join(lines)


def _wrapped(first: str, text: str) -> list[str]:
    """Lines of a text that begins after some letters; addresses and commands stay whole."""
    rest = " " * len(first)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
