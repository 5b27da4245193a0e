"""Any folder of WFDB records; sub-folders that hold a database with a card of its own are read by that card."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry, sub_folders
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.fields import age_and_sex
from ecgloss.data.wfdb.headers import InvalidRecordError, headers_in
from ecgloss.data.wfdb.records import read_voltages

_PATIENT = re.compile(
    r"(?:patient|subject)[ _]?(?:(?:id|number|no\.?)\s*[:=]?|[:=])?\s*([-\w]*\d[-\w]*)", re.IGNORECASE
)
_MEDIANS = re.compile(r"medians?([_-]?beats?)?", re.IGNORECASE)
_PATIENT_FOLDER = re.compile(r"p\d{6,}")


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
            yield Entry(header.stem, partial(_read, header))
        for link in _linked_folders(folder):
            yield Entry(link.name, _refuse_link)
        for child in sub_folders(folder):
            for entry in choose(child).entries(child, sampling_rate):
                below = _below(child.name, entry)
                yield Entry(below.name, _refuse_median) if _is_median(folder, child.name, entry.name) else below

    def extra_files(folder: Path) -> Iterator[Path]:
        for child in sub_folders(folder):
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
            "Patients are identified where a comment names them (patient 3, Subject ID: A17) or a folder is called "
            "like one of MIMIC's (p10000032); every other record counts as a patient of its own unless its signal is "
            "a duplicate.",
        ),
        recognised_by="any other folder",
        download="",
        matches=lambda folder: True,
        entries=entries,
        extra_files=extra_files,
        notes=(
            "Age and sex are taken from the header comments, if they are in one of the usual forms.",
            "Median beats in a folder medians beside the records they were made from are skipped.",
            "Sub-folders that hold a database with a card are read with that card, so one folder may hold several "
            "databases; no labels are mapped between databases.",
        ),
    )


def _linked_folders(folder: Path) -> list[Path]:
    """Return the visible sub-folders that are links, in a fixed order."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.is_symlink() and not p.name.startswith("."))


def _is_median(folder: Path, child: str, name: str) -> bool:
    """Whether a record is the median beat of one of the same name, as in medians/1001/a beside raw/1001/a."""
    return _MEDIANS.fullmatch(child) is not None and any(
        other.name != child and (other / f"{name}.hea").is_file() for other in sub_folders(folder)
    )


def _refuse_median() -> list[Recording]:
    raise InvalidRecordError("is the median beat of the record of the same name beside it, and no recording of its own")


def _refuse_link() -> list[Recording]:
    raise InvalidRecordError("is a link to a folder, which is not followed; give that folder as well")


def _read(header: Path) -> list[Recording]:
    """Read one record, with age and sex where the comments give them in a usual form."""
    record = read_voltages(header)
    comments = record.comments
    age, sex = age_and_sex(comments)
    patient = named_patient(comments)
    name = header.stem if patient is None else f"patient {patient}"
    metadata = Metadata(age=age, sex=sex)
    return [Recording(header.stem, name, record.signal, record.leads, record.sampling_rate, metadata)]


def named_patient(comments: Iterable[str]) -> str | None:
    """The patient that the comments of a header name, as in "patient 3" or "Subject ID: A17"; None where none does.

    Example:
        >>> [named_patient(["Age: 61", text]) for text in ("patient 3", "subject_id = A17", "patient was well")]
        ['3', 'A17', None]
    """
    found = (_PATIENT.fullmatch(line.strip()) for line in comments)
    return next((match[1] for match in found if match), None)


def _below(folder: str, entry: Entry) -> Entry:
    """Put the name of a sub-folder before the names and patients of an entry.

    All below a folder such as p10000032, as in the MIMIC databases, is of one patient.
    """
    return Entry(f"{folder}/{entry.name}", partial(_read_below, folder, entry.read))


def _read_below(folder: str, read: Callable[[], Sequence[Recording]]) -> list[Recording]:
    """Read an entry of a sub-folder."""
    whole = _PATIENT_FOLDER.fullmatch(folder)
    return [replace(r, name=f"{folder}/{r.name}", patient=folder if whole else f"{folder}/{r.patient}") for r in read()]
