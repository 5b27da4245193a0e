"""Sources of recordings: a folder of WFDB records, a file of arrays, or the simulated cohort."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from ecgloss.data.arrays import ARRAY_FILES, Arrays, content_key, load_arrays
from ecgloss.data.cache.format import CONTENTS, FORMAT
from ecgloss.data.cache.source_files import FileState, digest, walk
from ecgloss.data.cards import choose
from ecgloss.data.cards.base import Entry
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import Recording
from ecgloss.data.synthetic.cohort import name_of, simulate, visits

_SYNTHETIC = re.compile(r"synthetic(?::(\d+))?(?::(\d+))?")
_COHORT_SIZE = 2000


@dataclass(frozen=True)
class Listing:
    """The records of a source.

    Attributes:
        card: Name of the database card that reads them (``"synthetic"`` for the simulated cohort).
        entries: The records.
        files: All files and folders they are read from.
        leads_said: Whether the user has named the channels, so that none is left out by its name.
    """

    card: str
    entries: Sequence[Entry]
    files: Sequence[FileState] = ()
    leads_said: bool = False

    @property
    def key(self) -> str:
        """Hash of the state of the files."""
        return digest(self.files)


@dataclass(frozen=True)
class Source:
    """Records that can be converted into a cache.

    Attributes:
        label: What the user gave; a folder as an absolute path.
        key: Hash of all that the converted cache depends on besides the state of the files; part of its folder's name.
        find: Finds the records.
    """

    label: str
    key: str
    find: Callable[[], Listing]

    @cached_property
    def listing(self) -> Listing:
        """The records, found when they are first needed: a folder of a million files takes minutes."""
        return self.find()


@dataclass(frozen=True)
class ArrayOptions:
    """What must be said about an array that does not say it itself.

    Attributes:
        units: mV, uV or V.
        source_rate: Sampling rate of the array in Hz.
        leads: Names of its rows.
    """

    units: str | None = None
    source_rate: float | None = None
    leads: tuple[str, ...] | None = None


def resolve(
    source: str | Path,
    preprocessing: Preprocessing,
    arrays: ArrayOptions | None = None,
    *,
    skip: Path | None = None,
) -> Source:
    """Say what a source is, without looking for its records.

    Args:
        source: A folder, a .npy or .npz file, or ``"synthetic"``, ``"synthetic:N"``, ``"synthetic:N:SEED"``.
        preprocessing: What will be done to its signals.
        arrays: Units, rate and leads of an array; leads default to those of the preprocessing.
        skip: A folder that holds no records, although it may lie in the source: that of the caches.

    Raises:
        ValueError: If the folder does not exist, if an array is not described, or if the cohort's size or seed is
            invalid. Looking for the records raises one if there is none.

    Example:
        >>> len(resolve("synthetic:50", Preprocessing()).listing.entries)
        50
    """
    arrays = arrays or ArrayOptions()
    folder = Path(source).expanduser()
    if folder.suffix.lower() in ARRAY_FILES and folder.is_file():
        return _array_file(folder.resolve(), preprocessing, arrays)
    if arrays.units is not None or arrays.source_rate is not None:
        raise ValueError(f"units and source_rate describe arrays (.npy, .npz); {source} says them itself")
    if isinstance(source, str) and source.partition(":")[0] == "synthetic":
        return _synthetic(source, preprocessing)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ValueError(f'data source {folder} {what}; give a folder of WFDB records, or "synthetic"')
    folder = folder.resolve()
    return Source(str(folder), _key(str(folder), preprocessing), partial(_list_folder, folder, preprocessing, skip))


def _list_folder(folder: Path, preprocessing: Preprocessing, skip: Path | None) -> Listing:
    """The records of a folder, read by the card that knows it."""
    card = choose(folder)
    entries = list(card.entries(folder, preprocessing.sampling_rate))
    if not entries:
        raise ValueError(f"no WFDB record (.hea) in {folder} or below")
    above = (folder.parent, folder.parent.parent)  # where a table that belongs to the records may appear
    elsewhere = (FileState.of(path) for path in (*above, *card.extra_files(folder)))
    return Listing(card.name, entries, [*walk(folder, skip), *(state for state in elsewhere if state is not None)])


def _array_file(path: Path, preprocessing: Preprocessing, options: ArrayOptions) -> Source:
    """Return the source of a file of arrays."""
    leads = options.leads or preprocessing.leads
    found = load_arrays(path, sampling_rate=options.source_rate, leads=leads, units=options.units)
    label = json.dumps([str(path), found.units, found.sampling_rate, found.leads])
    state = FileState.of(path)
    assert state is not None
    listing = Listing("arrays", list(found.entries()), [state], leads_said=True)
    return Source(str(path), _key(label, preprocessing), lambda: listing)


def array_source(arrays: Arrays, preprocessing: Preprocessing) -> Source:
    """Return the source of arrays in memory."""
    listing = Listing("arrays", list(arrays.entries()), leads_said=True)
    return Source("arrays in memory", _key(content_key(arrays), preprocessing), lambda: listing)


def _synthetic(source: str, preprocessing: Preprocessing) -> Source:
    """Return the source of a simulated cohort."""
    match = _SYNTHETIC.fullmatch(source)
    n = int(match.group(1) or _COHORT_SIZE) if match else 0
    if match is None or n < 1:
        raise ValueError(f'data source {source!r} is not "synthetic", "synthetic:N" or "synthetic:N:SEED"')
    seed = int(match.group(2) or 0)
    label = f"synthetic:{n}:{seed}"
    return Source(label, _key(label, preprocessing), partial(_list_cohort, n, seed, preprocessing.sampling_rate))


def _list_cohort(n: int, seed: int, sampling_rate: float) -> Listing:
    """The recordings of a simulated cohort."""
    return Listing(
        "synthetic",
        [
            Entry(name_of(patient, visit, seed), partial(_simulated, patient, visit, seed, sampling_rate))
            for patient, visit in visits(n, seed)
        ],
    )


def _simulated(patient: int, visit: int, seed: int, sampling_rate: float) -> list[Recording]:
    """Simulate one recording."""
    return [simulate(patient, visit, seed=seed, sampling_rate=sampling_rate)]


def _key(label: str, preprocessing: Preprocessing) -> str:
    """Hash source and preprocessing, and the version of what a cache holds."""
    return hashlib.sha256(json.dumps([FORMAT, CONTENTS, label, preprocessing.stored().to_json()]).encode()).hexdigest()
