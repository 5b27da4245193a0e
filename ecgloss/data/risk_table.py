"""A table of patients as inputs of clinical scores, and the table of their risks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgloss._files import replacing
from ecgloss.data.table import columns_in, read_frame
from ecgloss.data.table_cells import age_cell, number_cell, sex_cell, truth_cell
from ecgloss.data.table_columns import RECOGNISED, RISK_INPUTS, Column
from ecgloss.risk.inputs import INPUTS, YES_NO, from_percent
from ecgloss.risk.missing import ClinicalRisk

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RiskTable:
    """What a table says of its patients.

    Attributes:
        ids: The columns that name records and patients.
        inputs: Inputs of scores by name, (n,) each, as :func:`ecgloss.risk.clinical_risk` takes them.
        notes: A sentence on which columns were used for what.
    """

    ids: pd.DataFrame
    inputs: dict[str, Any]
    notes: list[str]


def read_risk_table(path: str | Path, columns: str | Mapping[str, str] | None = None) -> RiskTable:
    """Read a table, one row per patient or recording.

    Args:
        path: CSV, TSV or Parquet.
        columns: Meaning to heading, as for :func:`ecgloss.data.join_table`; headings of all inputs are recognised.

    Raises:
        ValueError: If the table cannot be read, a cell cannot be understood, or it has no input of a score; it names
            table, column and cell.
    """
    path = Path(path)
    frame = read_frame(path)
    named, recognised = columns_in(frame, path, columns, RECOGNISED | RISK_INPUTS)
    used = [*named, *recognised]
    inputs: dict[str, Any] = {}
    for column in used:
        if column.kind in INPUTS:
            try:
                where = f"{path}, column {column.heading}"
                inputs[column.kind] = _values(column, frame[column.heading].tolist(), where)
            except ValueError as error:
                if column in named:
                    raise
                raise ValueError(f"{error}; to leave the column out, --columns {column.kind}=none") from error
    if not inputs:
        raise ValueError(
            f"{path} has no column that is recognised as an input of a score; say which is, such as "
            f"--columns age=HEADING. It has {', '.join(frame.columns)}"
        )
    ids = frame[[column.heading for column in used if column.kind in ("record", "patient")]]
    return RiskTable(ids, inputs, [f"{path.name}: {', '.join(map(str, used))}"])


def write_risk_table(path: str | Path, ids: pd.DataFrame, found: ClinicalRisk) -> None:
    """Write one row per patient, as CSV or Parquet: risk, score, missing and imputed inputs, flags.

    Raises:
        ValueError: For another extension.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".parquet", ".pq"):
        raise ValueError(f"{path} must end in .csv or .parquet")
    frame = ids.copy()
    titles = np.array([*(model.title for model in found.models), ""], dtype=object)
    frame["risk"] = found.risk
    frame["score"] = titles[found.model]
    frame["n_missing"], frame["missing"] = found.n_missing, found.missing
    frame["imputed"], frame["flags"] = _named(found.imputed, len(found)), _named(found.flags, len(found))
    frame["clipped"], frame["out_of_range"] = found.clipped, found.out_of_range
    with replacing(path) as temporary:
        if path.suffix.lower() == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)


def _named(masks: Mapping[str, Any], n: int) -> list[str]:
    """For each row, the names whose mask is set, separated by semicolons."""
    names = np.full(n, "", dtype=object)
    for name, mask in masks.items():
        names[mask] = [f"{before};{name}" if before else name for before in names[mask]]
    return list(names)


def _values(column: Column, cells: list[str], where: str) -> Any:
    """One column as an input."""
    if column.kind == "sex":
        return [sex_cell(cell, where) if cell else None for cell in cells]
    if column.kind in YES_NO:
        return np.array([float(truth_cell(cell, where)) if cell else np.nan for cell in cells])
    if column.kind == "age":
        return np.array([age_cell(cell, where) if cell else np.nan for cell in cells])
    numbers = np.array([number_cell(cell, where) for cell in cells]) * column.factor
    return from_percent(numbers) if column.kind == "hba1c" and column.name == "%" else numbers
