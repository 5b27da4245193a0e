"""Which column of a user's table means what: given by name, or recognised by its heading."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: What a column may be, and headings by which it is recognised (small letters and digits alone count).
RECOGNISED = {
    "record": ("record", "recordid", "recordname", "recording", "file", "filename", "path", "ecgid", "examid", "name"),
    "patient": ("patient", "patientid", "patientnumber", "pid", "subject", "subjectid"),
    "age": ("age", "ageyears"),
    "sex": ("sex", "gender"),
    "smoker": ("smoker", "smoking", "currentsmoker"),
    "diabetes": ("diabetes", "diabetic"),
    "sbp": ("sbp", "systolic", "systolicbp", "systolicbloodpressure"),
    "total_chol": ("totalchol", "totalcholesterol", "tc"),
    "hdl_chol": ("hdl", "hdlchol", "hdlcholesterol", "hdlc"),
}
#: Further inputs of clinical scores: a column must be named; the command risk alone recognises these headings.
RISK_INPUTS = {
    "age_at_diagnosis": ("ageatdiagnosis", "ageatdiabetesdiagnosis", "agediabetesdiagnosis"),
    "hba1c": ("hba1c", "a1c", "glycatedhaemoglobin", "glycatedhemoglobin"),
    "egfr": ("egfr", "gfr", "egfrckdepi"),
    "bmi": ("bmi", "bodymassindex"),
    "bp_treated": ("bptreated", "bptreatment", "antihypertensive", "antihypertensives", "bptx"),
    "statin": ("statin", "statins"),
    "heart_failure": ("heartfailure", "chf", "congestiveheartfailure"),
    "hypertension": ("hypertension", "htn"),
    "stroke": ("stroke", "stroketia", "tia", "previousstroke"),
    "vascular": ("vascular", "vasculardisease"),
}
#: Units other than mmol/L that a cholesterol may have, as in ``total_chol:mg/dL=tc``, and their factors to mmol/L.
CHOLESTEROL_UNITS = {"mmol/L": 1.0, "mg/dL": 1 / 38.67}
HBA1C_UNITS = ("mmol/mol", "%")
NONE = "none"  # as a heading: no column, though one would be recognised
_FREE = ("label", "value", "risk")  # one task per column: label:af=af, value:ef=lvef, risk=my_score or risk:mine=score


@dataclass(frozen=True)
class Column:
    """The meaning of one column.

    Attributes:
        kind: ``"record"``, ``"patient"``, ``"age"``, ..., or ``"label"``, ``"value"``, ``"risk"``.
        name: Name of the task of a label, value or risk; the unit of HbA1c if it was given; empty for other kinds.
        heading: As in the table.
        factor: By which numbers are multiplied.
    """

    kind: str
    name: str
    heading: str
    factor: float = 1.0

    def __str__(self) -> str:
        return f"{self.kind}{f' {self.name}' if self.name and self.name != self.heading else ''} = {self.heading}"


def parse_columns(given: str | Mapping[str, str] | None) -> dict[str, str]:
    """Meaning to heading, of ``"record=file,patient=pid"`` or of a mapping.

    Raises:
        ValueError: If a part is not of the form MEANING=HEADING, or a meaning stands twice.

    Example:
        >>> parse_columns("record=file, label:af=has_af")
        {'record': 'file', 'label:af': 'has_af'}
    """
    if not given:
        return {}
    if not isinstance(given, str):
        return {str(key): str(value) for key, value in given.items()}
    found: dict[str, str] = {}
    for part in given.split(","):
        meaning, equals, heading = (word.strip() for word in part.partition("="))
        if not (meaning and equals and heading):
            raise ValueError(f"columns must be MEANING=HEADING, separated by commas; got {part.strip()!r}")
        if meaning in found:
            raise ValueError(f"columns names {meaning} twice: {found[meaning]} and {heading}")
        found[meaning] = heading
    return found


def columns_of(
    headings: Sequence[str],
    given: str | Mapping[str, str] | None,
    recognise: Mapping[str, Sequence[str]] = RECOGNISED,
) -> tuple[list[Column], list[Column]]:
    """The columns of a table that are used.

    Args:
        headings: Of the table.
        given: Meaning to heading, as in the option ``--columns``.
        recognise: Headings by which columns are recognised.

    Returns:
        Those that were given, and those that were recognised besides.

    Raises:
        ValueError: For an unknown meaning or heading, or two columns that could be the same; it says which there are.

    Example:
        >>> named, recognised = columns_of(["file", "Age", "my_score", "note"], "risk=my_score")
        >>> [str(column) for column in named], [str(column) for column in recognised]
        (['risk = my_score'], ['record = file', 'age = Age'])
        >>> columns_of(["file", "Age"], "age=none")[1]
        [Column(kind='record', name='', heading='file', factor=1.0)]
    """
    meanings = parse_columns(given)
    absent = {meaning for meaning, heading in meanings.items() if heading == NONE and heading not in headings}
    named = [_given(meaning, heading, headings) for meaning, heading in meanings.items() if meaning not in absent]
    taken = {column.kind for column in named} | absent
    used = {column.heading for column in named}
    recognised = []
    for kind, words in recognise.items():
        if kind in taken:
            continue
        fitting = [heading for heading in headings if _plain(heading) in words and heading not in used]
        if kind == "record":  # the first of the list that is there: a table may have a file and a name
            fitting = sorted(fitting, key=lambda heading: RECOGNISED["record"].index(_plain(heading)))[:1]
        if len(fitting) > 1:
            raise ValueError(f"columns {' and '.join(fitting)} may both be {kind}; say which, --columns {kind}=HEADING")
        recognised += [Column(kind, "", heading) for heading in fitting]
    return named, recognised


def _given(meaning: str, heading: str, headings: Sequence[str]) -> Column:
    """The column that a user named."""
    if heading not in headings:
        raise ValueError(f"columns names {meaning}={heading}; the table has {', '.join(headings)}")
    kind, colon, detail = (word.strip() for word in meaning.partition(":"))
    if kind in _FREE:
        return Column(kind, detail or heading, heading)
    if kind in ("total_chol", "hdl_chol") and colon:
        if detail not in CHOLESTEROL_UNITS:
            raise ValueError(f"columns: the unit of {kind} must be {' or '.join(CHOLESTEROL_UNITS)}; got {detail}")
        return Column(kind, "", heading, CHOLESTEROL_UNITS[detail])
    if kind == "hba1c" and colon:
        if detail not in HBA1C_UNITS:
            raise ValueError(f"columns: the unit of hba1c must be {' or '.join(HBA1C_UNITS)}; got {detail}")
        return Column(kind, detail, heading)
    if kind not in (*RECOGNISED, *RISK_INPUTS, "split") or colon:
        known = ", ".join([*RECOGNISED, *RISK_INPUTS, "label:TASK", "value:TASK", "risk", "split"])
        raise ValueError(f"columns: {meaning} must be one of {known}")
    return Column(kind, "", heading)


def _plain(heading: str) -> str:
    return re.sub(r"[^a-z0-9]", "", heading.lower())
