"""MIMIC-IV-ECG: 800,035 recordings of 10 s of 161,352 patients, with the measurements of the electrocardiographs."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from ecgloss.data.cards import mimic_iv_tables as tables
from ecgloss.data.cards.base import DatabaseCard, Entry, physionet
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.fields import parse_number, rows_with
from ecgloss.data.wfdb.headers import InvalidRecordError, inside
from ecgloss.data.wfdb.records import read_voltages

_RECORDS, _MEASUREMENTS = "record_list.csv", "machine_measurements.csv"
_FOLDER = re.compile(r"(?:.*/)?p(\d+)/s\d+/[^/]+")
_TIMES = ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end")
_AXES = ("p_axis", "qrs_axis", "t_axis")
_LONGEST_MS, _LARGEST_DEGREES = 5000.0, 360.0
_MINUTE_MS = 60000.0
LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
MEASURED = ("rr_interval", "heart_rate", "p_duration", "pr_interval", "qrs_duration", "qt_interval", *_AXES)


def values_of(row: Mapping[str, str]) -> dict[str, float]:
    """Translate one row of ``machine_measurements.csv`` into regression targets.

    Args:
        row: Times in ms from the beginning of the averaged beat, axes in degrees; 29999, 32767, -32768 and 65535 stand
            for what could not be measured, and so does any time above 5 s and any axis beyond 360 degrees.

    Returns:
        Those of :data:`MEASURED` that were measured, in ms, degrees and beats per minute.

    Example:
        >>> times = {"rr_interval": "800", "p_onset": "40", "p_end": "29999", "qrs_onset": "200", "qrs_end": "290"}
        >>> values_of({**times, "t_end": "610", "p_axis": "32767", "qrs_axis": "13", "t_axis": "42"})
        {'rr_interval': 800.0, 'heart_rate': 75.0, 'pr_interval': 160.0, 'qrs_duration': 90.0, 'qt_interval': 410.0, \
'qrs_axis': 13.0, 't_axis': 42.0}
    """
    return _derived(_measured(row))


def _measured(row: Mapping[str, str]) -> array[float]:
    """Times and axes of a row, NaN where one was not measured; as few bytes as possible, there are 800,035."""
    times = (_within(row.get(name, ""), 0.0, _LONGEST_MS) for name in _TIMES)
    axes = (_within(row.get(name, ""), -_LARGEST_DEGREES, _LARGEST_DEGREES) for name in _AXES)
    return array("f", [*times, *axes])


def _within(text: str, low: float, high: float) -> float:
    """A number in a range, NaN where there is none."""
    number = parse_number(text)
    return number if low <= number <= high else math.nan


def _derived(measured: Sequence[float]) -> dict[str, float]:
    """Intervals, rate and axes; those that could not be measured are left out."""
    rr, p_onset, p_end, qrs_onset, qrs_end, t_end, *axes = measured
    lasting = {
        "rr_interval": rr,
        "heart_rate": _MINUTE_MS / rr if rr > 0 else math.nan,
        "p_duration": p_end - p_onset,
        "pr_interval": qrs_onset - p_onset,
        "qrs_duration": qrs_end - qrs_onset,
        "qt_interval": t_end - qrs_onset,
    }
    found = {name: value for name, value in lasting.items() if value > 0}
    return found | {name: value for name, value in zip(_AXES, axes) if not math.isnan(value)}


def _matches(folder: Path) -> bool:
    """Recognise the database by its table of records."""
    return (folder / _RECORDS).is_file() and (folder / "files").is_dir()


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield one record per row of the table whose patient was downloaded."""
    path = folder / _MEASUREMENTS
    rows = rows_with(path, ("study_id", *_TIMES, *_AXES)) if path.is_file() else ()
    measured = {row["study_id"]: _measured(row) for row in rows}
    about = tables.about(folder)
    there = cache(Path.is_dir)
    for row in rows_with(folder / _RECORDS, ("subject_id", "study_id", "path")):
        name = row["path"]
        try:
            if not there(inside(folder, name).parent.parent):
                continue
        except InvalidRecordError:
            pass  # said when it is read
        study = row["study_id"]
        metadata = about.get(study, Metadata())
        yield Entry(name, partial(_read, folder, name, row["subject_id"], measured.get(study), metadata))


def _read(
    folder: Path, name: str, subject: str, measured: Sequence[float] | None, metadata: Metadata
) -> list[Recording]:
    """Read one record."""
    header = inside(folder, f"{name}.hea")
    match = _FOLDER.fullmatch(name)
    if match is None or match[1] != subject:
        raise InvalidRecordError(f"{_RECORDS} says subject {subject}, and its path is {name}")
    record = read_voltages(header)
    if measured is not None:
        metadata = tables.joined(metadata, Metadata(values=_derived(measured)))
    return [Recording(name, subject, record.signal, record.leads, record.sampling_rate, metadata)]


CARD = DatabaseCard(
    name="mimic-iv-ecg",
    title="MIMIC-IV-ECG: Diagnostic Electrocardiogram Matched Subset",
    sampling_rate=(500.0,),
    leads=LEADS,
    tasks=(*MEASURED, *tables.TASKS),
    licence="ODbL 1.0",
    citation="Gow B, et al. MIMIC-IV-ECG: Diagnostic Electrocardiogram Matched Subset (version 1.0). PhysioNet, 2023. "
    "doi:10.13026/4nqg-sb35",
    defects=(
        "The leads are stored in the order aVR, aVF, aVL; they go by name.",
        "In the table of measurements, 29999, 32767, -32768 and 65535 stand for what could not be measured, never an "
        "empty cell; these are no targets.",
        "P waves are not measured in atrial fibrillation, so that P duration and PR interval are missing there.",
        "About 1.5 % of the recordings have missing samples or a lead of zeros.",
        "Copies of the table of measurements with 10,554 rows fewer circulate under the same name; recordings without "
        "a row have no targets.",
        "Age and sex are not part of the database but of MIMIC-IV; they are taken from the tables below, or join one.",
        "Of the ejection fractions, which go up to 7,065 %, those outside 5 to 90 % are dropped.",
        "41 % of the recordings belong to no stay: they have no diagnoses, which is not the same as no disease.",
    ),
    recognised_by="`record_list.csv` beside `files`",
    download=physionet("mimic-iv-ecg/1.0"),
    matches=_matches,
    entries=_entries,
    notes=(
        "Patients are the subject_id, in the table and in the path; a recording where the two differ is skipped.",
        "The tasks are regression targets: RR interval, P duration, PR, QRS and QT in ms, rate in beats per minute, "
        "axes in degrees, as the electrocardiograph measured them.",
        "Patients whose folder was not downloaded are left out.",
        f"Tables in the same folder add to it: {tables.DIAGNOSES} of MIMIC-IV-ECG-Ext-ICD (age, sex, categories of "
        f"ICD-10 as `icd10`, and its folds: 0 to 17 train, 18 validates, 19 tests); {tables.EJECTION} (`lvef` in %, "
        f"and `reduced_lvef`, below 50 %); {tables.RISKS} of the authors of CLEF (age, sex, systolic pressure, "
        "`score2_risk`).",
    ),
)
