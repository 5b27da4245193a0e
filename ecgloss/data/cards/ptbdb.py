"""PTB Diagnostic ECG Database: 549 recordings of 15 leads, with risk factors in the header comments."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry, headers_all_look_like, physionet
from ecgloss.data.recording import STANDARD_LEADS, Metadata, Recording
from ecgloss.data.wfdb.fields import age_and_sex, comment_value
from ecgloss.data.wfdb.headers import find_headers, record_name
from ecgloss.data.wfdb.records import read_voltages

_PRESSURE = "Peripheral blood Pressure (syst/diast)"
_MMHG = re.compile(r"(\d{2,3})\s*/\s*\d{2,3}")
_UNKNOWN = ("", "n/a", "unknown")


def metadata_of(comments: tuple[str, ...]) -> Metadata:
    """Read what the header comments say about the patient.

    Diabetes is known only where additional diagnoses are listed (``no`` counts as a list without any).

    Args:
        comments: Comment lines without ``#``.

    Example:
        >>> metadata_of(("age: 81", "Smoker: no", "Additional diagnoses: Diabetes mellitus"))
        Metadata(age=81.0, sex=None, smoker=False, diabetes=True, sbp=nan, total_chol=nan, hdl_chol=nan, \
labels={}, values={}, part=None)
    """
    age, sex = age_and_sex(comments)
    additional = _given(comments, "Additional diagnoses")
    smoker = _given(comments, "Smoker")
    pressure = _MMHG.search(_given(comments, _PRESSURE) or "")
    reason = _given(comments, "Reason for admission")
    return Metadata(
        age=age,
        sex=sex,
        smoker=None if smoker is None else {"yes": True, "no": False}.get(smoker.lower()),
        diabetes=None if additional is None else "diabetes" in additional.lower(),
        sbp=float(pressure.group(1)) if pressure else math.nan,
        labels={} if reason is None else {"diagnosis": (reason,)},
    )


def _given(comments: tuple[str, ...], key: str) -> str | None:
    """Return the value of a comment; None where it is absent or says "unknown"."""
    value = comment_value(comments, key)
    return None if value is None or value.lower() in _UNKNOWN else value


def _matches(folder: Path) -> bool:
    """Recognise the database by its header comments."""
    return headers_all_look_like(folder, lambda c: comment_value(c, "Reason for admission") is not None)


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield every record below the folder."""
    for header in find_headers(folder):
        name = record_name(header, folder)
        yield Entry(name, partial(_read, header, name))


def _read(header: Path, name: str) -> list[Recording]:
    """Read one record; the patient is its folder, as the database is distributed."""
    record = read_voltages(header)
    folder = header.parent.name
    patient = folder if re.fullmatch(r"patient\d+", folder) else name
    metadata = metadata_of(record.comments)
    return [Recording(name, patient, record.signal, record.leads, record.sampling_rate, metadata)]


CARD = DatabaseCard(
    name="ptbdb",
    title="PTB Diagnostic ECG Database",
    sampling_rate=(1000.0,),
    leads=(*STANDARD_LEADS, "VX", "VY", "VZ"),
    tasks=("diagnosis",),
    licence="ODC-By 1.0",
    citation="Bousseljot R, Kreiseler D, Schnabel A. Nutzung der EKG-Signaldatenbank CARDIODAT der PTB ueber das "
    "Internet. Biomedizinische Technik 40(S1):317, 1995. doi:10.13026/C28C71",
    defects=(
        "The Frank leads are in a file of their own (.xyz); where it is missing the twelve leads are read.",
        "Lead names are in lower case.",
        "Some headers have zeros for checksums; they are then not compared.",
        "Without the patient folders of the original layout every record counts as a patient of its own.",
    ),
    recognised_by="`Reason for admission` in the headers",
    download=physionet("ptbdb/1.0.0"),
    matches=_matches,
    entries=_entries,
    overlaps=("challenge",),
    notes=(
        "Smoking, diabetes and systolic blood pressure are read from the header comments and used for the clinical "
        "risk.",
    ),
)
