"""Marks of waves in one lead: R peaks, and onset, peak and offset of P, QRS and T of every beat.

R peaks come from the stationary wavelet transform of Kalidas and Tamil (2017) as NeuroKit2 has it, the other marks from
the slope of the waves, after Martinez et al. (2004): :mod:`ecgloss.physiology.waves`. Both were chosen by their errors
against the manual marks of LUDB (bench/results/delineation-ludb.md).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgloss._extras import require
from ecgloss.data.preprocess import Preprocessing, prepare
from ecgloss.physiology import p_presence, waves
from ecgloss.physiology.slopes import RATE

Samples = NDArray[np.float64]

SHORTEST_S = 1.0  # the filters need as much
MOST_UNKNOWN = 0.5  # share of samples that may be NaN; gaps are bridged by straight lines
FLAT_MV = 1e-3  # a lead with a smaller range of values is flat
STILL_MV = 1e-4  # nor does a lead stand still within this for 100 ms
PLAUSIBLE_RR_S = (0.25, 3.0)  # 20 to 240 beats per minute
NEAR_S = 0.12  # the R peak lies this near to where the wavelet detector finds the QRS complex
UPRIGHT = 0.3  # a QRS complex whose positive part is this share of its negative part or more has an R peak
WAVES = ("p", "qrs", "t")
BESIDE_R = ("p_onsets", "p_peaks", "p_offsets", "qrs_onsets", "qrs_offsets", "t_onsets", "t_peaks", "t_offsets")


@dataclass(frozen=True)
class Delineation:
    """Marks of n beats in one lead, in samples of the signal that was delineated.

    Attributes:
        r_peaks: (n,) R peaks, ascending.
        p_onsets: (n,) as all that follow: the mark that belongs to each R peak, NaN where the wave was not found.
        p_peaks: Peaks of P.
        p_offsets: Ends of P.
        qrs_onsets: Starts of QRS.
        qrs_offsets: Ends of QRS.
        t_onsets: Starts of T.
        t_peaks: Peaks of T, upright or inverted.
        t_offsets: Ends of T.
        quality: In [0, 1]: the mean correlation of the beats with their median beat, times the share of plausible RR
            intervals (20 to 240 per minute), times the share of pieces of 100 ms that have no unknown sample and are
            not flat. 0 where fewer than two beats were found.
        failures: How often something was not possible, by reason, e.g. ``{"P not found": 2}``.
    """

    r_peaks: Samples
    p_onsets: Samples
    p_peaks: Samples
    p_offsets: Samples
    qrs_onsets: Samples
    qrs_offsets: Samples
    t_onsets: Samples
    t_peaks: Samples
    t_offsets: Samples
    quality: float
    failures: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of beats."""
        return len(self.r_peaks)


def delineate(signal: ArrayLike, sampling_rate: float) -> Delineation:
    """Find the waves of one lead.

    No recording is too bad: of a flat lead, noise or a lead that is off, the result has few or no beats, a low quality,
    and the reasons in ``failures``.

    Args:
        signal: (T,) one lead in mV. Gaps (NaN) of up to half of it are bridged by straight lines.
        sampling_rate: In Hz.

    Returns:
        Marks in samples, as floats: a mark may lie between two samples where the signal was resampled.

    Raises:
        ValueError: If the signal is not one-dimensional or the sampling rate is not positive.
        MissingExtraError: If NeuroKit2 is not installed.

    References:
        Kalidas V, Tamil L. Real-time QRS detector using stationary wavelet transform for automated ECG analysis.
        IEEE BIBE 2017. doi:10.1109/BIBE.2017.00-12
        Martínez JP, Almeida R, Olmos S, Rocha AP, Laguna P. A wavelet-based ECG delineator: evaluation on standard
        databases. IEEE Trans Biomed Eng 51(4):570-581, 2004. doi:10.1109/TBME.2003.821031

    Example:
        >>> found = delineate(np.zeros(5000), 500)
        >>> len(found), found.quality, found.failures
        (0, 0.0, {'flat lead': 1})
    """
    x = np.asarray(signal, np.float64)
    if x.ndim != 1:
        raise ValueError(f"signal must be one lead of shape (T,); got shape {x.shape}")
    if not sampling_rate > 0:
        raise ValueError(f"sampling_rate must be positive (Hz); got {sampling_rate}")
    failures: Counter[str] = Counter()
    filled = bridged(x)
    if len(x) < SHORTEST_S * sampling_rate:
        failures[f"shorter than {SHORTEST_S:g} s"] += 1
    elif filled is None:
        failures["more than half of the samples unknown"] += 1
    elif np.ptp(filled) < FLAT_MV:
        failures["flat lead"] += 1
    if failures or filled is None:
        return _marks({}, np.zeros(0), 1.0, 0.0, failures)
    clean = prepare(filled[None], sampling_rate, Preprocessing(sampling_rate=RATE))[0].astype(np.float64)
    factor = sampling_rate / RATE
    found = guarded("R peaks", failures, lambda: detect_r_peaks(clean))
    peaks = np.zeros(0, np.int64) if found is None else np.unique(np.asarray(found, np.int64))
    if not len(peaks):
        failures["no R peak"] += 1
        return _marks({}, peaks, factor, 0.0, failures)
    return _marks(_waves(clean, peaks), peaks, factor, quality(clean, peaks) * measured(x, sampling_rate), failures)


def bridged(x: Samples) -> Samples | None:
    """The signal with straight lines across gaps (NaN, inf); None where more than half of it is unknown."""
    known = np.isfinite(x)
    if known.all():
        return x if len(x) else None
    if known.mean() < 1 - MOST_UNKNOWN:
        return None
    places = np.arange(len(x))
    return np.asarray(np.interp(places, places[known], x[known]), np.float64)


def measured(x: Samples, sampling_rate: float) -> float:
    """Share of a recording, in pieces of 100 ms, in which something was measured: no sample unknown, not flat."""
    size = max(2, round(0.1 * sampling_rate))
    pieces = x[: len(x) // size * size].reshape(-1, size)
    with np.errstate(invalid="ignore"):  # inf - inf
        moves = np.ptp(pieces, axis=1) > STILL_MV
    return float((np.isfinite(pieces).all(axis=1) & moves).mean())


def quality(clean: Samples, peaks: NDArray[np.int64]) -> float:
    """Mean correlation of beats with the median beat, times the share of plausible RR intervals; at :data:`RATE`."""
    before, after = round(0.2 * RATE), round(0.4 * RATE)
    whole = peaks[(peaks >= before) & (peaks + after <= len(clean))]
    if len(whole) < 2:
        return 0.0
    beats = np.stack([clean[p - before : p + after] for p in whole])
    beats -= beats.mean(axis=1, keepdims=True)
    template = np.median(beats, axis=0)
    template -= template.mean()
    scale = np.linalg.norm(beats, axis=1) * np.linalg.norm(template)
    similar = np.divide(beats @ template, scale, out=np.zeros(len(beats)), where=scale > 0)
    rr = np.diff(peaks) / RATE
    plausible = (rr >= PLAUSIBLE_RR_S[0]) & (rr <= PLAUSIBLE_RR_S[1])
    return float(np.clip(similar, 0, 1).mean() * plausible.mean())


def _neurokit() -> Any:
    return require("neurokit2", "features")


def guarded(step: str, failures: Counter[str], call: Callable[[], Any]) -> Any:
    """The result of a call of NeuroKit2; None where it fails, which is counted: it raises many types."""
    _neurokit()  # a missing package is no failure of a recording
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return call()
    except Exception as error:
        failures[f"{step}: {type(error).__name__}"] += 1
        return None


def detect_r_peaks(clean: Samples) -> list[int]:
    """Detections of the wavelet detector, which lie some 50 ms beside the peak, moved to it."""
    found = _neurokit().ecg_findpeaks(clean, sampling_rate=RATE, method="kalidas2017")["ECG_R_Peaks"]
    near, wide = round(NEAR_S * RATE), round(0.3 * RATE)
    peaks = []
    for p in np.asarray(found, np.int64):
        first = max(p - near, 0)
        level = np.median(clean[max(p - wide, 0) : p + wide])
        around = clean[first : p + near + 1] - level
        up = around.max()
        down = -around.min()
        peaks.append(int(first + (around.argmax() if up >= UPRIGHT * down else around.argmin())))
    return peaks


def _waves(clean: Samples, peaks: NDArray[np.int64]) -> dict[str, Samples]:
    """Marks of QRS, T and P by name, (n,) each."""
    qrs_on, qrs_off = waves.qrs_bounds(clean, peaks)
    t = waves.t_waves(clean, peaks, qrs_on, qrs_off)
    p, heights = waves.p_candidates(clean, peaks, qrs_on, t[:, 2])
    p[~p_presence.present(clean, qrs_on, p[:, 1], heights)] = np.nan
    marks = {"p_onsets": p[:, 0], "p_peaks": p[:, 1], "p_offsets": p[:, 2], "qrs_onsets": qrs_on}
    return marks | {"qrs_offsets": qrs_off, "t_onsets": t[:, 0], "t_peaks": t[:, 1], "t_offsets": t[:, 2]}


def _marks(
    found: dict[str, Samples], peaks: NDArray[Any], factor: float, grade: float, failures: Counter[str]
) -> Delineation:
    """Marks per beat, in samples of the original signal."""
    r_peaks = np.asarray(peaks, np.float64) * factor
    marks = {name: found.get(name, np.full(len(peaks), np.nan)) * factor for name in BESIDE_R}
    _drop_disordered(marks, r_peaks)
    for wave in WAVES:
        missing = int(np.isnan(marks[f"{wave}_onsets"]).sum())
        if missing:
            failures[f"{wave.upper()} not found"] += missing
    return Delineation(r_peaks, **marks, quality=grade, failures=dict(failures))


def _drop_disordered(marks: dict[str, Samples], r_peaks: Samples) -> None:
    """NaN for a wave whose marks are not in the order onset, offset, or on the wrong side of the R peak."""
    for wave in WAVES:
        onsets, offsets = marks[f"{wave}_onsets"], marks[f"{wave}_offsets"]
        bad = ~(onsets < offsets)
        if wave == "p":
            bad |= ~(offsets <= r_peaks)
        elif wave == "qrs":
            bad |= ~((onsets <= r_peaks) & (r_peaks <= offsets))
        else:
            bad |= ~(onsets >= r_peaks)
        for name in (f"{wave}_onsets", f"{wave}_peaks", f"{wave}_offsets"):
            if name in marks:
                marks[name][bad] = np.nan
