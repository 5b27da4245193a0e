"""What a database card is: how to recognise a database, how to read it, what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgloss.data.headers import read_comments
from ecgloss.data.recording import Recording


@dataclass(frozen=True)
class Entry:
    """One record of a database, not read yet.

    Attributes:
        name: Relative path without extension.
        read: Reads it; returns one recording, or several where a long record is cut into windows. It may raise
            any exception: the record is then skipped, with the exception's message as the reason.

    Example:
        >>> Entry("a", lambda: []).read()
        []
    """

    name: str
    read: Callable[[], Sequence[Recording]]


@dataclass(frozen=True)
class DatabaseCard:
    """A database: what it holds, how to recognise and read it.

    Attributes:
        name: Short name, as in ``"ptbxl"``.
        title: Name as published.
        sampling_rate: Rate(s) of the originals in Hz.
        leads: Lead names after normalisation.
        tasks: Tasks for which its recordings have labels, besides age and sex.
        licence: Licence of the data.
        citation: What to cite.
        defects: Known defects that the card deals with, one sentence each.
        matches: Tells whether a folder holds this database.
        entries: Yields the records of a folder, given the common rate to which they will be resampled.

    Example:
        >>> from ecgloss.data.cards import CARDS
        >>> [card.name for card in CARDS]
        ['ptbxl', 'ludb', 'mitdb', 'ptbdb', 'challenge', 'wfdb']
    """

    name: str
    title: str
    sampling_rate: tuple[float, ...]
    leads: tuple[str, ...]
    tasks: tuple[str, ...]
    licence: str
    citation: str
    defects: tuple[str, ...]
    matches: Callable[[Path], bool]
    entries: Callable[[Path, float], Iterable[Entry]]


def headers_all_look_like(folder: Path, test: Callable[[tuple[str, ...]], bool]) -> bool:
    """Tell whether one header of every folder below (and including) this one passes a test.

    Args:
        folder: Where to look; a folder without any header does not pass.
        test: Given the comment lines of a header.

    Example:
        >>> headers_all_look_like(Path("no such folder"), lambda comments: True)
        False
    """
    found = False
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        headers = sorted(name for name in files if name.endswith(".hea") and name[0] != ".")
        if headers:
            found = True
            if not test(read_comments(Path(root, headers[0]))):
                return False
    return found
