"""MIT-BIH Atrial Fibrillation Database: 23 recordings of ten hours with annotated rhythms, cut into windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ecgloss.data.cards.base import DatabaseCard, Entry, physionet, record_names
from ecgloss.data.cards.windows import windows
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.annotations import read_annotations
from ecgloss.data.wfdb.headers import headers_in
from ecgloss.data.wfdb.records import WfdbRecord, read_voltages
from ecgloss.data.wfdb.specification import DEFAULT_GAIN, parse_header

_RECORDS = {f"{n:05d}" for n in (735, 3665, 4015, 4043, 4048, 4126, 4746, 4908, 4936, 5091, 5121, 5261, 6426, 6453)}
_RECORDS |= {f"{n:05d}" for n in (6995, 7162, 7859, 7879, 7910, 8215, 8219, 8378, 8405, 8434, 8455)}
_GAIN = 4096 / 20  # 12 bits over +-10 mV
_ANNOTATED_S = 36000.0


def _matches(folder: Path) -> bool:
    """Recognise the database by its record numbers."""
    names = record_names(folder)
    return bool(names) and names <= _RECORDS


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield the records; each becomes as many recordings as it has whole windows."""
    for header in headers_in(folder):  # the folder old/ of the distribution holds superseded annotations
        yield Entry(header.stem, partial(_read, header))


def _read(header: Path) -> list[Recording]:
    """Read one record and cut it; windows after the annotated ten hours have no label."""
    record = _calibrated(read_voltages(header), header)
    annotations = read_annotations(header)
    end = round(_ANNOTATED_S * record.sampling_rate)

    def labels(start: int, stop: int) -> dict[str, tuple[str, ...]]:
        rhythms = () if annotations is None or stop > end else annotations.rhythms(start, stop)
        return {"rhythm": rhythms} if rhythms else {}

    return windows(record, header.stem, header.stem, Metadata(), labels)


def _calibrated(record: WfdbRecord, header: Path) -> WfdbRecord:
    """Scale a record whose header gives no gain, for which WFDB assumes 200 counts per mV."""
    signals = parse_header(header).signals
    if any(signal.calibrated for signal in signals):
        return record
    return replace(record, signal=record.signal * np.float32(DEFAULT_GAIN / _GAIN))


CARD = DatabaseCard(
    name="afdb",
    title="MIT-BIH Atrial Fibrillation Database",
    sampling_rate=(250.0,),
    leads=("ECG1", "ECG2"),
    tasks=("rhythm",),
    licence="ODC-By 1.0",
    citation="Moody GB, Mark RG. A new method for detecting atrial fibrillation using R-R intervals. Computers in "
    "Cardiology 10:227-230, 1983. doi:10.13026/C2MW2D",
    defects=(
        "The headers give no gain, for which WFDB assumes 200 counts per mV; as described, 12 bits span 20 mV, which "
        "is 204.8, and this is used.",
        "Records 00735 and 03665 have annotations and no signal; they are skipped.",
        "The signals go on after the annotated ten hours; windows there have no label.",
        "The leads are not named; they are called ECG1 and ECG2.",
        "Positions of beats were not checked and name no kinds; they are not read.",
        "Age and sex are not given.",
    ),
    recognised_by="record numbers",
    download=physionet("afdb/1.0.0"),
    matches=_matches,
    entries=_entries,
    notes=(
        "The records are cut into windows of 10 s, named 04015/0000, 04015/0001 and so on; the task rhythm is the "
        "rhythms that are present in the window: AFIB, AFL, J (junctional) and N (any other).",
        "Every record is of another patient.",
    ),
)
