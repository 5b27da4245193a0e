"""MUSIC: 24-hour Holter recordings of 936 patients with heart failure, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry, physionet
from ecgloss.data.cards.windows import windows
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.fields import parse_age, parse_number, read_table, require_columns, table_rows
from ecgloss.data.wfdb.headers import headers_in
from ecgloss.data.wfdb.records import read_voltages

_TABLE, _HOLTERS = "subject-info.csv", "Holter_ECG"
_PATIENT, _CAUSE, _EXIT = "Patient ID", "Cause of death", "Exit of the study"
_DAYS = "Follow-up period from enrollment (days)"
_CIGARETTES, _SMOKE_FREE = "daily smoking (cigarretes/day)", "smoke-free time (years)"
_LEFT = {1: "lost to follow-up", 2: "transplant"}
_DEATHS = {1: "non-cardiac death", 3: "sudden cardiac death", 6: "pump failure death", 7: "pump failure death"}
EVERY_S = 1800.0
TASKS = ("outcome", "follow_up_days", "lvef")


def metadata_of(row: Mapping[str, str]) -> Metadata:
    """Translate one row of ``subject-info.csv``; numbers have decimal commas.

    Example:
        >>> row = {"Age": ">89", "Gender (male=1)": "1", "Cause of death": "3", "Exit of the study": "3"}
        >>> found = metadata_of({**row, "Total Cholesterol (mmol/L)": "4,73"})
        >>> found.age, found.sex, found.total_chol, found.labels["outcome"]
        (90.0, 'male', 4.73, ('sudden cardiac death',))
    """
    number = {name: parse_number(text) for name, text in row.items()}
    values = {"follow_up_days": number.get(_DAYS, math.nan), "lvef": number.get("LVEF (%)", math.nan)}
    outcome = _outcome(row)
    return Metadata(
        age=parse_age(row.get("Age", "")),
        sex={1.0: "male", 0.0: "female"}.get(number.get("Gender (male=1)", math.nan)),
        smoker=_smoker(number.get(_CIGARETTES, math.nan), number.get(_SMOKE_FREE, math.nan)),
        diabetes={1.0: True, 0.0: False}.get(number.get("Diabetes (yes=1)", math.nan)),
        sbp=number.get("Systolic blood pressure (mmHg)", math.nan),
        total_chol=number.get("Total Cholesterol (mmol/L)", math.nan),
        hdl_chol=number.get("HDL (mmol/L)", math.nan),
        labels={} if outcome is None else {"outcome": (outcome,)},
        values={name: value for name, value in values.items() if not math.isnan(value)},
    )


def _outcome(row: Mapping[str, str]) -> str | None:
    """What became of the patient; None where the codes say nothing that is known."""
    cause, left = parse_number(row.get(_CAUSE, "")), parse_number(row.get(_EXIT, "") or "0")
    if cause == 0 and left in (0, *_LEFT):
        return _LEFT.get(int(left), "survivor")
    return _DEATHS.get(int(cause)) if cause in _DEATHS else None


def _smoker(cigarettes: float, smoke_free: float) -> bool | None:
    """Current smoking: cigarettes a day, given by those who have stopped as well, and years since."""
    if cigarettes == 0 or smoke_free > 0:
        return False
    return True if cigarettes > 0 and smoke_free == 0 else None


def _matches(folder: Path) -> bool:
    """Recognise the database by its table of patients."""
    table = folder / _TABLE
    if not table.is_file():
        return False
    try:
        first = next(table_rows(table), {})
    except ValueError:
        return False
    return {_PATIENT, _CAUSE} <= set(first)


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield the Holter recordings; each becomes 48 recordings of 10 s."""
    table = read_table(folder / _TABLE)
    require_columns(folder / _TABLE, table, (_PATIENT, _CAUSE, _EXIT, _DAYS))
    rows = {row[_PATIENT]: row for row in table}
    for header in headers_in(folder / _HOLTERS):
        yield Entry(f"{_HOLTERS}/{header.stem}", partial(_read, header, rows.get(header.stem)))


def _read(header: Path, row: Mapping[str, str] | None) -> list[Recording]:
    """Read one Holter recording and take its windows."""
    if row is None:
        raise ValueError(f"patient {header.stem} is not in {_TABLE}")
    name = f"{_HOLTERS}/{header.stem}"
    return windows(read_voltages(header), name, header.stem, metadata_of(row), every_s=EVERY_S)


CARD = DatabaseCard(
    name="music",
    title="MUSIC (Sudden Cardiac Death in Chronic Heart Failure)",
    sampling_rate=(200.0,),
    leads=("X", "Y", "Z"),
    tasks=TASKS,
    licence="open access; see its page at PhysioNet",
    citation="Martin-Yebra A, Martinez JP, Laguna P. MUSIC (Sudden Cardiac Death in Chronic Heart Failure). PhysioNet, "
    "2024. doi:10.13026/cec2-9w70 (version 1.0.0); doi:10.13026/fa8p-he52 (all versions)",
    defects=(
        "Numbers in the table have decimal commas; where a decimal mark was lost (1,458,333,333) there is no number.",
        "An age is written as >89; it becomes 90.",
        "The 726 patients without a cause of death are 695 survivors, 20 transplanted and 11 lost to follow-up; these "
        "are outcomes of their own, and none of them is known not to die later.",
        "Current smoking follows from cigarettes a day and years without; those who stopped give their cigarettes too.",
        "56 patients have no Holter recording, and 4 % of the recordings have two leads.",
    ),
    recognised_by="`subject-info.csv` with `Cause of death`",
    download=physionet("music-sudden-cardiac-death/1.0.1"),
    matches=_matches,
    entries=_entries,
    notes=(
        "Of every Holter recording a window of 10 s every 30 minutes is read, 48 in all, named Holter_ECG/P0001/0000 "
        "and so on; the high-resolution ECGs are not read.",
        "The leads X, Y, Z are orthogonal, none of them is a standard lead.",
        "outcome is survivor, lost to follow-up, transplant, or the kind of death; follow_up_days and lvef (%) are "
        "regression targets.",
        "Blood pressure, cholesterol, smoking and diabetes are used for the clinical risk, which is made for people "
        "without heart failure.",
    ),
)
