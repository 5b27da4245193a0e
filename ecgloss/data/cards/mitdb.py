"""MIT-BIH Arrhythmia Database: 48 half-hour recordings of two leads, cut into windows of 10 s."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgloss._extras import require
from ecgloss.data.cards.base import DatabaseCard, Entry
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.fields import age_and_sex
from ecgloss.data.wfdb.headers import headers_in, read_comments
from ecgloss.data.wfdb.records import read_record

WINDOW_S = 10.0
_RECORDS = {str(n) for n in [*range(100, 125), *range(200, 235)] if n not in (110, 120, 204, 206, 211, 216, 218)} - {
    "224",
    "225",
    "226",
    "227",
    "229",
}
_SAME_PATIENT = {"202": "201"}
_BEATS = frozenset("NLRBAaJSVrFejnE/fQ")


@dataclass(frozen=True)
class _Annotations:
    """Beat and rhythm annotations: sample numbers, symbols, and rhythm names where one begins."""

    samples: np.ndarray
    symbols: list[str]
    rhythms: list[str]

    def labels(self, start: int, stop: int) -> dict[str, tuple[str, ...]]:
        """Return the rhythms and the kinds of beat between two samples; a rhythm lasts until the next is annotated."""
        first, last = np.searchsorted(self.samples, (start, stop))
        before = [rhythm for rhythm in self.rhythms[:first] if rhythm]
        rhythms = set(before[-1:]) | {rhythm for rhythm in self.rhythms[first:last] if rhythm}
        return {
            "rhythm": tuple(sorted(rhythms)),
            "beats": tuple(sorted(set(self.symbols[first:last]) & _BEATS)),
        }


def _matches(folder: Path) -> bool:
    """Recognise the database by its record numbers, two leads and 360 Hz."""
    headers = headers_in(folder)
    if not headers or not {header.stem for header in headers} <= _RECORDS:
        return False
    first = headers[0].read_text("latin-1").split()
    return first[1:3] == ["2", "360"]


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield the records; each becomes as many recordings as it has whole windows."""
    for header in headers_in(folder):  # sub-folders of the distribution hold excerpts of the same records
        yield Entry(header.stem, lambda header=header: _read(header))  # type: ignore[misc]


def _read(header: Path) -> list[Recording]:
    """Read one record and cut it; a record shorter than a window stays whole, a rest at the end is dropped."""
    record = read_record(header)
    age, sex = age_and_sex(read_comments(header))
    annotations = _read_annotations(header)
    length = round(WINDOW_S * record.sampling_rate)
    recordings = []
    for i in range(max(1, record.signal.shape[1] // length)):
        start, stop = i * length, (i + 1) * length
        labels = {} if annotations is None else annotations.labels(start, stop)
        recordings.append(
            Recording(
                f"{header.stem}/{i:04d}",
                _SAME_PATIENT.get(header.stem, header.stem),
                record.signal[:, start:stop],
                record.leads,
                record.sampling_rate,
                Metadata(age=age, sex=sex, labels=labels),
            )
        )
    return recordings


def _read_annotations(header: Path) -> _Annotations | None:
    """Read the reference annotations; None where they are not there."""
    if not header.with_suffix(".atr").is_file():
        return None
    annotation = require("wfdb", "data").rdann(str(header.with_suffix("")), "atr")
    notes = [str(note).partition("\0")[0].strip() for note in annotation.aux_note]  # what follows a NUL is no text
    rhythms = [note[1:] if note.startswith("(") else "" for note in notes]
    return _Annotations(np.asarray(annotation.sample), list(annotation.symbol), rhythms)


CARD = DatabaseCard(
    name="mitdb",
    title="MIT-BIH Arrhythmia Database",
    sampling_rate=(360.0,),
    leads=("MLII", "V1", "V2", "V4", "V5"),
    tasks=("rhythm", "beats"),
    licence="ODC-By 1.0",
    citation="Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. IEEE Eng in Med and Biol "
    "20(3):45-50, 2001. doi:10.13026/C2F305",
    defects=(
        "The leads differ between records, and 114 has them in reversed order; leads go by name.",
        "Records 201 and 202 are of one patient.",
        "Age and sex stand without a name in the first comment; -1 means unknown.",
    ),
    matches=_matches,
    entries=_entries,
)
