"""Which candidates are P waves: atrial activity that is coupled to the ventricles looks alike before every beat.

In atrial fibrillation something can be found before every QRS complex, too, but each time at another distance and of
another shape.
"""

from __future__ import annotations

import numpy as np

from ecgloss.physiology.slopes import MS, Array, smoothed

_FROM, _TO = 240.0, 20.0  # ms before QRS onset: the part of a beat that is compared
_COUPLED_SPREAD = 20.0  # ms, robust SD of the distance from P to QRS
_ALIKE, _SOMEWHAT_ALIKE = 0.6, 0.4  # median correlation of a beat with the others
_HEIGHT_MV = 0.02
_NEAR_MS, _BEAT_ALIKE = 80.0, 0.2
_FEW = 3  # beats, below which only the height can tell


def present(y: Array, qrs_on: Array, peaks: Array, heights: Array) -> np.ndarray:
    """Tell which candidates are P waves.

    Args:
        y: (n,) clean lead in mV at 500 Hz.
        qrs_on: (K,) QRS onsets, NaN where unknown.
        peaks: (K,) peaks of the candidates, NaN where there is none.
        heights: (K,) their prominence in mV.

    Returns:
        (K,) bool.
    """
    high = np.isfinite(peaks) & (heights >= _HEIGHT_MV)
    compared = np.flatnonzero(high & (qrs_on - _FROM * MS >= 0))
    if len(compared) < _FEW:
        return high
    smooth = smoothed(y, 5.0)
    starts = (qrs_on[compared] - _FROM * MS).astype(np.int64)
    beats = smooth[starts[:, None] + np.arange(int((_FROM - _TO) * MS))]
    alike = _with_the_others(beats)
    distance = (qrs_on - peaks) / MS
    usual = float(np.median(distance[compared]))
    spread = 1.4826 * float(np.median(np.abs(distance[compared] - usual)))
    common = float(np.median(alike))
    if common < _SOMEWHAT_ALIKE or (common < _ALIKE and spread > _COUPLED_SPREAD):
        return np.zeros(len(peaks), np.bool_)
    shape = np.ones(len(peaks))  # a first beat that begins too late to be compared is judged by its distance
    shape[compared] = alike
    return high & (np.abs(distance - usual) <= _NEAR_MS) & (shape >= _BEAT_ALIKE)


def _with_the_others(beats: Array) -> Array:
    """Mean Pearson correlation of each row with all others."""
    centred = beats - beats.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(lengths > 0, lengths, 1.0)
    total: Array = unit @ unit.sum(0) - (unit**2).sum(1)
    return total / (len(beats) - 1)
