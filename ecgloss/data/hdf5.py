"""Reading of HDF5 files. They come from other people: what they hold must lie in the file itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecgloss._extras import require
from ecgloss.data.wfdb.headers import InvalidRecordError, check_link


@contextmanager
def dataset(path: Path, name: str) -> Iterator[Any]:
    """Open an array of an HDF5 file; it can be sliced and is read as far as it is.

    Args:
        path: The file.
        name: Of the array.

    Raises:
        InvalidRecordError: If the file is missing or damaged, has no such array, or takes it from another file,
            or is itself a link that leads outside its folder.
        MissingExtraError: If h5py is not installed.
    """
    h5py = require("h5py", "hdf5")
    if not path.is_file():
        raise InvalidRecordError(f"{path.name} is missing")
    check_link(path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InvalidRecordError(f"{path.name} cannot be read: {' '.join(str(error).split())}") from error
    with file:
        link = file.get(name, getlink=True) if name in file else None
        found = file[name] if isinstance(link, h5py.HardLink) else None
        if link is None or (found is not None and not isinstance(found, h5py.Dataset)):
            raise InvalidRecordError(f"{path.name} has no array {name}; it has {', '.join(file.keys())[:200]}")
        if found is None or found.external or found.is_virtual:
            raise InvalidRecordError(f"the array {name} of {path.name} lies in another file, which is not opened")
        yield found
