"""Tables about recordings of MIMIC-IV-ECG that come from elsewhere: diagnoses, ejection fractions, patients' risks.

Each is used if it lies in the folder of the database, under the name with which it is published.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from sys import intern

from ecgloss.data.recording import Metadata
from ecgloss.data.wfdb.fields import parse_age, parse_number, parse_sex, rows_with

DIAGNOSES = "records_w_diag_icd10.csv"  # MIMIC-IV-ECG-Ext-ICD, Strodthoff et al., doi:10.13026/hdyc-1h77
EJECTION = "LVEF.csv"  # as the authors of CLEF and EchoFirst read it
RISKS = "mimiciv_metadata_with_score2.csv"  # of the authors of CLEF, doi:10.5281/zenodo.17572734
TASKS = ("icd10", "lvef", "reduced_lvef", "score2_risk")
_LISTS = ("all_diag_all", "ed_diag_ed", "ed_diag_hosp", "hosp_diag_hosp", "all_diag_hosp")
_LVEF_PERCENT = (5.0, 90.0)  # the published table goes up to 7,065
_REDUCED_BELOW = 50.0
_VALIDATION, _TEST, _FOLDS = 18.0, 19.0, range(20)
_SBP_MMHG = (40.0, 300.0)


def about(folder: Path) -> dict[str, Metadata]:
    """What the tables in a folder say, by the path of a recording without its last part: its study.

    Raises:
        ValueError: If a table cannot be read, or lacks a column, naming both.

    Example:
        >>> about(Path("no such folder"))
        {}
    """
    found: dict[str, Metadata] = {}
    readers: dict[str, Callable[[Path], Iterator[tuple[str, Metadata]]]] = {
        RISKS: _risks,
        DIAGNOSES: _diagnoses,
        EJECTION: _ejection_fractions,
    }
    for name, read in readers.items():
        if (folder / name).is_file():
            for study, metadata in read(folder / name):
                found[study] = joined(found[study], metadata) if study in found else metadata
    return found


def study_of(path: str) -> str:
    """The number of a study, from the path of its recording.

    Example:
        >>> study_of("files/p1000/p10000032/s40689238/40689238")
        '40689238'
    """
    return path.rstrip("/").rpartition("/")[2]


def joined(first: Metadata, second: Metadata) -> Metadata:
    """What two tables say of one recording; where both say something, the second one.

    Example:
        >>> both = joined(Metadata(age=61.0, values={"a": 1.0}), Metadata(sex="male", values={"b": 2.0}))
        >>> both.age, both.sex, dict(both.values)
        (61.0, 'male', {'a': 1.0, 'b': 2.0})
    """
    return replace(
        first,
        age=first.age if math.isnan(second.age) else second.age,
        sex=second.sex or first.sex,
        sbp=first.sbp if math.isnan(second.sbp) else second.sbp,
        labels={**first.labels, **second.labels},
        values={**first.values, **second.values},
        part=second.part or first.part,
    )


def categories(row: Mapping[str, str]) -> tuple[str, ...] | None:
    """The categories of ICD-10 (three characters) among the diagnoses of the stays around a recording.

    Args:
        row: With lists of codes; all lists of a recording that belongs to no stay are empty.

    Returns:
        Sorted; None where no stay is linked, which is not the same as no disease.

    Raises:
        ValueError: If a list cannot be read.

    Example:
        >>> categories({"all_diag_all": "['I4891', 'I48', 'I10']", "ed_diag_ed": "[]"})
        ('I10', 'I48')
        >>> categories({"all_diag_all": "[]"}) is None
        True
    """
    lists = [_codes(name, row.get(name, "")) for name in _LISTS]
    return tuple(sorted({intern(code[:3]) for code in lists[0]})) if any(lists) else None


def _codes(column: str, cell: str) -> list[str]:
    if cell in ("", "[]"):
        return []
    try:
        codes = ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        codes = None
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise ValueError(f"{DIAGNOSES}: {column} is not a list of codes: {cell[:80]!r}")
    return codes


def _diagnoses(path: Path) -> Iterator[tuple[str, Metadata]]:
    for row in rows_with(path, ("study_id", _LISTS[0])):
        fold = parse_number(row.get("strat_fold", ""))
        part = {_VALIDATION: "validation", _TEST: "test"}.get(fold, "train") if fold in _FOLDS else None
        found = categories(row)
        labels = {} if found is None else {"icd10": found}
        age, sex = parse_age(row.get("age", "")), parse_sex(row.get("gender", ""))
        yield row["study_id"], Metadata(age=age, sex=sex, labels=labels, part=part)


def _ejection_fractions(path: Path) -> Iterator[tuple[str, Metadata]]:
    low, high = _LVEF_PERCENT
    for row in rows_with(path, ("waveform_path", "LVEF")):
        lvef = parse_number(row["LVEF"])
        if low <= lvef <= high:
            labels = {"reduced_lvef": ("reduced",) if lvef < _REDUCED_BELOW else ()}
            yield study_of(row["waveform_path"]), Metadata(labels=labels, values={"lvef": lvef})


def _risks(path: Path) -> Iterator[tuple[str, Metadata]]:
    for row in rows_with(path, ("path", "score2_risk")):
        risk = parse_number(row["score2_risk"])
        pressure = parse_number(row.get("Blood Pressure", "").partition("/")[0])
        yield (
            study_of(row["path"]),
            Metadata(
                age=parse_age(row.get("age_at_ecg", "") or row.get("anchor_age", "")),
                sex=parse_sex(row.get("gender", "")),
                sbp=pressure if _SBP_MMHG[0] <= pressure <= _SBP_MMHG[1] else math.nan,
                values={} if math.isnan(risk) else {"score2_risk": risk},
            ),
        )
