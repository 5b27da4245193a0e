"""Synthetic recording noise of the three kinds in the MIT-BIH noise stress test database, and mixtures of them.

They are baseline wander (bw there), electrode motion (em) and muscle artefact (ma).

Moody, Muldrow, Mark: A noise stress test for arrhythmia detectors. Computers in Cardiology 11:381-384, 1984. Each
function returns (rows, length) noise with mean square 1 per row, from a generator that the caller passes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

BASELINE_HZ = (0.05, 0.7)  # breathing and slow drift of the electrode potential
MUSCLE_HZ = (5.0, 40.0)  # the part of muscle activity that survives the pass band of an ECG
ENVELOPE_HZ = (0.05, 0.8)  # how fast muscle activity comes and goes
EVENTS_PER_SECOND = 0.4  # how often an electrode's contact slips
_LEAST_RATE_HZ = 121.0  # twice 60 Hz and the drift of its frequency
DECAY_SECONDS = (0.1, 1.0)  # range of the time constant after which the step has decayed to 1/e


def baseline_wander(rows: int, length: int, sampling_rate: float, generator: Generator) -> Tensor:
    """Slow drift with a 1/f spectrum between 0.05 and 0.7 Hz.

    Example:
        >>> x = baseline_wander(2, 1000, 100.0, torch.Generator().manual_seed(0))
        >>> x.shape, round(float(x.square().mean()), 4)
        (torch.Size([2, 1000]), 1.0)
    """
    return unit_rms(_band_noise(rows, length, sampling_rate, BASELINE_HZ, generator, exponent=1.0))


def electrode_motion(rows: int, length: int, sampling_rate: float, generator: Generator) -> Tensor:
    """Sudden steps at random times (one at least) that decay exponentially, as when an electrode's contact slips.

    Example:
        >>> electrode_motion(2, 1000, 100.0, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 1000])
    """
    device = generator.device
    happens = torch.rand(rows, length, generator=generator, device=device) < EVENTS_PER_SECOND / sampling_rate
    first = torch.randint(max(1, length // 2), (rows, 1), generator=generator, device=device)
    happens.scatter_(1, first, True)
    steps = happens * torch.randn(rows, length, generator=generator, device=device)
    low, high = DECAY_SECONDS
    decay = low + (high - low) * torch.rand(rows, 1, generator=generator, device=device)
    time = torch.arange(length, device=device) / sampling_rate
    kernel = torch.exp(-time / decay)
    twice = 2 * length  # zero padding makes the circular convolution a linear one
    settled = torch.fft.irfft(torch.fft.rfft(steps, twice) * torch.fft.rfft(kernel, twice), twice)[:, :length]
    return unit_rms(settled - settled.mean(1, keepdim=True))


def muscle_activity(rows: int, length: int, sampling_rate: float, generator: Generator) -> Tensor:
    """Noise between 5 and 40 Hz in bursts, as from a patient who moves.

    Example:
        >>> muscle_activity(2, 1000, 100.0, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 1000])
    """
    carrier = unit_rms(_band_noise(rows, length, sampling_rate, MUSCLE_HZ, generator))
    envelope = unit_rms(_band_noise(rows, length, sampling_rate, ENVELOPE_HZ, generator)).square()
    return unit_rms(carrier * (0.2 + envelope))


def mains_hum(rows: int, length: int, sampling_rate: float, generator: Generator) -> Tensor:
    """Hum of the mains at 50 or 60 Hz, with its third harmonic where the sampling rate can hold it.

    Raises:
        ValueError: If the sampling rate is below 121 Hz.

    Example:
        >>> mains_hum(2, 1000, 500.0, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 1000])
    """
    if sampling_rate < _LEAST_RATE_HZ:
        raise ValueError(f"hum of the mains needs a rate of at least {_LEAST_RATE_HZ:g} Hz; got {sampling_rate:g} Hz")
    fifty, phase, harmonic, drift = torch.rand(4, rows, 1, generator=generator, device=generator.device)
    hertz = torch.where(fifty < 0.5, 50.0, 60.0) + 0.2 * (drift - 0.5)  # the frequency of the mains varies a little
    turns = hertz * torch.arange(length, device=generator.device) / sampling_rate
    hum = torch.sin(2 * torch.pi * (turns + phase))
    if sampling_rate > _LEAST_RATE_HZ * 3:
        hum = hum + 0.3 * harmonic * torch.sin(6 * torch.pi * (turns + harmonic))
    return unit_rms(hum)


def mixture(rows: int, length: int, sampling_rate: float, generator: Generator) -> Tensor:
    """A random convex mixture of the three, per row.

    Example:
        >>> mixture(2, 1000, 100.0, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 1000])
    """
    parts = torch.stack(
        [make(rows, length, sampling_rate, generator) for make in (baseline_wander, electrode_motion, muscle_activity)]
    )
    share = torch.rand(3, rows, 1, generator=generator, device=generator.device)
    return unit_rms((share / share.sum(0) * parts).sum(0))


NoiseMaker = Callable[[int, int, float, Generator], Tensor]
MAKERS: dict[str, NoiseMaker] = {
    "motion": muscle_activity,
    "electrode": electrode_motion,
    "baseline": baseline_wander,
    "mixture": mixture,
    "mains": mains_hum,
}


def _band_noise(
    rows: int,
    length: int,
    sampling_rate: float,
    band: tuple[float, float],
    generator: Generator,
    exponent: float = 0.0,
) -> Tensor:
    """Gaussian noise whose amplitude spectrum is 1 / f^exponent in the band and 0 outside."""
    white = torch.randn(rows, length, generator=generator, device=generator.device)
    frequency = torch.fft.rfftfreq(length, 1 / sampling_rate, device=generator.device)
    resolution = sampling_rate / length
    # A window may be too short to hold any frequency of the band: the lowest one that it can hold is then used.
    low, high = min(band[0], 0.45 * sampling_rate), max(band[1], 1.01 * resolution)
    inside = (frequency >= low) & (frequency <= high) & (frequency > 0)
    shape = torch.where(inside, frequency.clamp(min=resolution) ** -exponent, torch.zeros_like(frequency))
    noise: Tensor = torch.fft.irfft(torch.fft.rfft(white) * shape, length)
    return noise


def unit_rms(x: Tensor) -> Tensor:
    """Rows scaled to mean square 1."""
    return x / x.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)
