"""Database cards: what a public ECG database holds, how it is recognised and read, and its known defects.

A new database is a file in this folder with a `DatabaseCard` called ``CARD``, and an entry in the list ``CARDS`` of
``ecgloss/data/cards/__init__.py``. Nothing else in the package knows a database by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecgloss.data.beat_record import BeatEntry
from ecgloss.data.recording import Recording
from ecgloss.data.wfdb.headers import read_comments

SOME = 20  # headers of a folder that are looked at: one of them may lack what the others have


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


def _no_beats(folder: Path) -> Iterable[BeatEntry]:
    """Return nothing: most databases do not mark single premature beats."""
    return ()


def _no_files(folder: Path) -> Iterable[Path]:
    """Return nothing: the records of most databases need only what lies in their folder."""
    return ()


@dataclass(frozen=True)
class DatabaseCard:
    """One database: what it holds, how it is recognised and read, and what is wrong with it.

    Attributes:
        name: Short name, as in ``"ptbxl"``.
        title: Name as published.
        sampling_rate: Rate(s) of the originals in Hz.
        leads: Lead names after normalisation.
        tasks: Tasks for which its recordings have labels, besides age and sex.
        licence: Licence of the data.
        citation: What to cite.
        defects: Known defects that the card deals with, one sentence each.
        recognised_by: What `matches` looks for, in words.
        download: How to get it.
        matches: ``matches(folder)`` tells whether a folder holds this database.
        entries: ``entries(folder, sampling_rate)`` yields the records of a folder; ``sampling_rate`` in Hz is the rate
            to which they will be resampled, for databases that come at several rates.
        extra_files: ``extra_files(folder)`` yields the files that `entries` reads and that may lie outside the folder,
            such as a table of codes in its parent. When one of them changes, a new cache is made, as for any file in
            the folder. Default: none.
        beat_records: ``beat_records(folder)`` yields the records of a folder whole, with the samples of their premature
            beats, for databases that mark them. Default: none.
        overlaps: Names of the cards of databases that hold some of the same recordings or patients: training on one and
            testing on the other is no test on new patients.
        notes: How it is read where a user cannot guess it, one sentence each.

    Example:
        >>> from ecgloss.data.cards import CARDS
        >>> card = CARDS[0]
        >>> card.name, card.sampling_rate, len(card.leads)
        ('ptbxl', (100.0, 500.0), 12)
    """

    name: str
    title: str
    sampling_rate: tuple[float, ...]
    leads: tuple[str, ...]
    tasks: tuple[str, ...]
    licence: str
    citation: str
    defects: tuple[str, ...]
    recognised_by: str
    download: str
    matches: Callable[[Path], bool]
    entries: Callable[[Path, float], Iterable[Entry]]
    extra_files: Callable[[Path], Iterable[Path]] = field(default=_no_files)
    beat_records: Callable[[Path], Iterable[BeatEntry]] = field(default=_no_beats)
    overlaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def physionet(version: str, *, credentialed: bool = False) -> str:
    """How to download a database of PhysioNet.

    Args:
        version: Its name and version, as in its address.
        credentialed: Whether it needs an account that has signed its agreement.

    Example:
        >>> physionet("ludb/1.0.1")
        'wget -r -N -c -np https://physionet.org/files/ludb/1.0.1/'
    """
    account = "--user NAME --ask-password " if credentialed else ""
    command = f"wget {account}-r -N -c -np https://physionet.org/files/{version}/"
    where = f"https://physionet.org/content/{version}/"
    return f"{command} (after signing its agreement at {where})" if credentialed else command


def headers_all_look_like(folder: Path, test: Callable[[tuple[str, ...]], bool]) -> bool:
    """Tell whether in every folder below (and including) this one some header of the first :data:`SOME` passes a test.

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
            if not any(test(read_comments(Path(root, header))) for header in headers[:SOME]):
                return False
    return found


def record_names(folder: Path) -> set[str]:
    """Names of the headers directly in a folder, without reading them.

    Example:
        >>> record_names(Path(__file__).parent)
        set()
    """
    return {path.stem for path in folder.glob("*.[hH][eE][aA]") if path.name[0] != "."}


def sub_folders(folder: Path) -> list[Path]:
    """Return the visible sub-folders in a fixed order; links are not followed.

    Example:
        >>> sub_folders(Path(__file__).parent / "no such folder")
        []
    """
    children = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in children if path.is_dir() and not path.is_symlink() and path.name[0] != ".")
