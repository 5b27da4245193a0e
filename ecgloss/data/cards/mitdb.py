"""MIT-BIH Arrhythmia Database: 48 half-hour recordings of two leads, cut into windows of 10 s."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ecgloss.data.beat_record import BeatEntry, BeatRecord
from ecgloss.data.cards.base import DatabaseCard, Entry, physionet, record_names
from ecgloss.data.cards.windows import windows
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.annotations import read_annotations
from ecgloss.data.wfdb.fields import age_and_sex
from ecgloss.data.wfdb.headers import InvalidRecordError, headers_in
from ecgloss.data.wfdb.records import read_voltages

_RECORDS = {str(n) for n in [*range(100, 125), *range(200, 235)] if n not in (110, 120, 204, 206, 211, 216, 218)} - {
    "224",
    "225",
    "226",
    "227",
    "229",
}
_SAME_PATIENT = {"202": "201"}
_PREMATURE = {"S": "AaJS", "V": "V"}  # atrial, aberrated atrial, nodal and other supraventricular; ventricular


def _matches(folder: Path) -> bool:
    """Recognise the database by its record numbers, two leads and 360 Hz."""
    if not record_names(folder) <= _RECORDS or not (headers := headers_in(folder)):
        return False
    first = headers[0].read_text("latin-1").split()
    return first[1:3] == ["2", "360"]


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield the records; each becomes as many recordings as it has whole windows."""
    for header in headers_in(folder):  # sub-folders of the distribution hold excerpts of the same records
        yield Entry(header.stem, partial(_read, header))


def _read(header: Path) -> list[Recording]:
    """Read one record and cut it."""
    record = read_voltages(header)
    age, sex = age_and_sex(record.comments)
    annotations = read_annotations(header)

    def labels(start: int, stop: int) -> dict[str, tuple[str, ...]]:
        if annotations is None:
            return {}
        return {"rhythm": annotations.rhythms(start, stop), "beats": annotations.beats(start, stop)}

    return windows(record, header.stem, _patient(header), Metadata(age=age, sex=sex), labels)


def _beat_records(folder: Path) -> Iterator[BeatEntry]:
    """Yield the records whole."""
    for header in headers_in(folder):
        yield BeatEntry(header.stem, partial(_read_whole, header))


def _read_whole(header: Path) -> BeatRecord:
    """Read one record with its premature beats."""
    record, annotations = read_voltages(header), read_annotations(header)
    if annotations is None:
        raise InvalidRecordError(f"{header.stem}.atr with its premature beats is missing")
    symbols = np.array(annotations.symbols)
    marks = {kind: annotations.samples[np.isin(symbols, list(those))] for kind, those in _PREMATURE.items()}
    return BeatRecord(header.stem, _patient(header), record.signal, record.leads, record.sampling_rate, marks)


def _patient(header: Path) -> str:
    """Whose record it is."""
    return _SAME_PATIENT.get(header.stem, header.stem)


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
    recognised_by="record numbers, two leads, 360 Hz",
    download=physionet("mitdb/1.0.0"),
    matches=_matches,
    entries=_entries,
    beat_records=_beat_records,
    notes=(
        "The half-hour records are cut into windows of 10 s, named 100/0000, 100/0001 and so on; an incomplete window "
        "at the end is dropped.",
        "The task beats is the kinds of beat annotated in the window, and rhythm the annotated rhythms that are "
        "present in it.",
        "The task single_beats of ecgloss evaluate reads the records whole, and tells every beat: S (A, a, J and S), V "
        "or other, among these escape and fusion beats.",
    ),
)
