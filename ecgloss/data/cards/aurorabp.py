"""Aurora-BP: one lead of some 18 s during measurements of blood pressure, from tables of text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ecgloss.data.cards.base import DatabaseCard, Entry
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.fields import parse_age, parse_number, parse_sex, read_table, require_columns
from ecgloss.data.wfdb.headers import InvalidRecordError, check_link, inside

_PARTICIPANTS = "participants.tsv"
_MEASUREMENTS = ("measurements_auscultatory.tsv", "measurements_oscillometric.tsv")
_FILE, _TIME, _LEAD = "waveform_file_path", "t", "ekg"
TASKS = ("sbp", "dbp")


def _matches(folder: Path) -> bool:
    """Recognise the database by its tables of participants and measurements."""
    return (folder / _PARTICIPANTS).is_file() and any((folder / name).is_file() for name in _MEASUREMENTS)


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield one record per measurement that has a waveform."""
    people = {row["pid"]: row for row in _table(folder / _PARTICIPANTS, ("pid", "age", "gender"))}
    for name in _MEASUREMENTS:
        path = folder / name
        for row in _table(path, ("pid", "sbp", "dbp", _FILE)) if path.is_file() else ():
            if row[_FILE]:
                yield Entry(row[_FILE].removesuffix(".tsv"), partial(_read, folder, row, people.get(row["pid"], {})))


def _table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a table that must have some columns."""
    rows = read_table(path)
    require_columns(path, rows, columns)
    return rows


def _read(folder: Path, row: Mapping[str, str], person: Mapping[str, str]) -> list[Recording]:
    """Read the waveform of one measurement, with the blood pressure measured meanwhile."""
    signal, rate = _waveform(inside(folder, row[_FILE]))
    pressures = {task: parse_number(row[task]) for task in TASKS}
    values = {task: value for task, value in pressures.items() if value > 0}
    metadata = Metadata(
        age=parse_age(person.get("age", "")),
        sex=parse_sex(person.get("gender", "")),
        diabetes={"1": True, "0": False}.get(person.get("diabetes", "").removesuffix(".0")),
        sbp=values.get("sbp", math.nan),
        values=values,
    )
    return [Recording(row[_FILE].removesuffix(".tsv"), row["pid"], signal, ("I",), rate, metadata)]


def _waveform(path: Path) -> tuple[np.ndarray, float]:
    """ECG of a table of samples, (1, samples) in mV, and its sampling rate.

    Raises:
        InvalidRecordError: If the file is missing, lacks a column, or its samples are not equally spaced.
    """
    if not path.is_file():
        raise InvalidRecordError(f"{path.name} is missing")
    check_link(path)
    with path.open(encoding="utf-8-sig") as file:
        names = file.readline().rstrip("\r\n").split("\t")
        if _TIME not in names or _LEAD not in names:
            raise InvalidRecordError(f"{path.name} has the columns {', '.join(names)[:200]}; t and ekg are needed")
        columns = [names.index(_TIME), names.index(_LEAD)]
        table = np.genfromtxt(file, delimiter="\t", usecols=columns, dtype=np.float64, ndmin=2)
    if len(table) < 2:
        raise InvalidRecordError(f"{path.name} has {len(table)} samples")
    steps = np.diff(table[:, 0])
    step = float(np.median(steps))
    if not step > 0 or np.abs(steps - step).max() > step / 2:
        raise InvalidRecordError(f"the times in {path.name} are not equally spaced")
    return table[:, 1].astype(np.float32)[None], round(1 / step, 3)


CARD = DatabaseCard(
    name="aurorabp",
    title="Aurora-BP",
    sampling_rate=(500.0,),
    leads=("I",),
    tasks=TASKS,
    licence="data use agreement, no redistribution",
    citation="Mieloszyk R, et al. A Comparison of Wearable Tonometry, Photoplethysmography, and Electrocardiography "
    "for Cuffless Measurement of Blood Pressure in an Ambulatory Setting. IEEE J Biomed Health Inform 26(7):2864-2875, "
    "2022. doi:10.5281/zenodo.19099166",
    defects=(
        "The ECG has a constant offset of several mV; the band pass removes it.",
        "Some measurements have no waveform; they are left out.",
        "A pressure of 0 stands for none.",
        "Everyone was measured many times, at rest and after exercise: pressures of one person are much alike, and "
        "age and sex alone predict some of them.",
        "The table of features has many rows per person and no waveforms; it is not read.",
    ),
    recognised_by="`participants.tsv` beside `measurements_auscultatory.tsv` or `measurements_oscillometric.tsv`",
    download="https://doi.org/10.5281/zenodo.19099166 (after signing its agreement)",
    matches=_matches,
    entries=_entries,
    notes=(
        "The waveforms are tables of text; the column ekg is in mV, lead I by the description of the study.",
        "Patients are pid; sbp and dbp (mmHg) are regression targets, measured during the recording.",
    ),
)
