"""A user's table of patients or recordings, joined to the recordings of a dataset.

The converted cache stays as it is: what the table says replaces what the recordings themselves say, cell by cell.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgloss._extras import require
from ecgloss.data.duplicates import join_groups
from ecgloss.data.table_cells import (
    age_cell,
    clean_cell,
    label_cell,
    number_cell,
    number_key,
    part_cell,
    record_key,
    sex_cell,
    truth_cell,
)
from ecgloss.data.table_columns import RECOGNISED, Column, columns_of
from ecgloss.risk.inputs import from_percent

if TYPE_CHECKING:
    import pandas as pd

    from ecgloss.data.dataset import EcgDataset

_NUMBERS = ("sbp", "total_chol", "hdl_chol", "age_at_diagnosis", "hba1c", "egfr", "bmi", "value", "risk")
_ANSWERS = ("smoker", "diabetes", "bp_treated", "statin", "heart_failure", "hypertension", "stroke", "vascular")
_MOST_CHOLESTEROL = 20.0  # mmol/L: a column with a larger median is in mg/dL


def join_table(
    dataset: EcgDataset, path: str | Path, columns: str | Mapping[str, str] | None = None
) -> tuple[EcgDataset, list[str]]:
    """Join a table to a dataset.

    Args:
        dataset: The recordings.
        path: CSV, TSV (any of , ; tab | as separator) or Parquet; one row per recording, or per patient.
        columns: Meaning to heading, ``{"record": "file", "risk": "my_score"}`` or ``"record=file,risk=my_score"``;
            other headings are recognised, see :data:`ecgloss.data.table_columns.RECOGNISED`. ``label:TASK`` makes a
            classification task (cells 1 / 0, or names separated by ``;``), ``value:TASK`` and ``risk`` a regression
            task, ``split`` the parts of a split (train, validation, test, or folds 1 to 10). ``age=none`` leaves a
            column out. Cholesterol is in mmol/L, or ``total_chol:mg/dL``.

    Returns:
        The dataset with what the table says, and sentences for the user: which columns were used for what, how many
        recordings were found in the table, and how many rows fit no recording.

    Raises:
        ValueError: If the table cannot be read or joined, or a cell cannot be understood; it names table, column, cell.
    """
    return join_frame(dataset, read_frame(Path(path)), Path(path), columns)


def join_frame(
    dataset: EcgDataset, frame: pd.DataFrame, path: Path, columns: str | Mapping[str, str] | None = None
) -> tuple[EcgDataset, list[str]]:
    """Join what :func:`read_frame` returned for a file; as :func:`join_table`."""
    named, recognised = columns_in(frame, path, columns)
    used = [*named, *recognised]
    rows, by = _match(dataset, frame, used, path)
    joined = copy.copy(dataset)
    joined.index = dataset.index.copy()
    joined._labels = [dict(found) for found in dataset._labels]
    joined._values = [dict(found) for found in dataset._values]
    for column in used:
        if column.kind == "record" or column is by:
            continue
        try:
            _fill(joined, column, frame[column.heading].tolist(), rows, path)
        except ValueError as error:
            if column not in recognised:
                raise
            raise ValueError(f"{error}; to leave the column out, --columns {column.kind}=none") from error
    if any(column.kind == "patient" and column is not by for column in used):
        old, new = dataset.index["group"].tolist(), joined.index["patient"].tolist()
        joined.index["group"] = join_groups(old, [f"{path.name}:{p}" if r >= 0 else None for p, r in zip(new, rows)])
    content = frame[[column.heading for column in used]].to_csv(index=False)
    meaning = json.dumps([[column.kind, column.name, column.heading, column.factor] for column in used])
    digest = hashlib.sha256("\0".join([dataset.fingerprint, meaning, content]).encode())
    joined.fingerprint = digest.hexdigest()
    return joined, _report(path, dataset, frame, named, recognised, rows, by)


def columns_in(
    frame: pd.DataFrame,
    path: Path,
    columns: str | Mapping[str, str] | None = None,
    known: Mapping[str, tuple[str, ...]] = RECOGNISED,
) -> tuple[list[Column], list[Column]]:
    """:func:`~ecgloss.data.table_columns.columns_of` what :func:`read_frame` returned for a file, which errors name."""
    try:
        return columns_of(list(frame.columns), columns, known)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table as text cells without surrounding blanks; unknown cells are empty.

    Raises:
        ValueError: If it cannot be read, is empty, or two columns have one heading.
    """
    pandas = require("pandas", "data")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pandas.read_parquet(path)
            frame = frame.astype(object).where(frame.notna(), "")
        else:
            with path.open(encoding="utf-8-sig") as file:
                first = file.readline()
            separator = max(",;\t|", key=first.count)
            with warnings.catch_warnings():
                warnings.simplefilter("error", pandas.errors.ParserWarning)  # rows with more cells than headings
                frame = pandas.read_csv(
                    path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False
                )
    except pandas.errors.ParserWarning as error:
        raise ValueError(f"cannot read the table {path}: some row has more cells than there are headings") from error
    except OSError as error:
        raise ValueError(f"cannot read the table {path}: {error.strerror or error}") from error
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise ValueError(f"cannot read the table {path}: {' '.join(str(error).split())[:200]}") from error
    headings = [str(heading).strip() for heading in frame.columns]
    twice = [heading for heading, count in Counter(headings).items() if count > 1]
    if twice or frame.empty:
        what = f"two columns are called {twice[0]}" if twice else "it has no rows"
        raise ValueError(f"cannot use the table {path}: {what}")
    frame.columns = headings
    comma = path.suffix.lower() not in (".parquet", ".pq") and separator == ";"

    clean: pd.DataFrame = frame.apply(lambda column: column.map(lambda value: clean_cell(value, comma)))
    return clean


def id_column(frame: pd.DataFrame, used: Sequence[Column], path: Path) -> Column:
    """The column by which a table is joined: that of the records, or else that of the patients.

    Raises:
        ValueError: If there is neither.
    """
    by = next((c for kind in ("record", "patient") for c in used if c.kind == kind), None)
    if by is None:
        raise ValueError(
            f"{path} names neither recordings nor patients in a column that is recognised; say which does, "
            f"--columns record=HEADING or --columns patient=HEADING. It has {', '.join(frame.columns)}"
        )
    return by


def keys_of(dataset: EcgDataset, frame: pd.DataFrame, by: Column) -> tuple[list[str], list[str]]:
    """By what rows of a table and recordings are matched: a key for each row, and one for each recording."""
    own = dataset.index["name" if by.kind == "record" else "patient"].tolist()
    clean: Callable[[str], str] = record_key if by.kind == "record" else number_key
    table = [clean(cell) for cell in frame[by.heading].tolist()]
    found = [clean(str(name)) for name in own]
    if by.kind == "record" and not set(table) & set(found):  # by file names alone, where each stands once
        last = [PurePosixPath(name).name for name in found]
        if len(set(last)) == len(last):
            table, found = [PurePosixPath(name).name for name in table], last
    return table, found


def _match(dataset: EcgDataset, frame: pd.DataFrame, used: Sequence[Column], path: Path) -> tuple[list[int], Column]:
    """The row of the table of every recording, -1 where there is none, and the column that says so."""
    by = id_column(frame, used, path)
    cells = frame[by.heading].tolist()
    own = dataset.index["name" if by.kind == "record" else "patient"].tolist()
    table, found = keys_of(dataset, frame, by)
    twice = [cells[table.index(key)] for key, count in Counter(table).items() if count > 1 and key]
    if twice:
        raise ValueError(
            f"{path}: column {by.heading} has {len(twice)} entries more than once, such as {twice[0]}; "
            f"one row per {'recording' if by.kind == 'record' else 'patient'} is needed"
        )
    position = {key: row for row, key in enumerate(table) if key}
    rows = [position.get(key, -1) for key in found]
    if max(rows, default=-1) < 0:
        some = ", ".join(map(str, cells[:3]))
        raise ValueError(
            f"{path}: column {by.heading} fits no recording of {dataset.source}; it has {some}, "
            f"the {'recordings' if by.kind == 'record' else 'patients'} are called {', '.join(map(str, own[:3]))}"
        )
    return rows, by


def _fill(dataset: EcgDataset, column: Column, cells: list[str], rows: list[int], path: Path) -> None:
    """Put one column into a dataset."""
    chosen = [cells[row] if row >= 0 else "" for row in rows]
    where = f"{path}, column {column.heading}"
    if column.kind in _NUMBERS:
        numbers = [number_cell(cell, where) * column.factor for cell in chosen]
        if column.name == "%" and column.kind == "hba1c":
            numbers = [from_percent(number) for number in numbers]
        _check_cholesterol(column, numbers, where)
        if column.kind in ("value", "risk"):
            for values, number in zip(dataset._values, numbers):
                values.pop(column.name, None)
                if not math.isnan(number):
                    values[column.name] = number
            return
        _set(dataset, column.kind, [None if math.isnan(x) else x for x in numbers])
    elif column.kind == "label":
        for labels, cell in zip(dataset._labels, chosen):
            labels.pop(column.name, None)
            if cell:
                labels[column.name] = label_cell(cell, column.name)
    elif column.kind == "split":
        dataset.parts = [part_cell(cell, where) for cell in chosen]
    elif column.kind == "age":
        _set(dataset, "age", [None if not cell else age_cell(cell, where) for cell in chosen])
    elif column.kind == "sex":
        _set(dataset, "sex", [None if not cell else sex_cell(cell, where) for cell in chosen])
    elif column.kind in _ANSWERS:
        _set(dataset, column.kind, [None if not cell else truth_cell(cell, where) for cell in chosen])
    else:
        _set(dataset, column.kind, [cell or None for cell in chosen])


def _set(dataset: EcgDataset, name: str, values: list[Any]) -> None:
    """Replace the known values of one column of the index."""
    if name not in dataset.index:  # an input of clinical scores that no database has by itself
        dtype = "boolean" if name in _ANSWERS else "float64"
        dataset.index[name] = require("pandas", "data").Series(values, index=dataset.index.index, dtype=dtype)
        return
    old = dataset.index[name].tolist()
    merged = [before if value is None else value for before, value in zip(old, values)]
    dataset.index[name] = require("pandas", "data").Series(
        merged, index=dataset.index.index, dtype=dataset.index[name].dtype
    )


def _report(
    path: Path,
    dataset: EcgDataset,
    frame: pd.DataFrame,
    named: Sequence[Column],
    recognised: Sequence[Column],
    rows: Sequence[int],
    by: Column,
) -> list[str]:
    """What was done, in sentences."""
    parts = [", ".join(map(str, named))] if named else []
    parts += [f"recognised {', '.join(map(str, recognised))}"] if recognised else []
    ignored = [heading for heading in frame.columns if heading not in {c.heading for c in (*named, *recognised)}]
    parts += [f"not used {', '.join(ignored[:8])}{', ...' if len(ignored) > 8 else ''}"] if ignored else []
    lines = [f"{path.name}: {'; '.join(parts)}"]
    without = [name for name, row in zip(dataset.index["name"], rows) if row < 0]
    extra = sorted(set(range(len(frame))) - set(rows))
    lines.append(f"{path.name}: {len(rows) - len(without)} of {len(rows)} recordings found by {by.heading}")
    if without:
        lines.append(f"{path.name}: {len(without)} recordings have no row, such as {', '.join(map(str, without[:3]))}")
    if extra:
        some = ", ".join(str(frame[by.heading].iloc[row]) for row in extra[:3])
        lines.append(f"{path.name}: {len(extra)} rows fit no recording, such as {some}")
    return lines


def _check_cholesterol(column: Column, numbers: list[float], where: str) -> None:
    known = [number for number in numbers if not math.isnan(number)]
    if column.kind in ("total_chol", "hdl_chol") and known and float(np.median(known)) > _MOST_CHOLESTEROL:
        raise ValueError(
            f"{where}: a median of {float(np.median(known)):.0f} mmol/L is impossible; if the table has mg/dL, say "
            f"--columns {column.kind}:mg/dL={column.heading}"
        )
