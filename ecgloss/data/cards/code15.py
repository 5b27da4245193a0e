"""CODE-15 %: 345,779 recordings of 233,770 patients with six abnormalities, in files of HDF5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss.data.cards.base import DatabaseCard, Entry
from ecgloss.data.hdf5 import dataset
from ecgloss.data.recording import STANDARD_LEADS, Metadata, Recording
from ecgloss.data.wfdb.fields import parse_age, table_rows
from ecgloss.data.wfdb.headers import InvalidRecordError

_TABLE, _PARTS = "exams.csv", "exams_part*.hdf5"
_RATE = 400.0
CLASSES = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
_COLUMNS = ("exam_id", "age", "is_male", *CLASSES, "patient_id")
_KEPT = (*_COLUMNS, "normal_ecg")
_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def metadata_of(row: Mapping[str, str]) -> Metadata:
    """Translate one row of ``exams.csv``.

    Example:
        >>> row = {"age": "61", "is_male": "False", **dict.fromkeys(CLASSES, "False"), "AF": "True"}
        >>> metadata_of({**row, "normal_ecg": "False"}).labels
        {'abnormality': ('AF',), 'normal': ('no',)}
    """
    flags = {name: _FLAGS.get(row.get(name, "").lower()) for name in (*CLASSES, "is_male", "normal_ecg")}
    labels: dict[str, tuple[str, ...]] = {}
    if all(flags[name] is not None for name in CLASSES):
        labels["abnormality"] = tuple(sorted(name for name in CLASSES if flags[name]))
    if flags["normal_ecg"] is not None:
        labels["normal"] = ("yes" if flags["normal_ecg"] else "no",)
    sex = None if flags["is_male"] is None else "male" if flags["is_male"] else "female"
    return Metadata(age=parse_age(row.get("age", "")), sex=sex, labels=labels)


def _matches(folder: Path) -> bool:
    """Recognise the database by its table of exams."""
    table = folder / _TABLE
    if not table.is_file():
        return False
    try:
        return set(_COLUMNS) <= set(next(table_rows(table), {}))
    except ValueError:
        return False


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield the exams of every file that is there, found by the numbers in the file."""
    parts = sorted(folder.glob(_PARTS))
    if not parts:
        raise ValueError(f"{folder} has no file {_PARTS}; unpack the archives exams_part0.zip and so on")
    exams = {row["exam_id"]: {name: row.get(name, "") for name in _KEPT} for row in table_rows(folder / _TABLE)}
    for part in parts:
        with dataset(part, "exam_id") as numbers:
            found = [int(number) for number in numbers[:]]
        for k, number in enumerate(found):
            if number:  # the last row of every file is empty, with number 0
                name = f"{part.stem}/{number}"
                yield Entry(name, partial(_read, part, k, name, exams.get(str(number))))


def _read(part: Path, k: int, name: str, row: Mapping[str, str] | None) -> list[Recording]:
    """Read one exam, without the zeros around it."""
    if row is None:
        raise InvalidRecordError(f"the exam is not in {_TABLE}")
    with dataset(part, "tracings") as tracings:
        if tracings.ndim != 3 or tracings.shape[2] != len(STANDARD_LEADS) or k >= len(tracings):
            raise InvalidRecordError(
                f"tracings of {part.name} has the shape {tracings.shape}, not (exams, samples, 12)"
            )
        samples = np.asarray(tracings[k], np.float32)
    signal = without_padding(samples.T)
    return [Recording(name, row["patient_id"], signal, STANDARD_LEADS, _RATE, metadata_of(row))]


def without_padding(signal: NDArray[Any]) -> NDArray[Any]:
    """A recording (leads, samples) without the zeros before and after it.

    Raises:
        InvalidRecordError: If every sample is zero.

    Example:
        >>> without_padding(np.array([[0, 0, 1, 0, 2, 0]]))
        array([[1, 0, 2]])
    """
    recorded = np.flatnonzero(signal.any(0))
    if not len(recorded):
        raise InvalidRecordError("every sample is zero")
    return np.ascontiguousarray(signal[:, recorded[0] : recorded[-1] + 1])


CARD = DatabaseCard(
    name="code15",
    title="CODE-15 %: a large scale annotated dataset of 12-lead ECGs",
    sampling_rate=(_RATE,),
    leads=STANDARD_LEADS,
    tasks=("abnormality", "normal"),
    licence="CC BY 4.0",
    citation="Ribeiro AH, et al. Automatic diagnosis of the 12-lead ECG using a deep neural network. Nature "
    "Communications 11:1760, 2020. doi:10.1038/s41467-020-15432-4; doi:10.5281/zenodo.4916206",
    defects=(
        "Rows of the table and of the files are in different orders; exams are found by the numbers in the files.",
        "Every file has one empty row more than exams, with number 0; it is left out.",
        "Amplitudes are mV, although the description also says 1e-4 V.",
        "Recordings of 7 or 10 s have zeros before and after; these are cut off.",
        "A recording with none of the six abnormalities is not normal: half of all have findings without a name. The "
        "task normal says which are normal.",
        "Some leads are at the end of the converter's range (281 mV) or zero, and one recording in nine exceeds 10 mV.",
        "A few recordings are byte for byte the same under different patients; they share a group.",
        "Age as a network estimates it (nn_predicted_age) is no age and is not read.",
    ),
    recognised_by="`exams.csv` with `exam_id`, `1dAVb`, ...",
    download="https://zenodo.org/records/4916206 (exams.csv, and exams_part0.zip to exams_part17.zip to unpack)",
    matches=_matches,
    entries=_entries,
    notes=(
        "It needs the extra hdf5.",
        "abnormality is those of 1dAVb, RBBB, LBBB, SB, AF and ST (sinus tachycardia) that are present; normal is yes "
        "or no.",
        "Exams of files that were not downloaded are left out.",
        "Death and follow-up are not read; join exams.csv as a table for them.",
    ),
)
