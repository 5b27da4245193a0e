"""MC-MED: bedside monitoring of visits to an emergency department; of lead II, windows are taken."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry, physionet, sub_folders
from ecgloss.data.cards.windows import windows
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.fields import parse_age, parse_number, parse_sex, rows_with
from ecgloss.data.wfdb.headers import headers_in
from ecgloss.data.wfdb.records import read_voltages

_TABLE, _WAVEFORMS, _LEAD = "visits.csv", "waveforms", "II"
_COLUMNS = {"ed_disposition": "ED_dispo", "dc_disposition": "DC_dispo"}
_ACUITY, _PRESSURES = "Triage_acuity", {"triage_sbp": "Triage_SBP", "triage_dbp": "Triage_DBP"}
_KEPT = ("MRN", "CSN", "Age", "Gender", _ACUITY, *_PRESSURES.values(), *_COLUMNS.values())
EVERY_S = 600.0
TASKS = (*_COLUMNS, "acuity", *_PRESSURES)


def metadata_of(row: Mapping[str, str]) -> Metadata:
    """Translate one row of ``visits.csv``; a cell that is empty means that the visit is not labelled for it.

    Example:
        >>> row = {"Age": "90", "Gender": "F", "Triage_acuity": "3-Urgent", "Triage_SBP": "141", "ED_dispo": "ICU"}
        >>> found = metadata_of(row)
        >>> found.sex, found.sbp, dict(found.labels), dict(found.values)
        ('female', 141.0, {'ed_disposition': ('ICU',), 'acuity': ('3',)}, {'triage_sbp': 141.0})
    """
    labels = {task: (row[column],) for task, column in _COLUMNS.items() if row.get(column)}
    acuity = row.get(_ACUITY, "")[:1]
    if acuity.isdecimal():
        labels["acuity"] = (acuity,)
    numbers = {task: parse_number(row.get(column, "")) for task, column in _PRESSURES.items()}
    return Metadata(
        age=parse_age(row.get("Age", "")),
        sex=parse_sex(row.get("Gender", "")),
        sbp=numbers["triage_sbp"],
        labels=labels,
        values={task: value for task, value in numbers.items() if not math.isnan(value)},
    )


def _matches(folder: Path) -> bool:
    """Recognise the database by its table of visits."""
    return (folder / _TABLE).is_file() and (folder / _WAVEFORMS).is_dir()


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield the segments of lead II of every visit."""
    visits = {}
    for row in rows_with(folder / _TABLE, ("MRN", "CSN")):
        visits[row["CSN"]] = {column: row.get(column, "") for column in _KEPT}
    for group in sub_folders(folder / _WAVEFORMS):
        for visit in sub_folders(group):
            for lead in sub_folders(visit):
                for header in headers_in(lead) if lead.name == _LEAD else ():
                    name = header.relative_to(folder).with_suffix("").as_posix()
                    yield Entry(name, partial(_read, header, name, visits.get(visit.name)))


def _read(header: Path, name: str, row: Mapping[str, str] | None) -> list[Recording]:
    """Read one segment and take its windows; the patient is that of the visit."""
    if row is None:
        raise ValueError(f"the visit of {header.stem} is not in {_TABLE}")
    return windows(read_voltages(header), name, row["MRN"], metadata_of(row), every_s=EVERY_S)


CARD = DatabaseCard(
    name="mc-med",
    title="MC-MED: Multimodal Clinical Monitoring in the Emergency Department",
    sampling_rate=(500.0,),
    leads=(_LEAD,),
    tasks=TASKS,
    licence="PhysioNet Credentialed Health Data License 1.5.0",
    citation="Kansal A, et al. MC-MED, multimodal clinical monitoring in the emergency department. Scientific Data "
    "12:1094, 2025. doi:10.13026/wvyw-g663",
    defects=(
        "Ages above 90 are written as 90.",
        "Acuity is written as a digit and a word (3-Urgent); the digit is the label.",
        "Triage comes before the monitor: its blood pressure and acuity were not measured at the time of the "
        "recording.",
        "A patient may have many visits; patients are MRN, visits CSN.",
        "Pleth and Resp are beside lead II and no ECG; they are not read.",
    ),
    recognised_by="`visits.csv` beside `waveforms`",
    download=physionet("mc-med/1.0.1", credentialed=True),
    matches=_matches,
    entries=_entries,
    notes=(
        "Unpack the archives waveforms_Nxx.zip first, into the folder waveforms.",
        "Of every segment of lead II a window of 10 s every 10 minutes is read.",
        "ed_disposition, dc_disposition and acuity are labels as the table has them; triage_sbp and triage_dbp (mmHg) "
        "are regression targets.",
        "The split files of the database (split_chrono_train.csv and so on) are not used.",
    ),
)
