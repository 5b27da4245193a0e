"""The formats of own files, one file alone, and folders of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ecgloss._extras import require
from ecgloss.data.cards.base import Entry
from ecgloss.data.files.delimited import DELIMITED_SUFFIXES, delimited_entries
from ecgloss.data.files.edf import EDF_SUFFIXES, edf_entries
from ecgloss.data.files.hdf5_files import HDF5_SUFFIXES, hdf5_entries
from ecgloss.data.files.in_memory import NUMPY_SUFFIXES, numpy_entries
from ecgloss.data.files.matlab import MATLAB_SUFFIXES, is_hdf5, matlab_entries
from ecgloss.data.files.options import SignalOptions
from ecgloss.data.recording import Recording

#: How the recordings of a file are found, by its extension in small letters.
FORMATS: dict[str, Callable[..., list[Entry]]] = {
    **dict.fromkeys(NUMPY_SUFFIXES, numpy_entries),
    **dict.fromkeys(HDF5_SUFFIXES, hdf5_entries),
    **dict.fromkeys(MATLAB_SUFFIXES, matlab_entries),
    **dict.fromkeys(EDF_SUFFIXES, edf_entries),
    **dict.fromkeys(DELIMITED_SUFFIXES, delimited_entries),
}
#: All extensions, for messages.
SUFFIXES = ", ".join(FORMATS)
_ROW_BY_ROW = {**dict.fromkeys((*HDF5_SUFFIXES, *MATLAB_SUFFIXES), 2**21), ".npy": 2**26}  # bytes of a larger file


def is_own_file(path: Path) -> bool:
    """Tell whether a path is a file of a known format.

    Example:
        >>> is_own_file(Path("no such file.edf"))
        False
    """
    return path.suffix.lower() in FORMATS and path.is_file()


def file_entries(path: Path, options: SignalOptions, fallback: Sequence[str] | None) -> list[Entry]:
    """The recordings of one file.

    Args:
        path: A file with an extension in :data:`FORMATS`.
        options: What the user says about it.
        fallback: Leads that are wanted; they name rows and columns where nothing else does.

    Raises:
        ValueError: If the file cannot be read, or something is not said or contradicts itself.
        MissingExtraError: If a package is not installed that its format needs.
    """
    return FORMATS[path.suffix.lower()](path, path.stem, options, fallback, alone=True)


def folder_entries(
    folder: Path, files: Iterable[Path], options: SignalOptions, fallback: Sequence[str] | None
) -> list[Entry]:
    """The recordings of all files of a known format in a folder; CSV and TSV count where there are no others.

    Args:
        folder: The folder, which the names of the recordings begin in.
        files: All its files, and those in its sub-folders.
        options: What the user says about them.
        fallback: Leads that are wanted.

    Raises:
        MissingExtraError: If a package is not installed that their formats need.

    Example:
        >>> folder_entries(Path("a"), [Path("a/readme.txt")], SignalOptions(), None)
        []
    """
    found = [path for path in files if is_own_file(path) and not path.name.startswith(".")]
    arrays = [path for path in found if path.suffix.lower() not in DELIMITED_SUFFIXES]
    return [entry for path in arrays or found for entry in _entries(folder, path, options, fallback)]


def _entries(folder: Path, path: Path, options: SignalOptions, fallback: Sequence[str] | None) -> Iterator[Entry]:
    """The entries of a file in a folder; what is wrong with it is said when it is read, so that others are not lost."""
    suffix = path.suffix.lower()
    if suffix in EDF_SUFFIXES:
        require("edfio", "edf")
    if suffix in HDF5_SUFFIXES:
        require("h5py", "hdf5")
    prefix = path.relative_to(folder).with_suffix("").as_posix()
    whole = Entry(prefix, partial(_read_whole, path, prefix, options, fallback))
    by_row = path.stat().st_size > _ROW_BY_ROW.get(suffix, math.inf)
    if not by_row or (suffix in MATLAB_SUFFIXES and not is_hdf5(path)):
        yield whole
        return
    try:
        yield from FORMATS[suffix](path, prefix, options, fallback, alone=False)
    except ValueError:  # reading it says so
        yield whole


def _read_whole(path: Path, prefix: str, options: SignalOptions, fallback: Sequence[str] | None) -> Sequence[Recording]:
    """All recordings of a file."""
    found = FORMATS[path.suffix.lower()](path, prefix, options, fallback, alone=False)
    return [recording for entry in found for recording in entry.read()]
