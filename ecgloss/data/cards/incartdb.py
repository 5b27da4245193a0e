"""St Petersburg INCART: 75 half-hour recordings of 32 patients with kinds of beat, cut into windows of 10 s."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry, physionet, record_names
from ecgloss.data.cards.generic import named_patient
from ecgloss.data.cards.windows import windows
from ecgloss.data.recording import STANDARD_LEADS, Metadata, Recording
from ecgloss.data.wfdb.annotations import read_annotations
from ecgloss.data.wfdb.fields import age_and_sex
from ecgloss.data.wfdb.headers import InvalidRecordError, headers_in
from ecgloss.data.wfdb.records import read_voltages
from ecgloss.data.wfdb.specification import parse_header

_RECORDS = {f"I{n:02d}" for n in range(1, 76)}
_RATE = 257.0


def _matches(folder: Path) -> bool:
    """Recognise the database by its record names and 257 Hz."""
    names = record_names(folder)
    if not names or not names <= _RECORDS:
        return False
    try:
        return parse_header(headers_in(folder)[0]).rate == _RATE
    except (InvalidRecordError, IndexError):  # nothing that can be read
        return False


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield the records; each becomes as many recordings as it has whole windows."""
    for header in headers_in(folder):
        yield Entry(header.stem, partial(_read, header))


def _read(header: Path) -> list[Recording]:
    """Read one record and cut it; the comments name the patient."""
    record = read_voltages(header)
    age, sex = age_and_sex(record.comments)
    patient = named_patient(record.comments)
    annotations = read_annotations(header)

    def labels(start: int, stop: int) -> dict[str, tuple[str, ...]]:
        return {} if annotations is None else {"beats": annotations.beats(start, stop)}

    name = header.stem if patient is None else f"patient {patient}"
    return windows(record, header.stem, name, Metadata(age=age, sex=sex), labels)


CARD = DatabaseCard(
    name="incartdb",
    title="St Petersburg INCART 12-lead Arrhythmia Database",
    sampling_rate=(_RATE,),
    leads=STANDARD_LEADS,
    tasks=("beats",),
    licence="ODC-By 1.0",
    citation="Tihonenko V, et al. St Petersburg INCART 12-lead Arrhythmia Database (version 1.0.0). PhysioNet, 2008. "
    "doi:10.13026/C2V88N",
    defects=(
        "Lead names AVR, AVL, AVF are in upper case.",
        "The gain differs between records, and the headers name no unit; it is mV.",
        "One lead of I02 (V6), I03 (V3), I57 (V4) and I58 (V4) is at the end of the converter's range throughout.",
        "Positions of beats were found by a program and not corrected, so that a beat at the edge of a window may be "
        "counted in its neighbour.",
        "The published table of patients disagrees with the headers on sex; the headers are used.",
        "Half of the headers name no diagnosis; diagnoses are not read.",
    ),
    recognised_by="record names I01 to I75, 257 Hz",
    download=physionet("incartdb/1.0.0"),
    matches=_matches,
    entries=_entries,
    overlaps=("challenge",),
    notes=(
        "The records are cut into windows of 10 s, named I01/0000, I01/0001 and so on; the task beats is the kinds of "
        "beat annotated in the window.",
        "Patients are those of the header comments (patient 3); without it every record counts as a patient of its "
        "own.",
        "The Challenge's part st_petersburg_incart has the same recordings without patients, with fewer steps and "
        "clipped.",
    ),
)
