"""PhysioNet/CinC Challenge 2020 and 2021: Georgia, CPSC 2018, CPSC-Extra, Chapman-Shaoxing, Ningbo, PTB-XL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry, headers_all_look_like, physionet
from ecgloss.data.recording import STANDARD_LEADS, Metadata, Recording
from ecgloss.data.wfdb.fields import age_and_sex, comment_value, read_table
from ecgloss.data.wfdb.headers import find_headers, record_name
from ecgloss.data.wfdb.records import WfdbRecord, read_voltages

_TABLES = ("dx_mapping_scored.csv", "dx_mapping_unscored.csv")


def diagnosis_tables(folder: Path) -> list[Path]:
    """Return the tables of SNOMED CT codes in a folder, or in the nearest of its two parents that has any.

    Example:
        >>> diagnosis_tables(Path("no such folder/a/b"))
        []
    """
    resolved = folder.resolve()
    for directory in [resolved, *list(resolved.parents)[:2]]:
        found = [directory / name for name in _TABLES if (directory / name).is_file()]
        if found:
            return found
    return []


def abbreviations(tables: list[Path]) -> dict[str, str]:
    """Return the abbreviation of every SNOMED CT code in the Challenge's tables (2020 and 2021 editions).

    Example:
        >>> abbreviations([])
        {}
    """
    known = {}
    for table in tables:
        for row in read_table(table):
            code = row.get("SNOMED CT Code") or row.get("SNOMEDCTCode")
            if code and row.get("Abbreviation"):
                known[code] = row["Abbreviation"]
    return known


def diagnoses(dx: str, known: Mapping[str, str]) -> tuple[str, ...]:
    """Translate the codes of a ``Dx`` comment; a code without abbreviation stays as it is.

    Example:
        >>> diagnoses("426783006, 1234", {"426783006": "SNR"})
        ('SNR', '1234')
    """
    codes = (code.strip() for code in dx.split(","))
    return tuple(dict.fromkeys(known.get(code, code) for code in codes if code and code != "Unknown"))


def _has_diagnosis(comments: tuple[str, ...]) -> bool:
    """Tell whether header comments hold a diagnosis as the Challenge writes it."""
    return comment_value(comments, "Dx") is not None


def _matches(folder: Path) -> bool:
    """Recognise the Challenge by the header comments of the folder and of every folder below."""
    return headers_all_look_like(folder, _has_diagnosis)


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield every record below the folder."""
    known = abbreviations(diagnosis_tables(folder))
    for header in find_headers(folder):
        name = record_name(header, folder)
        yield Entry(name, partial(_read, header, name, known))


def _read(header: Path, name: str, known: Mapping[str, str]) -> list[Recording]:
    """Read one record."""
    return [recording(read_voltages(header), name, known)]


def recording(record: WfdbRecord, name: str, known: Mapping[str, str]) -> Recording:
    """A record with the diagnoses of its header; patients are not identified, so each record is its own.

    Args:
        record: What was read.
        name: Of the record.
        known: Abbreviation of every code that has one.

    Example:
        >>> import numpy as np
        >>> record = WfdbRecord(np.zeros((1, 500), np.float32), ("I",), 500.0, None, ("Age: 61", "Dx: 164889003"))
        >>> recording(record, "A0001", {"164889003": "AF"}).metadata.labels
        {'diagnosis': ('AF',)}
    """
    age, sex = age_and_sex(record.comments)
    dx = comment_value(record.comments, "Dx")
    labels = {} if dx is None else {"diagnosis": diagnoses(dx, known)}
    metadata = Metadata(age=age, sex=sex, labels=labels)
    return Recording(name, name, record.signal, record.leads, record.sampling_rate, metadata)


CARD = DatabaseCard(
    name="challenge",
    title="PhysioNet/Computing in Cardiology Challenge 2020 and 2021",
    sampling_rate=(257.0, 500.0, 1000.0),
    leads=STANDARD_LEADS,
    tasks=("diagnosis",),
    licence="CC BY 4.0",
    citation="Perez Alday EA, et al. Classification of 12-lead ECGs: the PhysioNet/Computing in Cardiology "
    "Challenge 2020. Physiol Meas 41:124003, 2020. doi:10.1088/1361-6579/abc960; Reyna MA, et al. Will Two Do? "
    "Varying Dimensions in Electrocardiography: The PhysioNet/Computing in Cardiology Challenge 2021. "
    "doi:10.13026/34va-7q14",
    defects=(
        "Georgia headers as first published have a record line against the specification (file extension, date before "
        "time); they are read.",
        "PTB-XL in Challenge form writes the unit as mv.",
        "Georgia contains identical recordings (E07509 and E07510); they share a group.",
        "Age may be NaN, sex Unknown; both are then missing.",
        "Patients are not identified: every record counts as a patient of its own unless its signal is a duplicate.",
        "Leads may be flat or clipped; a flat lead is stored as zeros.",
    ),
    recognised_by="`Dx` in the headers",
    download=physionet("challenge-2021/1.0.3"),
    matches=_matches,
    entries=_entries,
    extra_files=diagnosis_tables,
    overlaps=("ptbxl", "ptbdb", "ecg-arrhythmia", "cpsc2018", "incartdb"),
    notes=(
        "SNOMED CT codes are replaced by abbreviations if dx_mapping_scored.csv or dx_mapping_unscored.csv is in the "
        "folder, its parent or its grandparent; codes not in these tables stay as they are.",
    ),
)
