"""Any folder of WFDB records; sub-folders that hold a database with a card of its own are read by that card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.fields import age_and_sex
from ecgloss.data.wfdb.headers import headers_in, read_comments
from ecgloss.data.wfdb.records import read_record


def card(choose: Callable[[Path], DatabaseCard]) -> DatabaseCard:
    """Make the generic card.

    Args:
        choose: Finds the card of a sub-folder.

    Example:
        >>> card(lambda folder: card).name
        'wfdb'
    """

    def entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
        for header in headers_in(folder):
            yield Entry(header.stem, lambda header=header: [_read(header)])  # type: ignore[misc]
        for child in _sub_folders(folder):
            for entry in choose(child).entries(child, sampling_rate):
                yield _below(child.name, entry)

    def extra_files(folder: Path) -> Iterator[Path]:
        for child in _sub_folders(folder):
            yield from choose(child).extra_files(child)

    return DatabaseCard(
        name="wfdb",
        title="WFDB records",
        sampling_rate=(),
        leads=(),
        tasks=(),
        licence="unknown",
        citation="",
        defects=(
            "Patients are not identified: every record counts as a patient of its own unless its signal is a "
            "duplicate.",
        ),
        matches=lambda folder: True,
        entries=entries,
        extra_files=extra_files,
    )


def _sub_folders(folder: Path) -> list[Path]:
    """Return the visible sub-folders in a fixed order; links are not followed."""
    children = (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return sorted(path for path in children if not path.name.startswith("."))


def _read(header: Path) -> Recording:
    """Read one record, with age and sex where the comments give them in a usual form."""
    record = read_record(header)
    age, sex = age_and_sex(read_comments(header))
    metadata = Metadata(age=age, sex=sex)
    return Recording(header.stem, header.stem, record.signal, record.leads, record.sampling_rate, metadata)


def _below(folder: str, entry: Entry) -> Entry:
    """Put the name of a sub-folder before the names and patients of an entry."""

    def read() -> list[Recording]:
        return [
            replace(recording, name=f"{folder}/{recording.name}", patient=f"{folder}/{recording.patient}")
            for recording in entry.read()
        ]

    return Entry(f"{folder}/{entry.name}", read)
