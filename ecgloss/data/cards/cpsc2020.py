"""China Physiological Signal Challenge 2020: ten recordings of 24 hours with premature beats, cut into windows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecgloss._extras import require
from ecgloss.data.beat_record import BeatEntry, BeatRecord
from ecgloss.data.cards.base import DatabaseCard, Entry
from ecgloss.data.cards.windows import windows
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.headers import InvalidRecordError, check_link
from ecgloss.data.wfdb.records import WfdbRecord

_RATE = 400.0
_KINDS = {"S": "S_ref", "V": "V_ref"}


def _root(folder: Path) -> Path | None:
    """Where data and ref are: the folder, or its part TrainingSet."""
    places = [folder, folder / "TrainingSet"]
    return next((place for place in places if not place.is_symlink() and _records(place)), None)


def _records(folder: Path) -> list[Path]:
    """The recordings below a folder."""
    if not (folder / "ref").is_dir():
        return []
    return sorted(path for path in (folder / "data").glob("A[0-9][0-9].mat") if path.is_file())


def _matches(folder: Path) -> bool:
    """Recognise the database by its folders and the names of its files."""
    return _root(folder) is not None


def _entries(folder: Path, sampling_rate: float) -> Iterator[Entry]:
    """Yield the records; each becomes as many recordings as it has whole windows."""
    root = _root(folder)
    for path in _records(root) if root is not None else ():
        yield Entry(path.stem, partial(_read, path))


def _read(path: Path) -> list[Recording]:
    """Read one record and cut it."""
    signal, beats = _signal(path), _beats_of(path)

    def labels(start: int, stop: int) -> dict[str, tuple[str, ...]]:
        if beats is None:
            return {}
        found = (kind for kind, at in beats.items() if np.searchsorted(at, start) < np.searchsorted(at, stop))
        return {"premature_beats": tuple(found)}

    return windows(WfdbRecord(signal, ("ECG",), _RATE, None), path.stem, path.stem, Metadata(), labels)


def _beat_records(folder: Path) -> Iterator[BeatEntry]:
    """Yield the records whole."""
    root = _root(folder)
    for path in _records(root) if root is not None else ():
        yield BeatEntry(path.stem, partial(_read_whole, path))


def _read_whole(path: Path) -> BeatRecord:
    """Read one record with its premature beats, each once."""
    beats = _beats_of(path)
    if beats is None:
        raise InvalidRecordError(f"ref/R{path.stem[1:]}.mat with its premature beats is missing")
    marks = {kind: np.unique(at) for kind, at in beats.items()}
    return BeatRecord(path.stem, path.stem, _signal(path), ("ECG",), _RATE, marks)


def _signal(path: Path) -> np.ndarray:
    """The only lead, (1, samples) in mV."""
    return np.asarray(_variable(path, "ecg"), np.float32).reshape(1, -1)


def _beats_of(path: Path) -> dict[str, np.ndarray] | None:
    """Premature beats of a record; None where the file with them is missing."""
    reference = path.parent.parent / "ref" / f"R{path.stem[1:]}.mat"
    return _premature(reference) if reference.is_file() else None


def _premature(path: Path) -> dict[str, np.ndarray]:
    """Samples of the premature beats by kind, counted from 0."""
    reference = _variable(path, "ref")
    absent = [field for field in _KINDS.values() if field not in (reference.dtype.names or ())]
    if absent:
        raise InvalidRecordError(f"ref of {path.name} has no field {absent[0]}")
    first = reference.reshape(-1)[0]
    return {kind: np.sort(np.asarray(first[field], np.float64).ravel()) - 1 for kind, field in _KINDS.items()}


def _variable(path: Path, name: str) -> Any:
    """A variable of a file of MATLAB."""
    check_link(path)
    try:
        found = require("scipy.io", "data").loadmat(path, variable_names=[name])
    except NotImplementedError:
        raise InvalidRecordError(f"{path.name} is in the format of MATLAB 7.3; save it with -v7") from None
    except Exception as error:  # scipy raises whatever numpy and zlib raise on damaged files
        raise InvalidRecordError(f"{path.name} cannot be read: {' '.join(str(error).split())}") from error
    if name not in found:
        raise InvalidRecordError(f"{path.name} has no variable {name}")
    return found[name]


CARD = DatabaseCard(
    name="cpsc2020",
    title="China Physiological Signal Challenge 2020",
    sampling_rate=(_RATE,),
    leads=("ECG",),
    tasks=("premature_beats",),
    licence="for research; see its page",
    citation="Cai Z, et al. An Open-Access Long-Term Wearable ECG Database for Premature Ventricular Contractions and "
    "Supraventricular Premature Beat Detection. Journal of Medical Imaging and Health Informatics 10, 2020. "
    "doi:10.1166/jmihi.2020.3289",
    defects=(
        "A04 has three of its beats twice (13534856, 27147621, 35141190), of which one counts, and a doubtful one "
        "(13882273).",
        "Positions of beats count from 1, as MATLAB does; here from 0.",
        "The lead is not named; it is called ECG.",
        "Beats other than premature ones are not annotated; A02, A03 and A08 are in atrial fibrillation.",
        "Amplitudes drift.",
        "The test recordings were never published.",
    ),
    recognised_by="`data/A01.mat` beside `ref`",
    download="https://opensz.oss-cn-beijing.aliyuncs.com/ICBEB2020/file/TrainingSet.zip",
    matches=_matches,
    entries=_entries,
    beat_records=_beat_records,
    notes=(
        "The records are cut into windows of 10 s, named A01/0000, A01/0001 and so on; premature_beats is S "
        "(supraventricular) and V (ventricular) where they occur in the window.",
        "Every record is of another patient.",
        "The task single_beats of ecgloss evaluate reads the records whole, and tells every beat: S, V or other.",
    ),
)
