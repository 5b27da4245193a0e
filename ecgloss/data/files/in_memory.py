"""Arrays that are in memory, or mapped to it, as recordings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss.data.arrays import as_recording
from ecgloss.data.cards.base import Entry
from ecgloss.data.damage import read_errors
from ecgloss.data.files.description import Description, describe
from ecgloss.data.files.options import SignalOptions
from ecgloss.data.recording import Metadata
from ecgloss.data.wfdb.headers import check_link

NUMPY_SUFFIXES = (".npy", ".npz")


def array_entries(array: NDArray[Any], found: Description, prefix: str, *, alone: bool) -> list[Entry]:
    """The recordings of an array.

    Args:
        array: All of them; may be a memory map.
        found: What is known about it.
        prefix: Name of its file without extension, in its source.
        alone: Whether the file is the whole source.
    """
    array = np.asarray(array)  # plain views of a memory map: sent to a process, they are one recording each
    about = (found.leads, found.sampling_rate, Metadata())
    return [
        Entry(name, partial(as_recording, found.layout.row(array, k), found.factor, name, patient, *about))
        for k, name, patient in found.recordings(prefix, alone=alone)
    ]


def numpy_entries(
    path: Path, prefix: str, options: SignalOptions, fallback: Sequence[str] | None, *, alone: bool
) -> list[Entry]:
    """The recordings of a .npy file, memory-mapped, or of an .npz with ``signals``.

    Args:
        path: The file.
        prefix: Its name without extension, in its source.
        options: What the user says about it.
        fallback: Leads that are wanted; they name the rows where nothing else does.
        alone: Whether it is the whole source.

    Raises:
        ValueError: If it cannot be read, or something is not said or does not fit.
    """
    check_link(path)
    with read_errors(path):
        loaded = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None, allow_pickle=False)
        one = isinstance(loaded, np.ndarray)
        content = {"signals": loaded} if one else {name: loaded[name] for name in loaded.files}

    def value(array: str, names: Sequence[str]) -> Any:
        return next((content[name] for name in content if name.lower() in names and name != array), None)

    shapes = {name: array.shape for name, array in content.items() if array.dtype.kind in "fiu"}
    if one and not shapes:
        raise ValueError(f"{path.name} must hold real numbers; got {loaded.dtype}")
    found = describe(path.name, shapes, value, options, fallback)
    return array_entries(content[found.array], found, prefix, alone=alone)
