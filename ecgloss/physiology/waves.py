"""QRS, T and P of every beat of a clean lead. Widths and thresholds were chosen on one half of LUDB.

What constant error was left on that half is taken off (the ``_SHIFT`` constants); the errors on the other half are in
bench/results/delineation-ludb.md.
"""

from __future__ import annotations

import numpy as np

from ecgloss.physiology.slopes import MS, Array, Indices, extrema, foot, slope, smoothed

# QRS: slope by a Gaussian of these widths; it begins and ends at these fractions of its steepest flank, and goes on
# after a turning point, where the slope is 0, of at most this length.
_QRS_ON_MS, _QRS_ON, _QRS_ON_PAUSE = 7.0, 0.10, 10.0
_QRS_OFF_MS, _QRS_OFF, _QRS_OFF_PAUSE = 5.0, 0.08, 22.0
_QRS_BEFORE, _QRS_AFTER, _QRS_CORE = 120.0, 150.0, 70.0  # ms around the R peak
_QRS_ON_SHIFT, _QRS_OFF_SHIFT = -11.0, 4.0

# T: the most prominent extremum, weighted towards the usual distance from R, which grows with the square root of RR.
_T_FROM, _T_OF_RR, _T_WITHIN = 70.0, 0.65, 620.0  # ms after the QRS, of the RR interval, ms after R
_T_USUAL, _T_SPREAD = 280.0, 0.3
_T_MS, _T_SLOPE_MS, _T_END, _T_REACH, _T_FLANK = 10.0, 10.0, 0.3, 220.0, 140.0
_T_HEIGHT_MV = 0.015  # below this a T wave cannot be told from noise
_T_ON_SHIFT, _T_OFF_SHIFT = -3.0, 2.5

# P: the most prominent extremum before the QRS, weighted towards the usual distance.
_P_BEFORE, _P_GAP, _P_OF_RR, _P_AFTER_T = 260.0, 20.0, 0.45, 10.0
_P_USUAL, _P_SPREAD, _P_DOWNWARD = 110.0, 70.0, 0.5
_P_MS, _P_SLOPE_MS, _P_ON, _P_OFF, _P_REACH = 10.0, 14.0, 0.4, 0.5, 90.0
_P_ON_SHIFT, _P_OFF_SHIFT = 1.5, -6.0


def qrs_bounds(y: Array, r: Indices) -> tuple[Array, Array]:
    """Onset and offset of the QRS complex of every beat, (K,) each, NaN where it leaves the recording."""
    onsets = _qrs_bound(np.abs(slope(y, _QRS_ON_MS)), r, _QRS_ON, _QRS_ON_PAUSE, last=False) + _QRS_ON_SHIFT * MS
    offsets = _qrs_bound(np.abs(slope(y, _QRS_OFF_MS)), r, _QRS_OFF, _QRS_OFF_PAUSE, last=True) + _QRS_OFF_SHIFT * MS
    onsets[onsets < 0] = np.nan
    offsets[offsets > len(y) - 1] = np.nan
    return np.minimum(onsets, r), np.maximum(offsets, r)


def _qrs_bound(steepness: Array, r: Indices, fraction: float, pause_ms: float, *, last: bool) -> Array:
    """First or last sample of the run of steep samples about each R peak."""
    bounds = np.full(len(r), np.nan)
    for k, peak in enumerate(r):
        start, stop = max(0, int(peak - _QRS_BEFORE * MS)), min(len(steepness), int(peak + _QRS_AFTER * MS) + 1)
        core = max(start, int(peak - _QRS_CORE * MS))
        steepest = core + int(steepness[core : int(peak + _QRS_CORE * MS)].argmax())
        steep = start + np.flatnonzero(steepness[start:stop] > fraction * steepness[steepest])
        breaks = np.flatnonzero(np.diff(steep) > pause_ms * MS)
        first, final = steep[np.r_[0, breaks + 1]], steep[np.r_[breaks, len(steep) - 1]]
        run = int(np.searchsorted(first, steepest, side="right")) - 1
        bound = final[run] if last else first[run]
        if 0 < bound < len(steepness) - 1:
            bounds[k] = bound
    return bounds


def t_waves(y: Array, r: Indices, qrs_on: Array, qrs_off: Array) -> Array:
    """Onset, peak and end of the T wave of every beat, (K, 3)."""
    found = np.full((len(r), 3), np.nan)
    smooth, steep = smoothed(y, _T_MS), slope(y, _T_SLOPE_MS)
    intervals = np.diff(r).astype(np.float64)
    usual_rr = float(np.median(intervals)) if len(intervals) else 800 * MS
    for k in np.flatnonzero(np.isfinite(qrs_off)):
        rr = intervals[k] if k < len(intervals) else usual_rr
        limit = float(len(y) - 1)
        if k + 1 < len(r):
            limit = min(limit, (qrs_on[k + 1] if np.isfinite(qrs_on[k + 1]) else r[k + 1] - 60 * MS) - 20 * MS)
        start = int(qrs_off[k] + _T_FROM * MS)
        stop = int(min(r[k] + _T_OF_RR * rr, r[k] + _T_WITHIN * MS, limit - 20 * MS))
        if stop - start < 80 * MS:
            continue
        places, prominences, signs = extrema(smooth[start:stop])
        if not len(places):
            continue
        usual = _T_USUAL * MS * np.sqrt(rr / (1000 * MS))
        high = prominences >= _T_HEIGHT_MV
        weights = high * prominences * np.exp(-0.5 * (((start + places - r[k]) / usual - 1) / _T_SPREAD) ** 2)
        best = int(weights.argmax())
        if not high[best]:
            continue
        peak, sign = start + int(places[best]), float(signs[best])
        found[k, 1] = peak
        # The steepest slope is looked for near the peak, so that no later wave is taken for the flank.
        begin = max(int(qrs_off[k] + 10 * MS), int(peak - _T_REACH * MS))
        found[k, 0] = _edge(sign * steep[begin : peak + 1][::-1], peak, -1, _T_END, _T_FLANK, _T_ON_SHIFT)
        end = int(min(peak + _T_REACH * MS, limit))
        found[k, 2] = _edge(-sign * steep[peak : end + 1], peak, 1, _T_END, _T_FLANK, _T_OFF_SHIFT)
    return found


def _edge(flank: Array, peak: int, direction: int, fraction: float, reach_ms: float, shift_ms: float) -> float:
    """Where a wave ends on one side; its limit where the flank is not over by then, NaN where there is none."""
    if len(flank) < 5:
        return np.nan
    near = flank[: int(reach_ms * MS)]
    steepest = int(near.argmax())
    if near[steepest] <= 0:
        return np.nan
    length = foot(np.concatenate([np.zeros(steepest), flank[steepest:].clip(max=near[steepest])]), fraction)
    return peak + direction * (len(flank) - 1 if length is None else length) + shift_ms * MS


def p_candidates(y: Array, r: Indices, qrs_on: Array, t_off: Array) -> tuple[Array, Array]:
    """The best candidate for a P wave before every QRS complex.

    Returns:
        (K, 3) onset, peak and offset, and (K,) prominence in mV; NaN where there is none.
    """
    found, heights = np.full((len(r), 3), np.nan), np.full(len(r), np.nan)
    smooth, steep = smoothed(y, _P_MS), slope(y, _P_SLOPE_MS)
    for k in np.flatnonzero(np.isfinite(qrs_on)):
        stop = int(qrs_on[k] - _P_GAP * MS)
        start = max(0, int(qrs_on[k] - _P_BEFORE * MS))
        if k:
            start = max(start, int(r[k - 1] + _P_OF_RR * (r[k] - r[k - 1])))
            after_t = t_off[k - 1] + _P_AFTER_T * MS
            if after_t < stop - 60 * MS:  # False for NaN
                start = max(start, int(after_t))
        if stop - start < 30 * MS:
            continue
        places, prominences, signs = extrema(smooth[start : int(qrs_on[k]) + 1], _P_DOWNWARD)
        early = start + places <= stop
        places, prominences, signs = places[early], prominences[early], signs[early]
        if not len(places):
            continue
        usual = ((qrs_on[k] - start - places) / MS - _P_USUAL) / _P_SPREAD
        best = int((prominences * np.exp(-0.5 * usual**2)).argmax())
        peak, sign = start + int(places[best]), float(signs[best])
        found[k, 1], heights[k] = peak, prominences[best]
        begin, end = max(0, int(peak - _P_REACH * MS)), int(min(qrs_on[k], peak + _P_REACH * MS))
        found[k, 0] = _edge(sign * steep[begin : peak + 1][::-1], peak, -1, _P_ON, _P_REACH, _P_ON_SHIFT)
        found[k, 2] = _edge(-sign * steep[peak : end + 1], peak, 1, _P_OFF, _P_REACH, _P_OFF_SHIFT)
    found[found < 0] = np.nan
    return found, heights
