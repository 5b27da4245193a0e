"""Chapman-Shaoxing and Ningbo as one database of PhysioNet: 45,152 recordings of 10 s with SNOMED CT diagnoses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry, physionet
from ecgloss.data.cards.challenge import recording
from ecgloss.data.challenge_classes import CHALLENGE_CLASSES
from ecgloss.data.recording import STANDARD_LEADS, Recording
from ecgloss.data.wfdb.fields import read_table, require_columns
from ecgloss.data.wfdb.headers import find_headers, record_name
from ecgloss.data.wfdb.records import read_voltages

_TABLE, _SIGNALS = "ConditionNames_SNOMED-CT.csv", "WFDBRecords"


def names_of(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the name of every SNOMED CT code.

    Codes that the PhysioNet/CinC Challenge scores have its abbreviations. Others have the full name of the table,
    in small letters, if one only is given: the acronyms of the table mean other things in the Challenge, where AF is
    atrial fibrillation; here it is flutter.

    Args:
        rows: Of ``ConditionNames_SNOMED-CT.csv``.

    Example:
        >>> names = names_of([{"Acronym Name": "AF", "Full Name": "Atrial Flutter", "Snomed_CT": "164890007"},
        ...     {"Acronym Name": "ERV", "Full Name": "Early repolarization", "Snomed_CT": "428417006"}])
        >>> names["164890007"], names["164889003"], names["428417006"]
        ('AFL', 'AF', 'early repolarization')
    """
    full = {(row["Snomed_CT"], row["Full Name"].lower()) for row in rows if row["Snomed_CT"] and row["Full Name"]}
    given = Counter(code for code, _ in full)
    scored = {code: found.name for found in CHALLENGE_CLASSES for code in found.codes}
    return {code: name for code, name in full if given[code] == 1} | scored


def _table(folder: Path) -> Path | None:
    """The table of conditions, in the folder or beside the folder of the signals."""
    places = (folder, folder.resolve().parent) if folder.resolve().name == _SIGNALS else (folder,)
    return next((place / _TABLE for place in places if (place / _TABLE).is_file()), None)


def _matches(folder: Path) -> bool:
    """Recognise the database by its table of conditions."""
    return _table(folder) is not None


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield every record below the folder."""
    table = _table(folder)
    rows = [] if table is None else read_table(table)
    if table is not None:
        require_columns(table, rows, ("Full Name", "Snomed_CT"))
    known = names_of(rows)
    for header in find_headers(folder):
        name = record_name(header, folder)
        yield Entry(name, partial(_read, header, name, known))


def _read(header: Path, name: str, known: Mapping[str, str]) -> list[Recording]:
    """Read one record; every patient has one."""
    return [recording(read_voltages(header), name, known)]


def _extra_files(folder: Path) -> list[Path]:
    """The table of conditions, which may lie outside the folder."""
    table = _table(folder)
    return [] if table is None else [table]


CARD = DatabaseCard(
    name="ecg-arrhythmia",
    title="A large scale 12-lead electrocardiogram database for arrhythmia study (Chapman-Shaoxing and Ningbo)",
    sampling_rate=(500.0,),
    leads=STANDARD_LEADS,
    tasks=("diagnosis",),
    licence="CC BY 4.0",
    citation="Zheng J, et al. A 12-lead electrocardiogram database for arrhythmia research covering more than 10,000 "
    "patients. Scientific Data 7:48, 2020. doi:10.1038/s41597-020-0386-x; Zheng J, et al. Optimal multi-stage "
    "arrhythmia classification approach. Scientific Reports 10:2898, 2020. doi:10.1038/s41598-020-59821-7; "
    "doi:10.13026/wgex-er52",
    defects=(
        "In the table of conditions AF is atrial flutter and ST is sinus tachycardia; acronyms are not used, codes are "
        "named as in the Challenge.",
        "The headers of JS01052 and JS23074 are malformed; records whose header cannot be understood are skipped.",
        "Lists of diagnoses have superfluous commas (JS00344, JS03287), and two of their codes are in no table "
        "(251238007, 6180003); such codes stay as they are.",
        "Some recordings are byte for byte the same; they share a group.",
        "About 5 % of the recordings have flat leads, missing samples or implausible amplitudes.",
        "Patients are not identified; the authors have one recording of each.",
    ),
    recognised_by="`ConditionNames_SNOMED-CT.csv`",
    download=physionet("ecg-arrhythmia/1.0.0"),
    matches=_matches,
    entries=_entries,
    extra_files=_extra_files,
    overlaps=("challenge",),
    notes=(
        "The Challenge's parts chapman_shaoxing and ningbo are the same recordings; S23074 there is JS23074 here.",
        "Codes that the Challenge scores have its abbreviations, others the full name in the table of conditions, or "
        "no name where the table has several or none.",
    ),
)
