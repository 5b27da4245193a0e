"""PhysioNet/CinC Challenge 2017: 8,528 short recordings of one lead with four classes of rhythm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry, physionet
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.headers import inside
from ecgloss.data.wfdb.records import read_voltages

_TABLE, _TRAINING = "REFERENCE.csv", "training"
_ROW = re.compile(r"(?:A\d{2}/)?(A\d{5}),([NAO~])")
CLASSES = {"N": "normal", "A": "AF", "O": "other", "~": "noisy"}


def _rows(table: Path) -> list[tuple[str, str]]:
    """Record and class of every row of the table, which has no headings; empty where it is another table.

    Raises:
        ValueError: If some rows but not all are a record and a class.
    """
    if not table.is_file():
        return []
    lines = [line.strip() for line in table.read_text("latin-1").splitlines() if line.strip()]
    found = [_ROW.fullmatch(line) for line in lines]
    if not lines or found[0] is None:
        return []
    for line, match in zip(lines, found):
        if match is None:
            raise ValueError(f"the table {table} has the row {line[:80]!r}; rows are such as A00/A00001,N")
    return [(line.partition(",")[0], match[2]) for line, match in zip(lines, found) if match is not None]


def _root(folder: Path) -> Path | None:
    """Where the table is: the folder, or its part for training."""
    places = (folder, folder / _TRAINING)
    return next((place for place in places if not place.is_symlink() and _rows(place / _TABLE)), None)


def _matches(folder: Path) -> bool:
    """Recognise the database by the rows of its table of classes."""
    return _root(folder) is not None


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield one record per row of the table; records lie in sub-folders or, in the older archive, beside it."""
    root = _root(folder)
    if root is None:
        return
    for path, letter in _rows(root / _TABLE):
        header = inside(root, f"{path}.hea")
        if not header.is_file():
            name = path.rpartition("/")[2]
            others = (root / name[:3] / f"{name}.hea", root / f"{name}.hea")
            header = next((other for other in others if other.is_file()), header)
        name = header.relative_to(folder).with_suffix("").as_posix()
        yield Entry(name, partial(_read, header, name, letter))


def _read(header: Path, name: str, letter: str) -> list[Recording]:
    """Read one record; patients are not identified."""
    record = read_voltages(header)
    metadata = Metadata(labels={"rhythm": (CLASSES[letter],)})
    return [Recording(name, name, record.signal, record.leads, record.sampling_rate, metadata)]


CARD = DatabaseCard(
    name="cinc2017",
    title="PhysioNet/Computing in Cardiology Challenge 2017",
    sampling_rate=(300.0,),
    leads=("ECG",),
    tasks=("rhythm",),
    licence="ODC-By 1.0",
    citation="Clifford GD, et al. AF Classification from a Short Single Lead ECG Recording: the PhysioNet/Computing in "
    "Cardiology Challenge 2017. Computing in Cardiology 44, 2017. doi:10.22489/CinC.2017.065-469",
    defects=(
        "Labels were corrected twice; REFERENCE.csv is the last version (v3), and the only one that is read.",
        "The folder validation holds 300 of the training recordings once more; beside training it is not read.",
        "The lead is not known, and some recordings are upside down.",
        "Recordings last 9 to 61 s, and noisy ones are shorter than others, so that length tells something of the "
        "class.",
        "Amplitudes of A04894 exceed 10 mV.",
        "Age, sex and patient are not given: every record counts as a patient of its own unless its signal is a "
        "duplicate.",
    ),
    recognised_by="`REFERENCE.csv` with rows such as `A00/A00001,N`",
    download=physionet("challenge-2017/1.0.0"),
    matches=_matches,
    entries=_entries,
    notes=("The classes are normal, AF, other and noisy.",),
)
