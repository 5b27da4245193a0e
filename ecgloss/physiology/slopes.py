"""The end of a wave by its slope, which all waves share.

A wave begins or ends where its slope falls below a fraction of its steepest flank: the criterion of the wavelet
delineator of Martínez et al. (IEEE Trans Biomed Eng 51(4):570-581, 2004), with the slope measured by the derivative of
a Gaussian.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require

RATE = 500.0  # Hz: waves are searched at it, signals of other rates are resampled
MS = RATE / 1000  # samples per ms
Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def smoothed(y: Array, width_ms: float) -> Array:
    """y convolved with a Gaussian of standard deviation ``width_ms``."""
    return np.asarray(require("scipy.ndimage", "features").gaussian_filter1d(y, width_ms * MS), np.float64)


def slope(y: Array, width_ms: float) -> Array:
    """y convolved with the first derivative of a Gaussian of standard deviation ``width_ms``; per sample."""
    return np.asarray(require("scipy.ndimage", "features").gaussian_filter1d(y, width_ms * MS, order=1), np.float64)


def foot(flank: Array, fraction: float) -> int | None:
    """Where a wave ends, in samples from its peak.

    Args:
        flank: (n,) slope on the way from the peak to the baseline, positive while the wave returns.
        fraction: Of the steepest slope, below which the wave has ended.

    Returns:
        None if the flank never returns, or is not over at its end.

    Example:
        >>> foot(np.array([0.0, 2.0, 4.0, 2.0, 1.0, 0.2, 0.0]), 0.3)
        4
    """
    if not len(flank):
        return None
    steepest = int(flank.argmax())
    if flank[steepest] <= 0:
        return None
    over = np.flatnonzero(flank[steepest:] < fraction * flank[steepest])
    return steepest + int(over[0]) if len(over) else None


def extrema(part: Array, downward: float = 1.0) -> tuple[Indices, Array, Array]:
    """Local maxima and minima with their prominence.

    Args:
        part: (n,) smooth signal.
        downward: Factor on the prominence of minima.

    Returns:
        Positions, weighted prominences in mV, and signs (+1 or -1).
    """
    find_peaks = require("scipy.signal", "features").find_peaks
    up, above = find_peaks(part, prominence=0)
    down, below = find_peaks(-part, prominence=0)
    places = np.concatenate([up, down]).astype(np.int64)
    prominences = np.concatenate([above["prominences"], downward * below["prominences"]])
    return places, prominences, np.concatenate([np.ones(len(up)), -np.ones(len(down))])
