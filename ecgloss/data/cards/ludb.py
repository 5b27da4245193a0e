"""LUDB: 200 recordings of 10 s with rhythm, conduction and hypertrophy labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ecgloss.data.cards.base import DatabaseCard, Entry, physionet
from ecgloss.data.recording import STANDARD_LEADS, Metadata, Recording
from ecgloss.data.wfdb.fields import parse_age, parse_sex, read_labels, read_table
from ecgloss.data.wfdb.headers import InvalidRecordError, inside
from ecgloss.data.wfdb.records import read_voltages

_COLUMNS = {
    "axis": "Electric axis of the heart",
    "conduction": "Conduction abnormalities",
    "extrasystole": "Extrasystolies",
    "hypertrophy": "Hypertrophies",
    "pacing": "Cardiac pacing",
    "ischemia": "Ischemia",
    "repolarization": "Non-specific repolarization abnormalities",
}
TASKS = ("rhythm", *_COLUMNS)
_COUNTS_PER_MV = 1000.0


def labels_of(row: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    r"""Translate one row of ``ludb.csv`` into labels.

    The rhythm is the first line of its cell (the few further lines comment on it); a recording without a
    statement on the electric axis is not labelled for it. In all other columns an empty cell means that nothing
    was found. Labels of the axis and of repolarization come without the name of their column.

    Example:
        >>> row = dict.fromkeys(["Rhythms", *_COLUMNS.values()], "")
        >>> labels = labels_of(row | {"Rhythms": "Sinus rhythm\nAberrant conduction"})
        >>> labels["rhythm"], labels["pacing"], "axis" in labels
        (('Sinus rhythm',), (), False)
    """
    labels = {"rhythm": read_labels(row["Rhythms"])[:1]}
    for task, column in _COLUMNS.items():
        repeated = f"{column}: " if task in ("axis", "repolarization") else ""
        labels[task] = tuple(label.removeprefix(repeated) for label in read_labels(row[column]))
    return {task: found for task, found in labels.items() if found or task not in ("rhythm", "axis")}


def _matches(folder: Path) -> bool:
    """Recognise the database by its table."""
    return (folder / "ludb.csv").is_file()


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield one record per row of the table."""
    for row in read_table(folder / "ludb.csv"):
        name = f"data/{row.get('ID', '')}"
        yield Entry(name, partial(_read, folder, row, name))


def _read(folder: Path, row: Mapping[str, str], name: str) -> list[Recording]:
    """Read the recording of one row, with the amplitude rebuilt from the integers."""
    record = read_voltages(inside(folder, f"{name}.hea"))
    if record.digital is None:
        raise InvalidRecordError("the leads have different rates, which LUDB does not use")
    signal = np.where(np.isnan(record.signal), np.nan, record.digital / _COUNTS_PER_MV).astype(np.float32)
    metadata = Metadata(age=parse_age(row["Age"]), sex=parse_sex(row["Sex"]), labels=labels_of(row))
    return [Recording(name, row["ID"], signal, record.leads, record.sampling_rate, metadata)]


CARD = DatabaseCard(
    name="ludb",
    title="Lobachevsky University Electrocardiography Database",
    sampling_rate=(500.0,),
    leads=STANDARD_LEADS,
    tasks=TASKS,
    licence="ODC-By 1.0",
    citation="Kalyakulina A, et al. LUDB: A New Open-Access Validation Tool for Electrocardiogram Delineation "
    "Algorithms. IEEE Access 8:186181-186190, 2020. doi:10.1109/ACCESS.2020.3029211; doi:10.13026/eegm-h675",
    defects=(
        "The gains in the headers are not per mV: each scales its lead to a range of 1. The amplitude is rebuilt "
        "from the integers as 1 count = 1 microvolt, on which the limb leads agree (II = I + III).",
        "Lead names are in lower case.",
        "Cells of the table hold several values on lines of their own, most end in a line break, some in a dot.",
        "An age is written as >89; it becomes 90.",
    ),
    recognised_by="`ludb.csv`",
    download=physionet("ludb/1.0.1"),
    matches=_matches,
    entries=_entries,
    notes=("The scale of 1 microvolt is inferred from the data; the documentation of the database does not state it.",),
)
