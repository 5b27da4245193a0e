"""China Physiological Signal Challenge 2018 in the form of the PhysioNet/CinC Challenges: 6,877 recordings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from ecgloss.data.cards import challenge
from ecgloss.data.cards.base import DatabaseCard, Entry, physionet
from ecgloss.data.recording import STANDARD_LEADS, Recording
from ecgloss.data.wfdb.fields import comment_value
from ecgloss.data.wfdb.headers import find_headers, record_name
from ecgloss.data.wfdb.records import read_voltages

_RECORD = re.compile(r"A\d{4}")
_OLDEST, _ABOVE_89 = 92.0, 90.0
CLASSES = {
    "426783006": "Normal",
    "164889003": "AF",
    "270492004": "I-AVB",
    "164909002": "LBBB",
    "59118001": "RBBB",
    "284470004": "PAC",
    "164884008": "PVC",
    "429622005": "STD",
    "164931005": "STE",
}


def _matches(folder: Path) -> bool:
    """Recognise the database by its record names, and the diagnoses in the headers."""
    first = next(find_headers(folder), None)
    if first is None or not _RECORD.fullmatch(first.stem) or not challenge.CARD.matches(folder):
        return False
    return all(_RECORD.fullmatch(header.stem) for header in find_headers(folder))


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield every record below the folder, with the nine classes beside the diagnoses of the Challenge."""
    known = challenge.abbreviations(challenge.diagnosis_tables(folder))
    for header in find_headers(folder):
        name = record_name(header, folder)
        yield Entry(name, partial(_read, header, name, known))


def _read(header: Path, name: str, known: Mapping[str, str]) -> list[Recording]:
    """Read one record, add the nine classes, and correct the age."""
    record = read_voltages(header)
    recording = challenge.recording(record, name, known)
    metadata = recording.metadata
    dx = comment_value(record.comments, "Dx") or ""
    found = tuple(sorted(set(challenge.diagnoses(dx, CLASSES)) & set(CLASSES.values())))
    age = _ABOVE_89 if metadata.age == _OLDEST else metadata.age
    labels = {**metadata.labels, "cpsc2018": found} if dx else metadata.labels
    return [replace(recording, metadata=replace(metadata, age=age, labels=labels))]


CARD = DatabaseCard(
    name="cpsc2018",
    title="China Physiological Signal Challenge 2018, in the form of the PhysioNet/CinC Challenges",
    sampling_rate=(500.0,),
    leads=STANDARD_LEADS,
    tasks=("cpsc2018", "diagnosis"),
    licence="CC BY 4.0",
    citation="Liu F, et al. An Open Access Database for Evaluating the Algorithms of Electrocardiogram Rhythm and "
    "Morphology Abnormality Detection. Journal of Medical Imaging and Health Informatics 8(7):1368-1373, 2018. "
    "doi:10.1166/jmihi.2018.2442",
    defects=(
        "Ages above 89 are written as 92; they become 90, and -1 is unknown.",
        "The codes of PVC, STD and STE are not among those that the Challenge scores; the task cpsc2018 has all nine "
        "classes.",
        "Which of several labels came first in the original is lost: the codes are sorted.",
        "Recordings last 6 to 144 s.",
        "Patients are not identified: every record counts as a patient of its own unless its signal is a duplicate.",
    ),
    recognised_by="records `A0001` with `Dx` in the headers",
    download=physionet("challenge-2021/1.0.3/training/cpsc_2018"),
    matches=_matches,
    entries=_entries,
    extra_files=challenge.CARD.extra_files,
    overlaps=("challenge",),
    notes=(
        "The task cpsc2018 has the nine classes of the original: Normal, AF, I-AVB, LBBB, RBBB, PAC, PVC, STD, STE. "
        "diagnosis is as in the Challenge.",
        "In a folder with other parts of the Challenge, the card of the Challenge reads it.",
    ),
)
