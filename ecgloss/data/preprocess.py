"""Preprocessing of signals: gaps are interpolated, then all are resampled to one rate and band-passed.

The pass band (0.67-40 Hz, Butterworth of order 5, zero phase) is that of CLEF (arXiv 2512.02180, section on
preprocessing). Second-order sections are used because a transfer function of this order is not stable in
floating point at such a low edge.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from ecgloss._extras import require
from ecgloss._value_types import check_values, shortened
from ecgloss.data.recording import normalise_lead

#: Accepted rates in Hz. One outside is a mistake in a header; resampling from it could need any amount of memory.
SAMPLING_RATES = (20.0, 100_000.0)
_LARGEST_DENOMINATOR = 1000  # of the resampling ratio, which is 500/257 from 257 Hz to 500 Hz
NORMALISATIONS = ("recording", "dataset", "none")
_UNITS = "mV"
_LATER = {"notch_hz": None, "normalisation": "recording", "scale_mv": None, "units": _UNITS}  # fields files may lack
_NOTCH_QUALITY = 30.0
_HIGHEST_ORDER = 20
_FLAT = 1e-6  # a lead that varies by less than this part of its level holds rounding errors, not an ECG


@dataclass(frozen=True)
class Preprocessing:
    """What is done to every signal before an encoder sees it; kept in checkpoints and, but for the end, in caches.

    Attributes:
        sampling_rate: Rate in Hz to which all recordings are resampled.
        low_hz: Lower edge of the pass band in Hz.
        high_hz: Upper edge of the pass band in Hz, below half of the sampling rate.
        order: Order of the Butterworth filter (applied forwards and backwards).
        leads: Leads to keep, in this order; None keeps all leads of a recording.
        notch_hz: Frequency of mains hum that is taken out by a notch of 1/30 of its width, 50 or 60 Hz; None: none is.
        normalisation: What is done to a window, which is no part of what is stored: "recording", each lead of it is
            z-scored by itself; "dataset", mV are divided by ``scale_mv``; "none", it stays in mV.
        scale_mv: Root mean square of the training recordings in mV, for the normalisation "dataset"; None until it is
            known.

    Raises:
        ValueError: If a rate, an edge, the order or the list of leads makes no sense.

    Example:
        >>> Preprocessing(sampling_rate=250.0, leads=("ii", "avr")).leads
        ('II', 'aVR')
    """

    sampling_rate: float = 500.0
    low_hz: float = 0.67
    high_hz: float = 40.0
    order: int = 5
    leads: tuple[str, ...] | None = None
    notch_hz: float | None = None
    normalisation: str = "recording"
    scale_mv: float | None = None

    def __post_init__(self) -> None:
        _check_rate(self.sampling_rate)
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}; got {self.normalisation!r}")
        if self.scale_mv is not None and not 0 < self.scale_mv < math.inf:
            raise ValueError(f"scale_mv must be positive, in mV; got {self.scale_mv}")
        if self.notch_hz is not None and not 0 < self.notch_hz < self.sampling_rate / 2:
            raise ValueError(
                f"notch_hz must be below half the sampling rate ({self.sampling_rate / 2:g} Hz); got {self.notch_hz}"
            )
        if not 0.0 < self.low_hz < self.high_hz:
            raise ValueError(
                f"low_hz and high_hz must satisfy 0 < low_hz < high_hz, got {self.low_hz} and {self.high_hz}"
            )
        if self.high_hz >= self.sampling_rate / 2:
            raise ValueError(
                f"high_hz must be below half the sampling rate ({self.sampling_rate / 2:g} Hz), got {self.high_hz:g} Hz"
            )
        if not 1 <= self.order <= _HIGHEST_ORDER:
            raise ValueError(f"order must lie between 1 and {_HIGHEST_ORDER}, got {self.order}")
        if self.leads is not None:
            if isinstance(self.leads, str) or not self.leads:
                raise ValueError(f"leads must be a non-empty sequence of lead names, got {self.leads!r}")
            leads = tuple(normalise_lead(lead) for lead in self.leads)
            if len(set(leads)) < len(leads):
                raise ValueError(f"leads must not repeat a lead, got {', '.join(leads)}")
            object.__setattr__(self, "leads", leads)

    def stored(self) -> Preprocessing:
        """What is done to signals before they are stored: all but the normalisation.

        Example:
            >>> Preprocessing(normalisation="none").stored() == Preprocessing()
            True
        """
        return replace(self, normalisation=NORMALISATIONS[0], scale_mv=None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file.

        Example:
            >>> Preprocessing(leads=("I",)).to_json()["leads"]
            ['I']
        """
        fields = asdict(self)
        return fields | {"leads": None if self.leads is None else list(self.leads), "units": _UNITS}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Preprocessing:
        """Build from what `to_json` returned.

        Raises:
            ValueError: If a field is missing, unknown or of the wrong kind.

        Example:
            >>> Preprocessing.from_json(Preprocessing(order=3).to_json()).order
            3
        """
        expected = {"sampling_rate", "low_hz", "high_hz", "order", "leads"}
        if not isinstance(fields, dict) or not expected <= set(fields) <= {*expected, *_LATER}:
            raise ValueError(f"preprocessing must have the fields {sorted(expected)}, got {shortened(fields)}")
        fields = {**_LATER, **fields}
        check_values(cls, fields)
        if fields["units"] != _UNITS:
            raise ValueError(f"preprocessing: units must be {_UNITS}, got {fields['units']!r}")
        return cls(
            sampling_rate=float(fields["sampling_rate"]),
            low_hz=float(fields["low_hz"]),
            high_hz=float(fields["high_hz"]),
            order=fields["order"],
            leads=None if fields["leads"] is None else tuple(fields["leads"]),
            notch_hz=None if fields["notch_hz"] is None else float(fields["notch_hz"]),
            normalisation=fields["normalisation"],
            scale_mv=None if fields["scale_mv"] is None else float(fields["scale_mv"]),
        )


def prepare(signal: np.ndarray, sampling_rate: float, preprocessing: Preprocessing) -> np.ndarray:
    """Interpolate gaps, resample and band-pass a signal.

    Missing samples are interpolated linearly per lead (the nearest value at the ends); a lead without any
    variation, or without a single sample, becomes zeros. The signal is then resampled with a polyphase filter
    by a rational ratio, and filtered without phase shift.

    Args:
        signal: ``(leads, samples)`` in mV, NaN (or infinite) where missing.
        sampling_rate: Its rate in Hz.
        preprocessing: Target rate and pass band. Its ``leads`` are not used here: a plain signal has no names.

    Returns:
        ``(leads, new samples)`` float32 in mV, finite.

    Raises:
        ValueError: If the signal is not two-dimensional, too short for the filter, or its rate is impossible.

    Example:
        >>> prepare(np.full((2, 1000), np.nan), 100.0, Preprocessing()).shape
        (2, 5000)
    """
    if signal.ndim != 2 or signal.shape[0] == 0:
        raise ValueError(f"signal must be (leads, samples) with at least one lead, got shape {signal.shape}")
    _check_rate(sampling_rate)
    scipy_signal = require("scipy.signal", "data")
    rate = preprocessing.sampling_rate
    band = (preprocessing.low_hz, preprocessing.high_hz)
    sections, states = _sections(preprocessing.order, band, preprocessing.notch_hz, rate)
    ratio = Fraction(rate / sampling_rate).limit_denominator(_LARGEST_DENOMINATOR)
    shortest = math.ceil(0.5 * sampling_rate)
    if signal.shape[1] < shortest:
        raise ValueError(f"too short: {signal.shape[1]} samples at {sampling_rate:g} Hz, needs {shortest}")
    filled = np.stack([_fill(lead) for lead in signal])
    flat = _is_flat(filled, axis=-1)
    if ratio != 1:
        # Subtract the mean: the gains of the polyphase filter's phases differ by 0.1 % at 0 Hz, so that an offset
        # would become ripple, and a step at the ends.
        filled -= filled.mean(axis=-1, keepdims=True)
        filled = scipy_signal.resample_poly(filled, ratio.numerator, ratio.denominator, axis=-1, padtype="line")
    # One period of the lower edge; scipy's default is far shorter and leaves transients at both ends.
    padding = min(filled.shape[1] - 1, math.ceil(rate / preprocessing.low_hz))
    out = _zero_phase(filled, sections, states, padding)
    out[flat] = 0.0
    return out.astype(np.float32)


def _zero_phase(signal: np.ndarray, sections: np.ndarray, states: np.ndarray, padding: int) -> np.ndarray:
    """Filter forwards and backwards: scipy's sosfiltfilt, or the same in C++, which takes several leads at once."""
    try:
        extension = importlib.import_module("ecgloss._C")
    except ImportError:  # it was not built
        return np.asarray(require("scipy.signal", "data").sosfiltfilt(sections, signal, axis=-1, padlen=padding))
    return np.asarray(extension.zero_phase(signal, sections, states, padding))


@lru_cache
def _sections(
    order: int, band: tuple[float, float], notch_hz: float | None, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Second-order sections of the band-pass filter and the notch, and their states after a constant input.

    They are kept: their design takes as long as their use.
    """
    scipy_signal = require("scipy.signal", "data")
    sections = scipy_signal.butter(order, band, "bandpass", fs=rate, output="sos")
    if notch_hz is not None:
        notch = scipy_signal.tf2sos(*scipy_signal.iirnotch(notch_hz, _NOTCH_QUALITY, fs=rate))
        sections = np.concatenate([sections, notch])
    return np.asarray(sections), np.asarray(scipy_signal.sosfilt_zi(sections))


def _check_rate(sampling_rate: float) -> None:
    """Refuse a rate that no ECG has, before memory is allocated in proportion to it."""
    low, high = SAMPLING_RATES
    if not low <= sampling_rate <= high:
        raise ValueError(f"sampling_rate must be between {low:g} and {high:g} Hz, got {sampling_rate:g}")


def _is_flat(x: np.ndarray, axis: int) -> np.ndarray:
    """Tell which leads vary by rounding errors only."""
    spread = x.max(axis=axis) - x.min(axis=axis)
    return np.asarray(spread <= _FLAT * np.abs(x).max(axis=axis))


def _fill(lead: np.ndarray) -> np.ndarray:
    """Interpolate the missing samples of one lead, because a filter spreads a NaN over the whole signal."""
    lead = lead.astype(np.float64)
    present = np.isfinite(lead)
    if present.all():
        return lead
    if not present.any():
        return np.zeros_like(lead)
    where = np.arange(len(lead))
    lead[~present] = np.interp(where[~present], where[present], lead[present])
    return lead
