"""Icentia11k: days of one lead of 11,000 patients, with kinds of beat and rhythms, of which windows are taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ecgloss.data.cards.base import DatabaseCard, Entry, sub_folders
from ecgloss.data.cards.windows import windows
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.annotations import read_annotations
from ecgloss.data.wfdb.headers import find_headers, record_name
from ecgloss.data.wfdb.records import read_voltages

_SEGMENT = re.compile(r"(p\d{5})_s\d{2}")
_FOLDER = re.compile(r"p\d{2}|p\d{5}")
EVERY_S = 600.0


def _matches(folder: Path) -> bool:
    """Recognise the database, one of its groups, or one of its patients by the names of folders and records."""
    if not all(_FOLDER.fullmatch(child.name) for child in sub_folders(folder)):
        return False
    first = next(find_headers(folder), None)
    return first is not None and _SEGMENT.fullmatch(first.stem) is not None


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield the segments; each becomes seven recordings."""
    for header in find_headers(folder):
        name = record_name(header, folder)
        yield Entry(name, partial(_read, header, name))


def _read(header: Path, name: str) -> list[Recording]:
    """Read one segment and take its windows; the patient is in its name."""
    segment = _SEGMENT.fullmatch(header.stem)
    annotations = read_annotations(header)

    def labels(start: int, stop: int) -> dict[str, tuple[str, ...]]:
        if annotations is None:
            return {}
        rhythms = annotations.rhythms(start, stop)
        beats = {"beats": annotations.beats(start, stop)}
        return {**beats, "rhythm": rhythms} if rhythms else beats

    patient = name if segment is None else segment[1]
    return windows(read_voltages(header), name, patient, Metadata(), labels, every_s=EVERY_S)


CARD = DatabaseCard(
    name="icentia11k",
    title="Icentia11k Single Lead Continuous Raw Electrocardiogram Dataset",
    sampling_rate=(250.0,),
    leads=("ECG",),
    tasks=("beats", "rhythm"),
    licence="CC BY-NC-SA 4.0",
    citation="Tan S, et al. Icentia11k Single Lead Continuous Raw Electrocardiogram Dataset (version 1.0). PhysioNet, "
    "2022. doi:10.13026/kk0v-r952",
    defects=(
        "The lead is a modified lead I of a patch on the chest, and has the name that its header gives.",
        "Notes on rhythms are sometimes the word None or closed at once, as in (N); the first is no note, the second a "
        "rhythm.",
        "Between two annotated rhythms none may be known; a window without any is not labelled for rhythm.",
        "Beats that could not be classified are the kind Q.",
        "Segments were drawn at random from up to two weeks; one does not follow the other.",
        "Age and sex are not given.",
    ),
    recognised_by="folders `p00` and records `p00000_s00`",
    download="aws s3 sync --no-sign-request s3://physionet-open/icentia11k-continuous-ecg/1.0/ FOLDER",
    matches=_matches,
    entries=_entries,
    notes=(
        "Of every segment of some 70 minutes a window of 10 s every 10 minutes is read, seven in all: the whole would "
        "be more than 200 million windows.",
        "The tasks are the kinds of beat (N, S, V, Q) annotated in the window, and the rhythms present in it (N, AFIB, "
        "AFL).",
        "Patients are those in the names of the records (p00000).",
    ),
)
