"""Files of MATLAB as recordings: version 5 (and 4) through scipy, version 7.3 as HDF5."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgloss._extras import require
from ecgloss.data.cards.base import Entry
from ecgloss.data.damage import read_errors
from ecgloss.data.files.description import UNDERSTOOD, describe
from ecgloss.data.files.hdf5_files import hdf5_entries
from ecgloss.data.files.in_memory import array_entries
from ecgloss.data.files.options import SignalOptions
from ecgloss.data.hdf5 import FEW_BYTES, MOST_TIMES
from ecgloss.data.wfdb.headers import InvalidRecordError, check_link

MATLAB_SUFFIXES = (".mat",)
_BYTES = {"double": 8, "single": 4, **{f"{sign}int{n}": n // 8 for sign in ("", "u") for n in (8, 16, 32, 64)}}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MOST_WORDS = 10_000_000  # cells or characters of a description


def matlab_entries(
    path: Path, prefix: str, options: SignalOptions, fallback: Sequence[str] | None, *, alone: bool
) -> list[Entry]:
    """The recordings of a file of MATLAB; one of version 5 is loaded, the variables that are needed alone.

    Args:
        path: The file.
        prefix: Its name without extension, in its source.
        options: What the user says about it.
        fallback: Leads that are wanted; they name the rows where nothing else does.
        alone: Whether it is the whole source.

    Raises:
        ValueError: If it is damaged, its signals are no plain array of numbers, or something is not said.
        MissingExtraError: If h5py is needed and not installed.
    """
    check_link(path)
    if is_hdf5(path):
        return hdf5_entries(path, prefix, options, fallback, alone=alone, matlab=True)
    io = require("scipy.io", "data")
    with read_errors(path):
        listed = io.whosmat(path, appendmat=False)
    shapes = {name: tuple(shape) for name, shape, kind in listed if kind in _BYTES}
    _refuse_other_kinds(path, options.dataset_name, listed)
    small = {name for name, shape, _ in listed if name.lower() in UNDERSTOOD and math.prod(shape) <= _MOST_WORDS}
    with read_errors(path):
        loaded = io.loadmat(path, variable_names=sorted(small), appendmat=False) if small else {}

    def value(array: str, names: Sequence[str]) -> Any:
        return next((_plain(loaded[name]) for name in small if name.lower() in names and name != array), None)

    found = describe(path.name, shapes, value, options, fallback)
    kinds = {name: kind for name, _, kind in listed}
    return array_entries(_variable(path, found.array, shapes, kinds), found, prefix, alone=alone)


def _variable(path: Path, name: str, shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, str]) -> Any:
    """The array of signals, after a check that the file justifies its size."""
    size = math.prod(shapes[name]) * _BYTES[kinds[name]]
    if size > MOST_TIMES * path.stat().st_size + FEW_BYTES:
        raise InvalidRecordError(
            f"the variable {name} of {path.name} should have {size} bytes, more than the file holds"
        )
    with read_errors(path):
        array = require("scipy.io", "data").loadmat(path, variable_names=[name], appendmat=False)[name]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.shape != shapes[name]:
        kind = getattr(array, "dtype", type(array).__name__)
        raise InvalidRecordError(f"the variable {name} of {path.name} must hold real numbers; got {kind}")
    return array


def _refuse_other_kinds(path: Path, said: str | None, listed: Sequence[tuple[str, Any, str]]) -> None:
    """Say what is wrong with a variable that is named and no array of numbers."""
    if not any(kind in _BYTES for *_, kind in listed):
        there = ", ".join(f"{name} ({kind})" for name, _, kind in listed)[:200] or "nothing"
        raise ValueError(f"{path.name} has no array of numbers; it has {there}")
    kind = {name: kind for name, _, kind in listed}.get(said or "", "double")
    if kind not in _BYTES:
        raise ValueError(
            f"{path.name}: the variable {said} is of class {kind}; save its signals as an array of numbers of their own"
        )


def _plain(value: Any) -> Any:
    """A text, a list of texts or numbers of a variable: MATLAB wraps every text in an array."""
    if value.dtype.kind == "O":
        return ["".join(map(str, np.ravel(cell))) for cell in value.ravel()]
    if value.dtype.kind in "US":
        words = [str(word).strip() for word in value.ravel()]
        return words[0] if len(words) == 1 else words
    return value


def is_hdf5(path: Path) -> bool:
    """Whether a file is of version 7.3, which begins with 512 bytes of text; the signature of HDF5 follows.

    Example:
        >>> is_hdf5(Path(__file__))
        False
    """
    with path.open("rb") as file:
        head = file.read(2048 + len(_HDF5))
    return any(head[at : at + len(_HDF5)] == _HDF5 for at in (0, 512, 1024, 2048))
