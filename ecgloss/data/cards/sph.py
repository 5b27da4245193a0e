"""SPH: 25,770 recordings of 24,666 patients of Shandong Provincial Hospital with AHA statements, in files of HDF5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ecgloss.data.cards.base import DatabaseCard, Entry
from ecgloss.data.hdf5 import dataset
from ecgloss.data.recording import STANDARD_LEADS, Metadata, Recording
from ecgloss.data.wfdb.fields import parse_age, parse_sex, read_table, require_columns, table_rows
from ecgloss.data.wfdb.headers import InvalidRecordError, inside

_TABLE, _CODES = "metadata.csv", "code.csv"
_COLUMNS = ("ECG_ID", "AHA_Code", "Patient_ID", "Age", "Sex")
_RATE = 500.0


def statements(cell: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Primary statements of a recording, each once, sorted, without their modifiers.

    Args:
        cell: Statements separated by ";", each a primary code with modifiers after "+".
        names: Of the codes; one without a name stays as it is.

    Example:
        >>> statements("60+310;147;60", {"60": "Ventricular premature complex(es)"})
        ('147', 'Ventricular premature complex(es)')
    """
    codes = (statement.partition("+")[0].strip() for statement in cell.split(";"))
    return tuple(sorted({names.get(code, code) for code in codes if code}))


def _matches(folder: Path) -> bool:
    """Recognise the database by the columns of its table."""
    table = folder / _TABLE
    if not table.is_file():
        return False
    try:
        return set(_COLUMNS) <= set(next(table_rows(table), {}))
    except ValueError:
        return False


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield one record per row of the table."""
    names = _names(folder / _CODES)
    for row in read_table(folder / _TABLE):
        name = f"records/{row['ECG_ID']}"
        yield Entry(name, partial(_read, folder, name, row, names))


def _names(path: Path) -> dict[str, str]:
    """Names of the codes; none without the table."""
    if not path.is_file():
        return {}
    rows = read_table(path)
    require_columns(path, rows, ("Code", "Description"))
    return {row["Code"]: row["Description"] for row in rows if row["Description"]}


def _read(folder: Path, name: str, row: Mapping[str, str], names: Mapping[str, str]) -> list[Recording]:
    """Read one recording."""
    path = inside(folder, f"{name}.h5")
    with dataset(path, "ecg") as ecg:
        if ecg.ndim != 2 or ecg.shape[0] != len(STANDARD_LEADS):
            raise InvalidRecordError(f"ecg of {path.name} has the shape {ecg.shape}, not (12, samples)")
        signal = np.asarray(ecg[:], np.float32)
    metadata = Metadata(
        age=parse_age(row["Age"]),
        sex=parse_sex(row["Sex"]),
        labels={"diagnosis": statements(row["AHA_Code"], names)} if row["AHA_Code"] else {},
    )
    return [Recording(name, row["Patient_ID"] or name, signal, STANDARD_LEADS, _RATE, metadata)]


CARD = DatabaseCard(
    name="sph",
    title="A large-scale multi-label 12-lead electrocardiogram database with standardized diagnostic statements (SPH)",
    sampling_rate=(_RATE,),
    leads=STANDARD_LEADS,
    tasks=("diagnosis",),
    licence="CC BY 4.0",
    citation="Liu H, et al. A large-scale multi-label 12-lead electrocardiogram database with standardized diagnostic "
    "statements. Scientific Data 9:272, 2022. doi:10.1038/s41597-022-01403-5",
    defects=(
        "Statements have modifiers after a plus sign (60+310); only the primary statement is a label.",
        "Two recordings (A02322 and A05000) have the same statement twice; it counts once.",
        "Amplitudes are mV as 16-bit floating-point numbers; 323 recordings exceed 10 mV.",
        "Recordings last 10 to 56 s.",
        "The archive records.tar.gz is not compressed; unpack it with tar -xf.",
    ),
    recognised_by="`metadata.csv` with `ECG_ID`, `AHA_Code`, ...",
    download="https://doi.org/10.6084/m9.figshare.c.5779802 (metadata.csv, code.csv, and records.tar.gz to unpack)",
    matches=_matches,
    entries=_entries,
    notes=(
        "It needs the extra hdf5.",
        "Statements have the names of code.csv; without it they are numbers.",
        "Patients are Patient_ID; about 1,100 of the recordings are of patients who have several.",
    ),
)
