"""Reading of HDF5 files. They come from other people: what they hold must lie in the file itself."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecgloss._extras import require
from ecgloss.data.damage import read_errors
from ecgloss.data.wfdb.headers import InvalidRecordError, check_link

#: An array may be so many times as large as what the file stores of it, and so many bytes larger.
MOST_TIMES, FEW_BYTES = 100, 2**24
_HEAP = b"GCOL\x01\0\0\0"  # the beginning of a heap
_LOOKED_AT = 2**28


@contextmanager
def dataset(path: Path, name: str) -> Iterator[Any]:
    """Open an array of an HDF5 file; it can be sliced and is read as far as it is.

    Args:
        path: The file.
        name: Of the array; ``group/name`` in a group.

    Raises:
        InvalidRecordError: If the file is missing or damaged, has no such array, or takes it from another file,
            or is itself a link that leads outside its folder.
        MissingExtraError: If h5py is not installed.
    """
    with opened(path) as file:
        yield array_in(file, name, path)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Args:
        path: The file.

    Raises:
        InvalidRecordError: If it is missing, damaged, or a link that leads outside its folder.
        MissingExtraError: If h5py is not installed.
    """
    h5py = require("h5py", "hdf5")
    if not path.is_file():
        raise InvalidRecordError(f"{path.name} is missing")
    check_link(path)
    with read_errors(path):
        file = h5py.File(path, "r")
    with file:
        yield file


def member(group: Any, name: str) -> Any | None:
    """What a group of an HDF5 file holds under a name, if it lies in the file itself: links are not followed.

    Example:
        >>> member({}, "a") is None
        True
    """
    h5py = require("h5py", "hdf5")
    if not name or name not in list(group):  # `in group` would follow a path
        return None
    return group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None


def array_in(file: Any, name: str, path: Path) -> Any:
    """An array of an open HDF5 file, after checks that all of it lies in the file, which justifies its size.

    Args:
        file: The file, or a group in it.
        name: Of the array; ``group/name`` in a group.
        path: Of the file, for errors.

    Raises:
        InvalidRecordError: If there is no such array, it lies elsewhere, or it is far larger than the file.
    """
    h5py = require("h5py", "hdf5")
    with read_errors(path):
        found, above = file, file
        for part in name.strip("/").split("/"):
            keys = found.keys() if isinstance(found, h5py.Group) else ()
            if part in keys and member(found, part) is None:
                raise InvalidRecordError(f"the array {name} of {path.name} lies in another file, which is not opened")
            above, found = found, member(found, part) if keys else None
        if not isinstance(found, h5py.Dataset):
            there = ", ".join(above.keys()) if isinstance(above, h5py.Group) else ""
            raise InvalidRecordError(f"{path.name} has no array {name}; it has {there[:200]}")
        if found.external or found.is_virtual:
            raise InvalidRecordError(f"the array {name} of {path.name} lies in another file, which is not opened")
        _check_size(found, name, path)
    return found


def check_heaps(path: Path) -> None:
    """Refuse a file whose heaps of texts do not add up: the HDF5 library would read one for ever.

    Call it before a text of variable length is read. Heaps beyond the first 256 MB of a file are not looked at.

    Args:
        path: The file.

    Raises:
        InvalidRecordError: If an object in a heap is larger than the heap, or has no length where it must have one.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        start = raw.find(_HEAP, 0, _LOOKED_AT)
        while start >= 0:
            size = min(int.from_bytes(raw[start + 8 : start + 16], "little"), len(raw) - start)
            at = 16  # objects follow: number, references, 4 bytes, size, and the object itself to a multiple of 8
            while at + 16 <= size:
                head = raw[start + at : start + at + 16]
                length = int.from_bytes(head[8:], "little")
                free = not any(head[:2])  # its length includes the 16 bytes
                if length > size - at or (free and length < 16):
                    raise InvalidRecordError(f"{path.name} cannot be read: its texts are damaged")
                at += length if free else 16 + (length + 7) // 8 * 8
            start = raw.find(_HEAP, start + 8, _LOOKED_AT)


def _check_size(found: Any, name: str, path: Path) -> None:
    """Refuse an array whose announced size, or whose chunks, the stored bytes cannot justify."""
    stored = found.id.get_storage_size()
    chunk = math.prod(found.chunks) * found.dtype.itemsize if found.chunks else 0
    size = math.prod(found.shape or ()) * found.dtype.itemsize
    if max(size, chunk) > MOST_TIMES * stored + FEW_BYTES:
        raise InvalidRecordError(
            f"the array {name} of {path.name} should have {size} bytes, but only {stored} are stored: it is damaged"
        )
