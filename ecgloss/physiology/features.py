"""Physiological features of a recording: intervals, amplitudes and rhythm, from the marks of one lead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgloss.physiology.delineation import Delineation, bridged, delineate
from ecgloss.physiology.feature_table import BEATS, SERIES, feature_table

Values = NDArray[np.float64]

LEADS = (
    "II",
    "MLII",
    "I",
    "V5",
    "V6",
    "V4",
    "aVF",
    "V3",
    "V2",
    "V1",
    "III",
    "aVL",
    "aVR",
)  # what is taken where II is absent
BASELINE_S = 0.08  # the baseline is the median of so much before the QRS onset
ST_S = 0.06  # ST is measured so long after the QRS offset


def features(signal: ArrayLike, sampling_rate: float, delineation: Delineation | None = None) -> dict[str, float]:
    """Compute the 150 features of one lead.

    Args:
        signal: (T,) one lead in mV, lead II where there is one (:func:`feature_lead`).
        sampling_rate: In Hz.
        delineation: Its marks, where they are known already.

    Returns:
        By name, in the order of :func:`feature_table`; NaN, never 0, where something was not found or there are fewer
        beats.

    Raises:
        ValueError: If the signal is not one-dimensional or the sampling rate is not positive.
        MissingExtraError: If NeuroKit2 is not installed.

    Example:
        >>> found = features(np.zeros(5000), 500)
        >>> len(found), found["rr_mean"]
        (150, nan)
    """
    found = delineate(signal, sampling_rate) if delineation is None else delineation
    names = [feature.name for feature in feature_table()]
    x = bridged(np.asarray(signal, np.float64))
    if x is None or not len(found):
        return dict.fromkeys(names, np.nan)
    series, st = beat_series(x, found, sampling_rate)
    values = dict.fromkeys(names, np.nan)
    for name, per_beat in series.items():
        values.update({f"{name}_{beat + 1}": float(v) for beat, v in enumerate(per_beat[:BEATS])})
        known = per_beat[np.isfinite(per_beat)]
        if not len(known):
            continue
        values[f"{name}_mean"], values[f"{name}_sd"] = float(known.mean()), float(known.std())
        values[f"{name}_median"] = float(np.median(known))
        if SERIES[name].range:
            values[f"{name}_iqr"] = float(np.subtract(*np.percentile(known, [75, 25])))
    return values | _rhythm(series["rr"]) | _conduction(series, st, found) | _likeness(x, found.r_peaks)


def feature_lead(leads: Sequence[str]) -> str:
    """Return the lead of which features are computed: the first of :data:`LEADS` that is there, else the first lead.

    Raises:
        ValueError: If there are no leads.

    Example:
        >>> feature_lead(["V1", "V5", "I"]), feature_lead(["X"])
        ('I', 'X')
    """
    if not leads:
        raise ValueError("leads is empty; features need one lead")
    return next((lead for lead in LEADS if lead in leads), leads[0])


def beat_series(x: Values, found: Delineation, sampling_rate: float) -> tuple[dict[str, Values], Values]:
    """The ten series and ST, (n,) each, NaN where a mark is missing."""
    ms = 1000 / sampling_rate
    rr = np.concatenate([[np.nan], np.diff(found.r_peaks)]) * ms
    baseline = np.array([_median(x, start - BASELINE_S * sampling_rate, start) for start in found.qrs_onsets])
    series = {
        "rr": rr,
        "pr": (found.qrs_onsets - found.p_onsets) * ms,
        "qrs": (found.qrs_offsets - found.qrs_onsets) * ms,
        "qtc": (found.t_offsets - found.qrs_onsets) * ms / np.sqrt(rr / 1000),
        "p_duration": (found.p_offsets - found.p_onsets) * ms,
        "t_duration": (found.t_offsets - found.t_onsets) * ms,
        "r_amplitude": _at(x, found.r_peaks) - baseline,
        "t_amplitude": _at(x, found.t_peaks) - baseline,
        "p_amplitude": _at(x, found.p_peaks) - baseline,
        "qrs_slope": np.array([_slope(x, a, b) for a, b in zip(found.qrs_onsets, found.r_peaks)]) / ms,
    }
    return series, _at(x, found.qrs_offsets + ST_S * sampling_rate) - baseline


def _rhythm(rr: Values) -> dict[str, float]:
    """Features of the RR intervals in ms."""
    rr = rr[np.isfinite(rr)]
    result: dict[str, float] = {}
    if len(rr):
        result |= {"rr_cv": float(rr.std() / rr.mean()), "short_rr": float((rr < 0.8 * np.median(rr)).mean())}
    if len(rr) > 1:
        steps = np.diff(rr)
        result |= {"rmssd": float(np.sqrt((steps**2).mean())), "pnn50": float((np.abs(steps) > 50).mean())}
    return result


def _conduction(series: dict[str, Values], st: Values, found: Delineation) -> dict[str, float]:
    """Shares of beats with something that is not normal."""
    qrs, st = series["qrs"], st[np.isfinite(st)]
    result = {
        "long_pr": _share(series["pr"], lambda v: v > 200),
        "wide_qrs_100": _share(qrs, lambda v: (v >= 100) & (v < 120)),
        "wide_qrs_120": _share(qrs, lambda v: v >= 120),
        "long_qtc": _share(series["qtc"], lambda v: v >= 500),
        "absent_p": float(np.isnan(found.p_onsets).mean()),
        "inverted_t": _share(series["t_amplitude"], lambda v: v < -0.05),
        "st_deviation": _share(st, lambda v: np.abs(v) >= 0.1),
    }
    if len(st):
        result["st_mad"] = float(np.median(np.abs(st - np.median(st))))
    return result


def _likeness(x: Values, r_peaks: Values) -> dict[str, float]:
    """Correlations of adjacent beats, which are cut in the middle of RR and aligned at their R peaks."""
    peaks = np.round(r_peaks).astype(np.int64)
    cuts = (peaks[:-1] + peaks[1:]) // 2
    found = []
    for k in range(1, len(cuts) - 1):  # beats k and k + 1, both with a cut on either side
        before = min(peaks[k] - cuts[k - 1], peaks[k + 1] - cuts[k])
        after = min(cuts[k] - peaks[k], cuts[k + 1] - peaks[k + 1])
        a, b = (x[p - before : p + after] - x[p - before : p + after].mean() for p in (peaks[k], peaks[k + 1]))
        scale = np.linalg.norm(a) * np.linalg.norm(b)
        if scale > 0:
            found.append(a @ b / scale)
    if not found:
        return {}
    names = ("beat_correlation_mean", "beat_correlation_sd", "beat_correlation_min")
    return dict(zip(names, map(float, (np.mean(found), np.std(found), np.min(found)))))


def _share(values: Values, holds: Callable[[Values], Any]) -> float:
    """Share of the known values for which something holds; NaN where none is known."""
    known = values[np.isfinite(values)]
    return float(np.mean(holds(known))) if len(known) else float("nan")


def _at(x: Values, places: Values) -> Values:
    """The signal at the samples nearest to some places; NaN where a place is unknown or outside."""
    result = np.full(len(places), np.nan)
    known = np.isfinite(places)
    index = np.round(places[known]).astype(np.int64)
    inside = (index >= 0) & (index < len(x))
    result[np.flatnonzero(known)[inside]] = x[index[inside]]
    return result


def _median(x: Values, start: float, stop: float) -> float:
    """Median from one place to another; NaN where nothing lies between."""
    if not (np.isfinite(start) and np.isfinite(stop)):
        return float("nan")
    part = x[max(round(start), 0) : max(round(stop), 0)]
    return float(np.median(part)) if len(part) else float("nan")


def _slope(x: Values, start: float, stop: float) -> float:
    """Largest step between samples from one place to another; NaN where there is none."""
    if not (np.isfinite(start) and np.isfinite(stop)):
        return float("nan")
    steps = np.abs(np.diff(x[max(round(start), 0) : round(stop) + 1]))
    return float(steps.max()) if len(steps) else float("nan")
