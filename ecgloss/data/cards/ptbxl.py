"""PTB-XL: 21,799 recordings of 10 s with SCP-ECG statements."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry, physionet
from ecgloss.data.recording import STANDARD_LEADS, Metadata, Recording
from ecgloss.data.splits import part_of_fold
from ecgloss.data.wfdb.fields import parse_age, parse_number, read_table, require_columns
from ecgloss.data.wfdb.headers import InvalidRecordError, inside
from ecgloss.data.wfdb.records import read_voltages

_DATABASE, _STATEMENTS = "ptbxl_database.csv", "scp_statements.csv"
_SEX = {"0": "male", "0.0": "male", "1": "female", "1.0": "female"}
TASKS = ("all", "superdiagnostic", "subdiagnostic", "diagnostic", "form", "rhythm")


def labels_of(scp_codes: str, statements: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """Translate the statements of one recording into the labels of the six tasks of the PTB-XL benchmark.

    Every statement of the dictionary counts, whatever its likelihood (form and rhythm statements have 0), as in
    Strodthoff et al., IEEE JBHI 25:1519 (2021); the task "all" holds all of them. A recording may end up without a
    label for a task.

    Args:
        scp_codes: A dictionary literal, statement to likelihood.
        statements: Rows of ``scp_statements.csv`` by statement.

    Returns:
        Sorted labels by task; empty without ``statements``.

    Raises:
        ValueError: If ``scp_codes`` is not a dictionary literal.

    Example:
        >>> row = {"diagnostic": "1.0", "form": "", "rhythm": ""}
        >>> row |= {"diagnostic_class": "MI", "diagnostic_subclass": "IMI"}
        >>> labels_of("{'ILMI': 50.0, 'SR': 0.0}", {"ILMI": row})["superdiagnostic"]
        ('MI',)
    """
    try:
        codes = ast.literal_eval(scp_codes)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"scp_codes is not a dictionary: {scp_codes[:80]!r}") from error
    if not isinstance(codes, dict):
        raise ValueError(f"scp_codes is not a dictionary: {scp_codes[:80]!r}")
    if not statements:
        return {}
    rows = {str(code): statements[code] for code in codes if code in statements}
    kinds = {kind: [c for c in rows if _is_one(rows[c][kind])] for kind in ("diagnostic", "form", "rhythm")}
    classes = {rows[code]["diagnostic_class"] for code in kinds["diagnostic"]} - {""}
    subclasses = {rows[code]["diagnostic_subclass"] for code in kinds["diagnostic"]} - {""}
    labels = {"all": set(map(str, codes)), "superdiagnostic": classes, "subdiagnostic": subclasses, **kinds}
    return {task: tuple(sorted(labels[task])) for task in TASKS}


def _is_one(cell: str) -> bool:
    """Tell whether a flag of the table is set; it is written as 1.0."""
    return cell in ("1", "1.0")


def _matches(folder: Path) -> bool:
    """Recognise the database by its table."""
    return (folder / _DATABASE).is_file()


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield one record per row of the table, all of them at 500 Hz or all of them at 100 Hz."""
    rows = read_table(folder / _DATABASE)
    require_columns(folder / _DATABASE, rows, ("ecg_id", "patient_id", "age", "sex", "scp_codes", "filename_lr"))
    statements = _statements(folder / _STATEMENTS, rows) if (folder / _STATEMENTS).is_file() else {}
    column = _column(folder, rows, sampling_rate)
    for row in rows:
        name = row.get(column) or f"ecg_id {row.get('ecg_id')}"
        yield Entry(name, partial(_read, folder, row, column, statements))


def _statements(path: Path, rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Rows of the table of statements by statement, in whichever column it stands.

    Raises:
        ValueError: If a column is missing, or no statement of the database is in the table.
    """
    table = read_table(path)
    known = ("diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass")
    require_columns(path, table, known)
    used = set(re.findall(r"'(\w+)'", " ".join(row["scp_codes"] for row in rows)))
    others = [name for name in table[0] if name not in known] or [""]
    column = max(others, key=lambda name: len(used & {row.get(name, "") for row in table}))
    found = {row.get(column, ""): row for row in table}
    if used and not used & set(found):
        some = ", ".join(sorted(used)[:3])
        raise ValueError(f"the table {path} has none of the statements of {_DATABASE}, such as {some}")
    return found


def _column(folder: Path, rows: list[dict[str, str]], sampling_rate: float) -> str:
    """Choose the 500 Hz or the 100 Hz files for all records: in a mixture, some signals would end at 50 Hz."""
    high = [_exists(folder, row.get("filename_hr", "")) for row in rows]
    if sampling_rate > 100.0 and all(high):
        return "filename_hr"
    only_high = any(high) and not any(_exists(folder, row.get("filename_lr", "")) for row in rows)
    return "filename_hr" if only_high else "filename_lr"


def _exists(folder: Path, name: str) -> bool:
    """Tell whether a record named in the table is there; a name that leads outside is not."""
    try:
        return inside(folder, f"{name}.hea").is_file() if name else False
    except InvalidRecordError:
        return False


def _read(
    folder: Path, row: Mapping[str, str], column: str, statements: Mapping[str, Mapping[str, str]]
) -> list[Recording]:
    """Read the recording of one row."""
    record = read_voltages(inside(folder, f"{row[column]}.hea"))
    metadata = Metadata(
        age=parse_age(row["age"]),
        sex=_SEX.get(row["sex"]),
        labels=labels_of(row["scp_codes"], statements),
        part=part_of_fold(parse_number(row.get("strat_fold", ""))),
    )
    patient = row["patient_id"].removesuffix(".0") or f"ecg_id {row['ecg_id']}"
    return [Recording(row[column], patient, record.signal, record.leads, record.sampling_rate, metadata)]


CARD = DatabaseCard(
    name="ptbxl",
    title="PTB-XL, a large publicly available electrocardiography dataset",
    sampling_rate=(100.0, 500.0),
    leads=STANDARD_LEADS,
    tasks=TASKS,
    licence="CC BY 4.0",
    citation="Wagner P, et al. PTB-XL, a large publicly available electrocardiography dataset. "
    "Scientific Data 7:154, 2020. doi:10.1038/s41597-020-0495-6; doi:10.13026/x4td-x982",
    defects=(
        "Lead names AVR, AVL, AVF are in upper case.",
        "Ages above 89 are written as 300 from version 1.0.2 on; they become 90.",
        "Versions before 1.0.3 contain duplicates, one of them (145 and 463) under two patient identifiers; "
        "duplicates share a group, so that no split separates them.",
        "Extracts may lack files named in filename_hr; the 100 Hz files are then used for all recordings.",
    ),
    recognised_by="`ptbxl_database.csv`",
    download=physionet("ptb-xl/1.0.3"),
    matches=_matches,
    entries=_entries,
    overlaps=("challenge",),
    notes=(
        "The 500 Hz files are read if the requested rate is above 100 Hz and all of these files exist, or if there are "
        "no 100 Hz files; the two rates are never mixed.",
        "Every statement in scp_codes counts, whatever its likelihood; without scp_statements.csv there are no labels.",
        "The folds of the database are its split unless another is asked for: strat_fold 1 to 8 train, 9 validates, 10 "
        "tests, as in published results.",
    ),
)
