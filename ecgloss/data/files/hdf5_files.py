"""HDF5 files, those of MATLAB 7.3 among them, as recordings; signals are read row by row, never whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecgloss._extras import require
from ecgloss.data.arrays import as_recording
from ecgloss.data.cards.base import Entry
from ecgloss.data.cards.code15 import without_padding
from ecgloss.data.damage import read_errors
from ecgloss.data.files.description import Description, describe
from ecgloss.data.files.options import SignalOptions
from ecgloss.data.hdf5 import array_in, check_heaps, dataset, member, opened
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.headers import InvalidRecordError

HDF5_SUFFIXES = (".h5", ".hdf5")
_MATLAB_NUMBERS = {"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
_LARGEST_ATTRIBUTE = 2**20  # bytes
_LARGEST_DESCRIPTION = 2**27  # bytes of an array that is no signal: names of ten million recordings


def hdf5_entries(
    path: Path,
    prefix: str,
    options: SignalOptions,
    fallback: Sequence[str] | None,
    *,
    alone: bool,
    matlab: bool = False,
) -> list[Entry]:
    """The recordings of an HDF5 file, not read yet.

    Args:
        path: The file.
        prefix: Its name without extension, in its source.
        options: What the user says about it.
        fallback: Leads that are wanted; they name the rows where nothing else does.
        alone: Whether it is the whole source.
        matlab: Whether MATLAB wrote it, whose axes lie in the opposite order in HDF5.

    Raises:
        ValueError: If it is damaged, or something is not said or does not fit.
        MissingExtraError: If h5py is not installed.
    """
    with opened(path) as file:
        found = _described(file, path, options, fallback, matlab)
    read = partial(_read, path, replace(found, patients=None, names=None))  # entries travel to other processes
    return [Entry(name, partial(read, k, name, patient)) for k, name, patient in found.recordings(prefix, alone=alone)]


def _described(
    file: Any, path: Path, options: SignalOptions, fallback: Sequence[str] | None, matlab: bool
) -> Description:
    """What an open file says; the axes are those of the array in the file."""
    group, _, own = (options.dataset_name or "").strip("/").rpartition("/")
    place = file
    if own:
        array_in(file, f"{group}/{own}" if group else own, path)  # says what is wrong with a name that is given
        for part in group.split("/") if group else ():
            place = member(place, part)
    shapes = {}
    with read_errors(path):
        for name in place:
            shape = _shape(place, name, matlab)
            if shape is not None:
                shapes[name] = shape
    said = SignalOptions(options.units, options.source_rate, options.leads, own or None)
    found = describe(path.name, shapes, partial(_value, file, place, path, matlab), said, fallback)
    array = array_in(place, found.array, path)
    layout = found.layout.reversed(array.ndim) if matlab else found.layout
    name = f"{group}/{found.array}" if group else found.array
    return replace(found, array=name, layout=layout)


def _shape(group: Any, name: str, matlab: bool) -> tuple[int, ...] | None:
    """Shape of an array of real numbers; None for all else."""
    h5py = require("h5py", "hdf5")
    found = member(group, name)
    if not isinstance(found, h5py.Dataset) or found.shape is None or found.dtype.kind not in "fiu":
        return None
    if matlab:
        kind = found.attrs.get("MATLAB_class", b"double")
        kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
        if kind not in _MATLAB_NUMBERS or "MATLAB_empty" in found.attrs:
            return None
        return tuple(found.shape[::-1])
    return tuple(found.shape) if found.ndim else None


def _value(file: Any, group: Any, path: Path, matlab: bool, array: str, names: Sequence[str]) -> Any:
    """What is said about an array: by its attributes, by those of its group or file, or by an array beside it."""
    with read_errors(path):
        for place in (group[array], group, file):
            for name in place.attrs:
                if name.lower() in names:
                    return _attribute(place, name, path)
        return _array_beside(file, group, path, matlab, array, names)


def _attribute(place: Any, name: str, path: Path) -> Any:
    """The value of an attribute."""
    found = place.attrs.get_id(name)
    if found.dtype.kind == "O":
        check_heaps(path)
    if math.prod(found.shape or ()) * found.dtype.itemsize > _LARGEST_ATTRIBUTE:
        raise InvalidRecordError(f"the attribute {name} of {path.name} is too large for what it should say")
    return place.attrs[name]


def _array_beside(file: Any, group: Any, path: Path, matlab: bool, array: str, names: Sequence[str]) -> Any:
    """What an array beside the signals says."""
    h5py = require("h5py", "hdf5")
    for name in group:
        if name.lower() not in names or name == array or not isinstance(member(group, name), h5py.Dataset):
            continue
        found = array_in(group, name, path)
        if found.shape is None or math.prod(found.shape) * found.dtype.itemsize > _LARGEST_DESCRIPTION:
            raise InvalidRecordError(f"the array {name} of {path.name} is too large for what it should say")
        if found.dtype.kind == "O":
            check_heaps(path)
        return _matlab_text(file, found) if matlab else found[()]
    return None


def _matlab_text(file: Any, found: Any) -> Any:
    """A value as MATLAB stores it: characters are numbers, cells refer to other arrays of the file."""
    h5py = require("h5py", "hdf5")
    value = found[()]
    if found.dtype.kind == "O":
        inner = [file[cell] for cell in np.ravel(value) if isinstance(cell, h5py.Reference) and cell]
        if any(not isinstance(cell, h5py.Dataset) or cell.external or cell.is_virtual for cell in inner):
            raise InvalidRecordError("a cell lies in another file, which is not opened")
        return ["".join(map(chr, np.ravel(cell[()]))) for cell in inner if cell.size < 1000]
    if found.attrs.get("MATLAB_class", b"") == b"char":
        rows = np.atleast_2d(value).T  # of a matrix of characters
        words = ["".join(map(chr, row.tolist())) for row in rows]
        return words[0] if len(words) == 1 else words
    return value


def _read(path: Path, found: Description, k: int, name: str, patient: str) -> list[Recording]:
    """Read one recording."""
    with dataset(path, found.array) as signals, read_errors(path):
        signal = found.layout.row(signals, k)
    if found.padded:
        signal = without_padding(signal)
    return as_recording(signal, found.factor, name, patient, found.leads, found.sampling_rate, Metadata())
