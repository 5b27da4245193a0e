"""Times and origins of the beats of a synthetic recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

SINUS, PAC, PVC = 0, 1, 2
"""Origin of a beat: sinus node, premature atrial, premature ventricular."""

EDGE = 0.8
"""Seconds simulated before and after the recording: waves of beats outside reach into it."""


@dataclass(frozen=True)
class RhythmTraits:
    """What the beats of one patient are drawn from.

    Attributes:
        rate: Mean rate, 1/min.
        variability: Standard deviation of the RR intervals as a fraction of their mean, approximately.
        pvc_probability: Probability that a sinus beat is followed by a premature ventricular beat.
        pac_probability: Probability that a sinus beat is followed by a premature atrial beat.
    """

    rate: float
    variability: float
    pvc_probability: float
    pac_probability: float


@dataclass(frozen=True)
class Rhythm:
    """Beats of one recording.

    Attributes:
        times: (B,) R peaks, s from the start of the recording.
        origins: (B,) `SINUS`, `PAC` or `PVC`.
        breathing_rate: Hz.
        breathing_phase: Phase of the breathing at the start, rad.
    """

    times: npt.NDArray[np.float64]
    origins: npt.NDArray[np.int64]
    breathing_rate: float
    breathing_phase: float

    def inside(self, seconds: float) -> npt.NDArray[np.bool_]:
        """Return (B,) whether the R peak lies within the recording."""
        return (self.times >= 0) & (self.times < seconds)

    def heart_rate(self, seconds: float) -> float:
        """Return the mean rate (1/min) over the beats within the recording, premature ones included."""
        times = self.times[self.inside(seconds)]
        return float(60 * (len(times) - 1) / (times[-1] - times[0]))

    def ectopy(self, seconds: float) -> tuple[str, ...]:
        """Return the kinds of premature beats whose R peak lies within the recording: "PAC", "PVC"."""
        origins = self.origins[self.inside(seconds)]
        return tuple(name for name, origin in (("PAC", PAC), ("PVC", PVC)) if (origins == origin).any())

    def breath(self, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the excursion of the chest, in [-1, 1], at the given times in s."""
        return np.sin(2 * np.pi * self.breathing_rate * times + self.breathing_phase)


def draw_rhythm(traits: RhythmTraits, seconds: float, rng: np.random.Generator) -> Rhythm:
    """Draw the beats: RR intervals with respiratory (0.2-0.33 Hz) and 0.1 Hz modulation, jitter and premature beats.

    A PVC leaves the sinus node undisturbed (the next sinus beat comes when it would have: full compensatory pause);
    a PAC resets it (the pause is shorter).
    """
    breathing_rate, breathing_phase, slow_phase = rng.uniform([0.2, 0, 0], [0.33, 2 * np.pi, 2 * np.pi])
    mean = 60 / traits.rate
    time = -EDGE - 2 * mean * rng.random()
    times, origins = [time], [SINUS]
    while time < seconds + EDGE:
        breath = np.sin(2 * np.pi * breathing_rate * time + breathing_phase)
        slow = np.sin(2 * np.pi * 0.1 * time + slow_phase)
        interval = mean * (1 + traits.variability * (breath + 0.6 * slow + 0.4 * rng.standard_normal()))
        chance, coupling = rng.random(2)
        if origins[-1] == SINUS and chance < traits.pvc_probability:
            times.append(time + (0.55 + 0.15 * coupling) * interval)
            origins.append(PVC)
            time += 2 * interval
        elif origins[-1] == SINUS and chance < traits.pvc_probability + traits.pac_probability:
            time += (0.65 + 0.15 * coupling) * interval
            times.append(time)
            origins.append(PAC)
            continue
        else:
            time += interval
        times.append(time)
        origins.append(SINUS)
    return Rhythm(np.array(times), np.array(origins), float(breathing_rate), float(breathing_phase))
