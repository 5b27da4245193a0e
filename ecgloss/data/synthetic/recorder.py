"""The recorder of the synthetic cohort: electrode placement, disturbances, and the twelve leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

DOWER = np.array(  # Dower et al., J Electrocardiol 1980;13:385: heart vector (x left, y foot, z back) to I, II, V1..V6
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
ELECTRODES = np.zeros((8, 9))  # electrodes RA, LA, LL, V1..V6 to leads I, II, V1..V6 (Wilson's terminal as reference)
ELECTRODES[0, [0, 1]] = -1, 1
ELECTRODES[1, [0, 2]] = -1, 1
ELECTRODES[2:, :3] = -1 / 3
ELECTRODES[2:, 3:] = np.eye(6)
MUSCLE_BAND = (15.0, 120.0)


def twelve_leads(independent: Array) -> npt.NDArray[np.float32]:
    """Compute the 12 leads in float32 from I, II, V1..V6, (8, samples); I and II determine III, aVR, aVL and aVF."""
    independent = independent.astype(np.float32)
    one, two = independent[:2]
    half = np.float32(0.5)
    limb = [one, two, two - one, -half * (one + two), one - half * two, two - half * one]
    return np.concatenate([np.stack(limb), independent[2:]])


def placement_gain(chest_gain: Array, rng: np.random.Generator) -> Array:
    """Draw the gain of I, II, V1..V6 in one recording, (8,): chest wall, and placement of the electrodes."""
    return np.concatenate([np.ones(2), chest_gain]) * np.exp(np.repeat([0.05, 0.10], [2, 6]) * rng.standard_normal(8))


def disturbances(n_samples: int, sampling_rate: float, breath: Array, rng: np.random.Generator) -> Array:
    """Draw baseline wander, muscle noise and mains hum of nine electrodes, as (8, n_samples) in mV of I, II, V1..V6.

    The strength of each kind differs from recording to recording (log-normal around 40, 12 and 4 microvolts); the
    recorder's anti-alias filter removes what lies above 0.45 of the sampling rate.
    """
    wander, muscle, hum = np.array([0.04, 0.012, 0.004]) * np.exp([0.6, 0.5, 0.8] * rng.standard_normal(3))
    time = np.arange(n_samples) / sampling_rate
    electrodes = wander * _wander(time, breath, rng)
    mains = 50.0 if rng.random() < 0.6 else 60.0
    coupling, phase = rng.standard_normal(9), rng.uniform(0, 2 * np.pi)
    if mains < 0.45 * sampling_rate:
        electrodes += hum * coupling[:, None] * np.sin(2 * np.pi * mains * time + phase)
    electrodes += muscle * _muscle(n_samples, sampling_rate, rng)
    return np.asarray(ELECTRODES @ electrodes)


def _wander(time: Array, breath: Array, rng: np.random.Generator) -> Array:
    """Draw baseline wander, (9, samples) of spread about 1: breathing in all electrodes, and a drift in each."""
    frequency = rng.uniform(0.03, 0.4, (2, 9, 1))
    phase = rng.uniform(0, 2 * np.pi, (2, 9, 1))
    drift = (rng.standard_normal((2, 9, 1)) * np.sin(2 * np.pi * frequency * time + phase)).sum(axis=0)
    return np.asarray(drift + rng.normal(0.5, 0.5, (9, 1)) * breath)


def _muscle(n_samples: int, sampling_rate: float, rng: np.random.Generator) -> Array:
    """Draw Gaussian noise of 15-120 Hz, (9, samples), with the same spectral density at every sampling rate."""
    spectrum = np.fft.rfft(rng.standard_normal((9, n_samples)), axis=1)
    frequency = np.fft.rfftfreq(n_samples, 1 / sampling_rate)
    low, high = MUSCLE_BAND
    spectrum[:, (frequency < low) | (frequency > min(high, 0.45 * sampling_rate))] = 0
    density = np.sqrt(sampling_rate / 2 / (high - low))
    return np.asarray(density * rng.uniform(0.5, 1.5, (9, 1)) * np.fft.irfft(spectrum, n_samples, axis=1))
