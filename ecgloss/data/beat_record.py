"""A long record in one piece, with the samples of its premature beats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BeatRecord:
    """A record and its premature beats.

    Attributes:
        name: Of the record, unique in its database.
        patient: Identifier of the patient.
        signal: ``(leads, samples)`` float32 in mV, NaN where a sample is missing.
        leads: Normalised lead names, one per row of ``signal``.
        sampling_rate: In Hz.
        marks: Samples of the premature beats by kind, ``"S"`` (supraventricular) and ``"V"`` (ventricular), ascending;
            every other beat of the record is of no such kind.

    Example:
        >>> BeatRecord("A01", "A01", np.zeros((1, 800), np.float32), ("ECG",), 400.0, {"V": np.array([200])}).seconds
        2.0
    """

    name: str
    patient: str
    signal: np.ndarray
    leads: tuple[str, ...]
    sampling_rate: float
    marks: Mapping[str, np.ndarray]

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return float(self.signal.shape[1] / self.sampling_rate)


@dataclass(frozen=True)
class BeatEntry:
    """One record of a database, not read yet.

    Attributes:
        name: Of the record.
        read: Reads it. It may raise any exception: the record is then skipped, with the exception's message as reason.
    """

    name: str
    read: Callable[[], BeatRecord]
