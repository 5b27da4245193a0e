"""Sources of recordings: a folder of WFDB records, own files, or the simulated cohort."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from ecgloss.data.arrays import Arrays, content_key
from ecgloss.data.cache.format import CONTENTS, FORMAT
from ecgloss.data.cache.source_files import FileState, digest, walk
from ecgloss.data.cards import choose
from ecgloss.data.cards.base import Entry
from ecgloss.data.files import SUFFIXES, SignalOptions, check_options, file_entries, folder_entries, is_own_file
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import Recording
from ecgloss.data.synthetic.cohort import name_of, simulate, visits

_SYNTHETIC = re.compile(r"synthetic(?::(\d+))?(?::(\d+))?")
_COHORT_SIZE = 2000
_NO_SIGNAL_FILES = (".edf", ".bdf", ".h5", ".hdf5")  # which no WFDB record refers to


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


def resolve(
    source: str | Path,
    preprocessing: Preprocessing,
    signals: SignalOptions | None = None,
    *,
    skip: Path | None = None,
    table: Path | None = None,
) -> Source:
    """Say what a source is, without looking for its records.

    Args:
        source: A folder, a file of own recordings, or ``"synthetic"``, ``"synthetic:N"``, ``"synthetic:N:SEED"``.
        preprocessing: What will be done to its signals.
        signals: What is said about own files; leads default to those of the preprocessing.
        skip: A folder that holds no records, although it may lie in the source: that of the caches.
        table: A table that is no recording, although it may lie in the source.

    Raises:
        ValueError: If the source does not exist, or what is said about it makes no sense, or if the cohort's size or
            seed is invalid. Looking for the records raises one if there is none, or if a file cannot be read.

    Example:
        >>> len(resolve("synthetic:50", Preprocessing()).listing.entries)
        50
    """
    signals = signals or SignalOptions()
    check_options(signals)
    place = Path(source).expanduser()
    if is_own_file(place):
        place = place.resolve()
        find = partial(_list_file, place, preprocessing, signals)
        return Source(str(place), _key(_label(place, signals), preprocessing), find)
    if isinstance(source, str) and source.partition(":")[0] == "synthetic":
        _refuse_options(signals, source)
        return _synthetic(source, preprocessing)
    if not place.is_dir():
        what = "is not a folder, and no file of a known kind" if place.exists() else "does not exist"
        raise ValueError(
            f"data source {place} {what}; give a folder of WFDB records, a file ({SUFFIXES}) or a folder of such, or "
            '"synthetic"'
        )
    place = place.resolve()
    find = partial(_list_folder, place, preprocessing, signals, skip, table)
    return Source(str(place), _key(_label(place, signals), preprocessing), find)


def _label(place: Path, signals: SignalOptions) -> str:
    """What a source is called in the key of its cache: with all that is said about its signals."""
    said = {name: getattr(signals, name) for name in signals.given()}
    return json.dumps([str(place), said]) if said else str(place)


def _refuse_options(signals: SignalOptions, source: str | Path) -> None:
    """Refuse what describes own files, for a source that says it itself."""
    given = [name for name in signals.given() if name != "leads"]
    if given:
        raise ValueError(f"{' and '.join(given)} describe own files ({SUFFIXES}); {source} says them itself")


def _list_folder(
    folder: Path, preprocessing: Preprocessing, signals: SignalOptions, skip: Path | None, table: Path | None
) -> Listing:
    """The records of a folder, read by the card that knows it; without any WFDB record, those of its own files."""
    card = choose(folder)
    entries = list(card.entries(folder, preprocessing.sampling_rate))
    if not entries:
        return _list_own_files(folder, preprocessing, signals, skip, table)
    _refuse_options(signals, folder)
    above = (folder.parent, folder.parent.parent)  # where a table that belongs to the records may appear
    elsewhere = (FileState.of(path) for path in (*above, *card.extra_files(folder)))
    states = [*walk(folder, skip)]
    entries += _not_read(folder, states) if card.name == "wfdb" else []
    return Listing(card.name, entries, [*states, *(state for state in elsewhere if state is not None)])


def _list_own_files(
    folder: Path, preprocessing: Preprocessing, signals: SignalOptions, skip: Path | None, table: Path | None
) -> Listing:
    """The recordings of a folder of own files."""
    other = None if table is None else str(table.expanduser().resolve())
    states = [state for state in walk(folder, skip) if state.path != other]
    files = (Path(state.path) for state in states if state.size >= 0)
    entries = folder_entries(folder, files, signals, preprocessing.leads)
    if not entries:
        raise ValueError(f"no WFDB record (.hea), and no file of a known kind ({SUFFIXES}), in {folder} or below")
    return Listing("files", entries, states, leads_said=_leads_said(preprocessing, signals))


def _list_file(path: Path, preprocessing: Preprocessing, signals: SignalOptions) -> Listing:
    """The recordings of one file."""
    entries = file_entries(path, signals, preprocessing.leads)
    state = FileState.of(path)
    assert state is not None
    return Listing("files", entries, [state], leads_said=_leads_said(preprocessing, signals))


def _leads_said(preprocessing: Preprocessing, signals: SignalOptions) -> bool:
    """Whether the user has named the channels."""
    return signals.leads is not None or preprocessing.leads is not None


def _not_read(folder: Path, states: Sequence[FileState]) -> list[Entry]:
    """Files of recordings among WFDB records, which are said to be skipped."""
    found = [Path(state.path) for state in states if state.size >= 0 and state.path.lower().endswith(_NO_SIGNAL_FILES)]
    alone = [path for path in found if not path.with_suffix(".hea").exists()]
    return [Entry(path.relative_to(folder).as_posix(), _refuse_file) for path in alone]


def _refuse_file() -> list[Recording]:
    raise ValueError("is no WFDB record, as others in the folder are; open a folder of such files by itself")


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
