"""Sources of recordings: a folder of WFDB records, a file of arrays, or the simulated cohort."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ecgloss.data.arrays import ARRAY_FILES, Arrays, content_key, load_arrays
from ecgloss.data.cache.format import DESCRIPTION, FORMAT
from ecgloss.data.cards import choose
from ecgloss.data.cards.base import DatabaseCard, Entry
from ecgloss.data.preprocess import Preprocessing

_SYNTHETIC = re.compile(r"synthetic(?::(\d+))?(?::(\d+))?")
_COHORT_SIZE = 2000


@dataclass(frozen=True)
class Source:
    """Records that can be converted into a cache.

    Attributes:
        label: What the user gave; a folder as an absolute path.
        card: Name of the database card that reads it (``"synthetic"`` for the simulated cohort).
        entries: The records; they can be iterated over once.
        total: How many there are.
        key: Hash of everything that the converted cache depends on; part of the name of its folder.
    """

    label: str
    card: str
    entries: Iterable[Entry]
    total: int
    key: str


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


def resolve(source: str | Path, preprocessing: Preprocessing, arrays: ArrayOptions | None = None) -> Source:
    """Find the records of a source.

    Args:
        source: A folder, a .npy or .npz file, or ``"synthetic"``, ``"synthetic:N"``, ``"synthetic:N:SEED"``.
        preprocessing: What will be done to its signals.
        arrays: Units, rate and leads of an array; leads default to those of the preprocessing.

    Raises:
        ValueError: If the folder does not exist or holds no record, if an array is not described, or if the cohort's
            size or seed is invalid.

    Example:
        >>> resolve("synthetic:50", Preprocessing()).total
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
    card = choose(folder)
    entries = list(card.entries(folder, preprocessing.sampling_rate))
    if not entries:
        raise ValueError(f"no WFDB record (.hea) in {folder} or below")
    key = _key(str(folder), list(_files(folder, card)), preprocessing)
    return Source(str(folder), card.name, entries, len(entries), key)


def _array_file(path: Path, preprocessing: Preprocessing, options: ArrayOptions) -> Source:
    """Return the source of a file of arrays."""
    leads = options.leads or preprocessing.leads
    found = load_arrays(path, sampling_rate=options.source_rate, leads=leads, units=options.units)
    label = json.dumps([str(path), found.units, found.sampling_rate, found.leads])
    key = _key(label, list(_state(path, path.name)), preprocessing)
    return Source(str(path), "arrays", found.entries(), len(found.signals), key)


def array_source(arrays: Arrays, preprocessing: Preprocessing) -> Source:
    """Return the source of arrays in memory."""
    key = _key(content_key(arrays), [], preprocessing)
    return Source("arrays in memory", "arrays", arrays.entries(), len(arrays.signals), key)


def _synthetic(source: str, preprocessing: Preprocessing) -> Source:
    """Return the source of a simulated cohort."""
    match = _SYNTHETIC.fullmatch(source)
    n = int(match.group(1) or _COHORT_SIZE) if match else 0
    if match is None or n < 1:
        raise ValueError(f'data source {source!r} is not "synthetic", "synthetic:N" or "synthetic:N:SEED"')
    seed = int(match.group(2) or 0)

    def entries() -> Iterator[Entry]:
        from ecgloss.data.synthetic import cohort

        for recording in cohort(n, seed=seed, sampling_rate=preprocessing.sampling_rate):
            yield Entry(recording.name, lambda recording=recording: [recording])  # type: ignore[misc]

    label = f"synthetic:{n}:{seed}"
    return Source(label, "synthetic", entries(), n, _key(label, [], preprocessing))


def _files(folder: Path, card: DatabaseCard) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and modification time of every file that the conversion may read.

    These are the files in the folder, except those of converted caches, and the extra files of the database card.
    """
    for root, folders, files in os.walk(folder):
        if DESCRIPTION in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            yield from _state(Path(root, name), name=os.path.relpath(Path(root, name), folder))
    for path in card.extra_files(folder):
        yield from _state(path, name=str(path))


def _state(path: Path, name: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and modification time of a file; nothing where it does not exist or is a broken link."""
    try:
        state = path.stat()
    except OSError:
        return
    yield name, state.st_size, state.st_mtime_ns


def _key(label: str, files: list[tuple[str, int, int]], preprocessing: Preprocessing) -> str:
    """Hash source, preprocessing and the code of `ecgloss.data`: a corrected reader makes a new cache."""
    digest = hashlib.sha256(json.dumps([FORMAT, label, files, preprocessing.to_json()]).encode())
    for module in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()
