"""R peaks of records of any length, piece by piece."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import ArrayLike

from ecgloss.data.preprocess import Preprocessing, prepare
from ecgloss.physiology.delineation import FLAT_MV, SHORTEST_S, Samples, bridged, detect_r_peaks, guarded
from ecgloss.physiology.slopes import RATE

PIECE_S = 300.0
MARGIN_S = 3.0  # a piece is detected with as much of its neighbours: filters and detector need time to settle
SAME_S = 0.1  # peaks of neighbouring pieces that are nearer are one


def r_peaks(signal: ArrayLike, sampling_rate: float, *, piece_s: float = PIECE_S) -> Samples:
    """Find the R peaks of one lead: those of :func:`~ecgloss.physiology.delineate`, without the other marks.

    A record of 24 hours is detected in pieces that overlap, in bounded memory. Pieces in which nothing was measured,
    and those that are too short, have no peaks.

    Args:
        signal: (T,) one lead in mV, NaN where a sample is missing.
        sampling_rate: In Hz.
        piece_s: Length of a piece in seconds.

    Returns:
        (n,) samples, ascending, as floats.

    Raises:
        ValueError: If the signal is not one-dimensional, or the rate or the length of a piece is not positive.
        MissingExtraError: If NeuroKit2 is not installed.

    Example:
        >>> r_peaks(np.zeros(5000), 500).tolist()
        []
    """
    x = np.asarray(signal)
    if x.ndim != 1:
        raise ValueError(f"signal must be one lead of shape (T,); got shape {x.shape}")
    if not sampling_rate > 0 or not piece_s > 0:
        raise ValueError(f"sampling_rate (Hz) and piece_s must be positive; got {sampling_rate} and {piece_s}")
    size, margin = max(1, round(piece_s * sampling_rate)), round(MARGIN_S * sampling_rate)
    found = np.zeros(0)
    for start in range(0, len(x), size):
        first, stop = max(start - margin, 0), start + size
        peaks = first + _of_piece(np.asarray(x[first : stop + margin], np.float64), sampling_rate)
        edge = SAME_S / 2 * sampling_rate  # a peak at the border may be found on either side of it
        peaks = peaks[(peaks >= start - edge) & (peaks < stop + edge)]
        if len(found) and len(peaks) and peaks[0] - found[-1] < SAME_S * sampling_rate:
            peaks = peaks[1:]
        found = np.concatenate([found, peaks])
    return found


def _of_piece(x: Samples, sampling_rate: float) -> Samples:
    """R peaks of one piece, ascending."""
    filled = bridged(x)
    if len(x) < SHORTEST_S * sampling_rate or filled is None or np.ptp(filled) < FLAT_MV:
        return np.zeros(0)
    clean = prepare(filled[None], sampling_rate, Preprocessing(sampling_rate=RATE))[0].astype(np.float64)
    peaks = guarded("R peaks", Counter(), lambda: detect_r_peaks(clean))
    found = np.unique(np.asarray([] if peaks is None else peaks, np.int64))
    return np.asarray(found * (sampling_rate / RATE), np.float64)
