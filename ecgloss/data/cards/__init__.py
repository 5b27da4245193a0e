"""The list of database cards, the most specific first. A new database is one file here and one entry in `CARDS`."""

from __future__ import annotations

from pathlib import Path

from ecgloss.data.cards import challenge, generic, ludb, mitdb, ptbdb, ptbxl
from ecgloss.data.cards.base import DatabaseCard, Entry


def choose(folder: Path) -> DatabaseCard:
    """Return the card of the database in a folder; the generic one where no other matches.

    Args:
        folder: An existing folder.

    Example:
        >>> choose(Path(__file__).parent).name
        'wfdb'
    """
    return next(card for card in CARDS if card.matches(folder))


CARDS: tuple[DatabaseCard, ...] = (
    ptbxl.CARD,
    ludb.CARD,
    mitdb.CARD,
    ptbdb.CARD,
    challenge.CARD,
    generic.card(choose),
)

__all__ = ["CARDS", "DatabaseCard", "Entry", "choose"]
