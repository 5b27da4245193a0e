"""R peaks and waves of many recordings in a few arrays, which processes that prepare batches share cheaply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ecgloss.physiology.beats import span_mask, wave_spans
from ecgloss.physiology.delineation import Delineation


@dataclass(frozen=True)
class WaveMarks:
    """Marks of n recordings, one after the other.

    Attributes:
        peaks: (sum of beats,) R peaks in samples.
        spans: (sum of waves, 2) first and last sample of P, QRS and T.
        peak_ends: (n + 1,) where the R peaks of each recording begin and end.
        span_ends: (n + 1,) the same for the spans.
    """

    peaks: NDArray[np.float64]
    spans: NDArray[np.int64]
    peak_ends: NDArray[np.int64]
    span_ends: NDArray[np.int64]

    @classmethod
    def of(cls, delineations: Sequence[Delineation]) -> WaveMarks:
        """Those of delineated recordings.

        Example:
            >>> from ecgloss.physiology import delineate
            >>> marks = WaveMarks.of([delineate(np.zeros(1000), 500)])
            >>> marks.r_peaks(0).tolist(), int(marks.mask(0, 0, 1000).sum())
            ([], 0)
        """
        spans = [wave_spans(found) for found in delineations]
        return cls(
            np.concatenate([found.r_peaks for found in delineations] or [np.zeros(0)]),
            np.concatenate(spans or [np.zeros((0, 2), np.int64)]),
            np.cumsum([0, *(len(found) for found in delineations)]),
            np.cumsum([0, *map(len, spans)]),
        )

    def r_peaks(self, i: int, start: int = 0) -> NDArray[np.float64]:
        """R peaks of recording i, counted from sample ``start``; those outside a window are left in."""
        return self.peaks[self.peak_ends[i] : self.peak_ends[i + 1]] - start

    def mask(self, i: int, start: int, length: int) -> Tensor:
        """Which samples of a window of recording i lie in P, QRS or T, (length,) bool."""
        return span_mask(self.spans[self.span_ends[i] : self.span_ends[i + 1]], length, start)
