"""Arrays in memory as recordings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgloss.data.cards.base import Entry
from ecgloss.data.recording import Metadata, Recording, normalise_lead

#: Units that signals may have, and their factors to mV.
UNITS = {"mV": 1.0, "uV": 1e-3, "µV": 1e-3, "V": 1e3}


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
            yield Entry(str(i), partial(as_recording, rows[i], UNITS[self.units], *about))


def as_recording(
    row: NDArray[Any],
    factor: float,
    name: str,
    patient: str,
    leads: tuple[str, ...],
    sampling_rate: float,
    metadata: Metadata,
) -> list[Recording]:
    """One row as a recording in mV.

    Args:
        row: (leads, samples), any real dtype.
        factor: From its units to mV.
        name: Of the recording.
        patient: Whose it is.
        leads: Normalised names of the leads.
        sampling_rate: In Hz.
        metadata: What is known of the patient.

    Example:
        >>> [found] = as_recording(np.full((1, 3), 500), 1e-3, "a", "p", ("I",), 250.0, Metadata())
        >>> found.signal.tolist()
        [[0.5, 0.5, 0.5]]
    """
    with np.errstate(all="ignore"):  # what is not finite is a missing sample
        signal = np.asarray(row, np.float32) * np.float32(factor)
    return [Recording(name, patient, signal, leads, sampling_rate, metadata)]


def checked_arrays(
    signals: NDArray[Any],
    *,
    sampling_rate: float,
    leads: Sequence[str],
    units: str,
    patient: ArrayLike | None = None,
    metadata: Sequence[Metadata] | None = None,
) -> Arrays:
    """Check what was said about an array; nothing is guessed.

    Raises:
        ValueError: If rate, leads or units make no sense, or do not fit the array; it says what to write.

    Example:
        >>> found = checked_arrays(np.zeros((5, 2, 1000)), sampling_rate=500, leads=["i", "V5"], units="uV")
        >>> found.leads, found.sampling_rate
        (('I', 'V5'), 500.0)
    """
    if units not in UNITS:
        raise ValueError(f"units must be one of {', '.join(UNITS)}; got {units}")
    if not 0 < float(sampling_rate) < float("inf"):
        raise ValueError(f"sampling_rate must be positive, in Hz; got {sampling_rate}")
    if not (np.issubdtype(signals.dtype, np.floating) or np.issubdtype(signals.dtype, np.integer)):
        raise ValueError(f"signals must hold real numbers; got {signals.dtype}")
    names = tuple(normalise_lead(lead) for lead in leads)
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"leads must be different names, one per row; got {', '.join(names) or 'none'}")
    if signals.ndim == 2 and len(names) == 1:
        signals = signals[:, None]
    if signals.ndim != 3 or signals.shape[1] != len(names) or not signals.size:
        turned = signals.ndim == 3 and signals.shape[2] == len(names)
        hint = "; it seems to be (n, samples, leads): swap its last two axes" if turned else ""
        raise ValueError(f"signals must be (n, {len(names)} leads, samples); got shape {signals.shape}{hint}")
    patients = None if patient is None else [str(p) for p in np.asarray(patient).tolist()]
    for name, values in (("patient", patients), ("metadata", metadata)):
        if values is not None and len(values) != len(signals):
            raise ValueError(f"{name} must have one entry per recording, {len(signals)}; got {len(values)}")
    return Arrays(signals, names, float(sampling_rate), units, patients, metadata)


def content_key(arrays: Arrays) -> str:
    """A hash of arrays in memory with what is known about them."""
    digest = hashlib.sha256(np.ascontiguousarray(arrays.signals).tobytes())
    about = [arrays.leads, arrays.sampling_rate, arrays.units, arrays.signals.shape, str(arrays.signals.dtype)]
    known = [str(arrays.patients), str(arrays.metadata)]
    digest.update(json.dumps([*about, *known]).encode())
    return digest.hexdigest()
