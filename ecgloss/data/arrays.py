"""Arrays as recordings: .npy and .npz files, and arrays in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgloss.data.cards.base import Entry
from ecgloss.data.recording import Metadata, Recording, normalise_lead

#: Units that signals may have, and their factors to mV.
UNITS = {"mV": 1.0, "uV": 1e-3, "µV": 1e-3, "V": 1e3}
ARRAY_FILES = (".npy", ".npz")
_SIGNALS = ("signals", "signal", "tracings", "ecg", "x")
_SAID = ("units", "leads", "sampling_rate", "patient")  # other arrays of an .npz that are understood


@dataclass(frozen=True)
class Arrays:
    """Recordings as one array, with what must be known about it.

    Attributes:
        signals: (n, leads, samples), any real dtype; may be a memory map.
        leads: Normalised names of the leads.
        sampling_rate: In Hz.
        units: A key of :data:`UNITS`.
        patients: (n,) patient of every recording; None: unknown, each its own.
        metadata: (n,) what is known of the patients; None: nothing.
    """

    signals: NDArray[Any]
    leads: tuple[str, ...]
    sampling_rate: float
    units: str
    patients: Sequence[str] | None = None
    metadata: Sequence[Metadata] | None = None

    def entries(self) -> Iterator[Entry]:
        """Every recording; its name is its row's number."""
        rows = np.asarray(self.signals)  # plain views of a memory map: sent to a process, they are one recording each
        for i in range(len(rows)):
            patient = str(i) if self.patients is None else str(self.patients[i])
            metadata = Metadata() if self.metadata is None else self.metadata[i]
            about = (str(i), patient, self.leads, self.sampling_rate, metadata)
            yield Entry(str(i), partial(_read, rows[i], UNITS[self.units], *about))


def _read(
    row: NDArray[Any],
    factor: float,
    name: str,
    patient: str,
    leads: tuple[str, ...],
    sampling_rate: float,
    metadata: Metadata,
) -> list[Recording]:
    """One row as a recording in mV."""
    signal = np.asarray(row, np.float32) * np.float32(factor)
    return [Recording(name, patient, signal, leads, sampling_rate, metadata)]


def checked_arrays(
    signals: NDArray[Any],
    *,
    sampling_rate: float | None,
    leads: Sequence[str] | None,
    units: str | None,
    patient: ArrayLike | None = None,
    metadata: Sequence[Metadata] | None = None,
    source: str = "signals",
) -> Arrays:
    """Check what was said about an array; nothing is guessed.

    Raises:
        ValueError: If rate, leads or units are not said, or do not fit the array; it says what to write.

    Example:
        >>> found = checked_arrays(np.zeros((5, 2, 1000)), sampling_rate=500, leads=["i", "V5"], units="uV")
        >>> found.leads, found.sampling_rate
        (('I', 'V5'), 500.0)
    """
    said = {"--source_rate (sampling_rate)": sampling_rate, "--leads": leads, "--units": units}
    unsaid = [name for name, value in said.items() if value is None]
    if sampling_rate is None or leads is None or units is None:
        raise ValueError(f"{source}: say {', '.join(unsaid)}; an array does not hold them, and they are not guessed")
    if units not in UNITS:
        raise ValueError(f"units must be one of {', '.join(UNITS)}; got {units}")
    if not 0 < float(sampling_rate) < float("inf"):
        raise ValueError(f"source_rate must be positive, in Hz; got {sampling_rate}")
    if not (np.issubdtype(signals.dtype, np.floating) or np.issubdtype(signals.dtype, np.integer)):
        raise ValueError(f"{source} must hold real numbers; got {signals.dtype}")
    names = tuple(normalise_lead(lead) for lead in leads)
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"leads must be different names, one per row; got {', '.join(names) or 'none'}")
    if signals.ndim == 2 and len(names) == 1:
        signals = signals[:, None]
    if signals.ndim != 3 or signals.shape[1] != len(names) or not signals.size:
        turned = signals.ndim == 3 and signals.shape[2] == len(names)
        hint = "; it seems to be (n, samples, leads): save it with its last two axes swapped" if turned else ""
        raise ValueError(f"{source} must be (n, {len(names)} leads, samples); got shape {signals.shape}{hint}")
    patients = None if patient is None else [str(p) for p in np.asarray(patient).tolist()]
    for name, values in (("patient", patients), ("metadata", metadata)):
        if values is not None and len(values) != len(signals):
            raise ValueError(f"{name} must have one entry per recording, {len(signals)}; got {len(values)}")
    return Arrays(signals, names, float(sampling_rate), units, patients, metadata)


def load_arrays(path: Path, *, sampling_rate: float | None, leads: Sequence[str] | None, units: str | None) -> Arrays:
    """Arrays of a file: .npy, memory-mapped, or .npz with ``signals`` and, if it has them, units, leads, sampling_rate
    and patient, which come before what is given.

    Raises:
        ValueError: If the file cannot be read, or something is not said.
    """
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        content = (
            {"signals": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
        )
    except Exception as error:  # of a damaged file: zipfile, zlib, tokenize and numpy each raise their own
        raise ValueError(f"cannot read the array {path}: {' '.join(str(error).split())[:200]}") from error
    named = [name for name in _SIGNALS if name in content] or [name for name in content if name not in _SAID]
    if len(named) != 1:
        raise ValueError(f"{path} must have one array of signals, called signals; it has {', '.join(content)}")
    return checked_arrays(
        content[named[0]],
        sampling_rate=float(content["sampling_rate"]) if "sampling_rate" in content else sampling_rate,
        leads=[str(lead) for lead in content["leads"].tolist()] if "leads" in content else leads,
        units=str(content["units"]) if "units" in content else units,
        patient=content.get("patient"),
        source=str(path),
    )


def content_key(arrays: Arrays) -> str:
    """A hash of arrays in memory with what is known about them."""
    digest = hashlib.sha256(np.ascontiguousarray(arrays.signals).tobytes())
    about = [arrays.leads, arrays.sampling_rate, arrays.units, arrays.signals.shape, str(arrays.signals.dtype)]
    known = [str(arrays.patients), str(arrays.metadata)]
    digest.update(json.dumps([*about, *known]).encode())
    return digest.hexdigest()
