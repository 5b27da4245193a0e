"""The list of database cards, the most specific first. A new database is one file here and one entry in `CARDS`."""

from __future__ import annotations

from pathlib import Path

from ecgloss.data.cards import (
    afdb,
    aurorabp,
    challenge,
    cinc2017,
    code15,
    cpsc2018,
    cpsc2020,
    ecg_arrhythmia,
    generic,
    icentia11k,
    incartdb,
    ludb,
    mcmed,
    mimic_iv_ecg,
    mitdb,
    music,
    ptbdb,
    ptbxl,
    sph,
)
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
    mimic_iv_ecg.CARD,
    ecg_arrhythmia.CARD,
    music.CARD,
    code15.CARD,
    sph.CARD,
    mcmed.CARD,
    aurorabp.CARD,
    ludb.CARD,
    mitdb.CARD,
    incartdb.CARD,
    afdb.CARD,
    icentia11k.CARD,
    ptbdb.CARD,
    cinc2017.CARD,
    cpsc2020.CARD,
    cpsc2018.CARD,
    challenge.CARD,
    generic.card(choose),
)

__all__ = ["CARDS", "DatabaseCard", "Entry", "choose"]
