"""Thumbnails of recordings: ten seconds of up to eight leads in a byte per sample, to find altered copies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require

LENGTH_S, RATE = 10.0, 32
SAMPLES = int(LENGTH_S * RATE)
#: Of twelve leads, the eight that the others follow from.
PREFERRED = ("II", "I", "V2", "V5", "V1", "V3", "V4", "V6")
SLOTS = len(PREFERRED)
_AVERAGED_HZ = 100.0  # samples are added up to about this rate first, since the filter takes longer
_PASS_HZ, _STOP_HZ = 7.0, 16.0
_CLIP = 10.0  # times the root mean square: an artefact must not flatten the beats


def thumbnail(leads: Sequence[str], signal: np.ndarray, sampling_rate: float) -> NDArray[np.int8]:
    """Low-pass the first ten seconds of up to eight leads, and keep 32 samples per second.

    A thumbnail of another sampling rate, gain or polarity differs by no more than rounding and sign.

    Args:
        leads: Lead names; those of `PREFERRED` come first, then the others in their order.
        signal: ``(leads, samples)`` in any unit, band-passed.
        sampling_rate: In Hz.

    Returns:
        ``(8, 320)`` int8, each lead scaled by itself; zeros for leads that are not there or do not vary, and after the
        end of a shorter recording.

    Example:
        >>> x = np.sin(np.arange(5000) / 40.0, dtype=np.float32)[None]
        >>> a, b = thumbnail(("V1",), x, 500.0), thumbnail(("V1",), -3 * x, 500.0)
        >>> a.shape, np.array_equal(a, -b)
        ((8, 320), True)
    """
    length = round(LENGTH_S * sampling_rate)
    averaged = max(1, int(sampling_rate / _AVERAGED_HZ))
    if length % averaged:
        averaged = 1
    samples = min(signal.shape[1], length) // averaged * averaged
    x = signal[_chosen(tuple(leads))][:, :samples].astype(np.float32)
    if averaged > 1:
        x = (x.reshape(-1, averaged) @ np.ones(averaged, np.float32)).reshape(len(x), -1)
    x -= x.mean(axis=1, keepdims=True)
    fft = require("scipy.fft", "data")
    spectrum = fft.rfft(x, length // averaged)[:, : SAMPLES // 2 + 1] * _response(length, averaged)
    low = fft.irfft(spectrum, SAMPLES)
    low[:, int(samples / sampling_rate * RATE) :] = 0
    largest = np.minimum(np.abs(low).max(axis=1), _CLIP * np.sqrt(np.square(low).mean(axis=1)))
    found = np.zeros((SLOTS, SAMPLES), np.int8)
    found[: len(x)] = np.rint(low * (127.0 / np.maximum(largest, 1e-30)[:, None])).clip(-127, 127)
    return found


def valid_samples(thumbnails: NDArray[np.int8]) -> NDArray[np.int64]:
    """How many samples of each of (n, 8, 320) thumbnails lie before its end, (n,).

    Example:
        >>> x = np.zeros((1, SLOTS, SAMPLES), np.int8)
        >>> x[0, 0, :100] = 1
        >>> valid_samples(x).tolist(), valid_samples(0 * x).tolist()
        ([100], [0])
    """
    varies = (thumbnails != 0).any(axis=1)
    return np.where(varies.any(axis=1), SAMPLES - np.argmax(varies[:, ::-1], axis=1), 0)


def lead_counts(thumbnails: NDArray[np.int8]) -> NDArray[np.int64]:
    """How many leads of each of (n, 8, 320) thumbnails vary, (n,).

    Example:
        >>> lead_counts(np.zeros((2, SLOTS, SAMPLES), np.int8)).tolist()
        [0, 0]
    """
    return np.asarray((thumbnails != 0).any(axis=2).sum(axis=1))


@lru_cache
def _chosen(leads: tuple[str, ...]) -> list[int]:
    """Which leads are kept, in this order."""
    order = sorted(range(len(leads)), key=lambda i: PREFERRED.index(leads[i]) if leads[i] in PREFERRED else SLOTS)
    return order[:SLOTS]


@lru_cache
def _response(length: int, averaged: int) -> NDArray[np.complex64]:
    """Response of the low-pass filter at the frequencies of a thumbnail, over that of sums of some samples."""
    k = np.arange(SAMPLES // 2 + 1)
    falling = np.clip((k / LENGTH_S - _PASS_HZ) / (_STOP_HZ - _PASS_HZ), 0, 1)
    sums = np.exp(2j * np.pi * np.outer(k, np.arange(averaged)) / length).sum(axis=1)
    return np.asarray((0.5 + 0.5 * np.cos(np.pi * falling)) / sums, np.complex64)
