"""Heart vector of the synthetic cohort: waves as Gaussians in time, each along its own dipole (x left, y foot, z back).

The idea is that of McSharry et al. (IEEE Trans Biomed Eng 2003;50:289-294) carried to three dimensions by Sameni et
al. (EURASIP J Adv Signal Process 2007:043407); the waves are placed in time after each R peak rather than in phase,
so that the PR, QRS and QT intervals are stated in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgloss.data.synthetic.rhythm import PAC, PVC, Rhythm

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

# Order of the waves: P (right, left atrium), Q (septum), R (apex), S (posterior wall), S' (base), ST, T (rise, fall).
P, QRS, ST, T = slice(0, 2), slice(2, 6), slice(6, 7), slice(7, 9)

DIPOLES = np.array(  # mV, a textbook heart; the wave in a lead is the projection of these on that lead
    [
        [0.04, 0.10, -0.04],
        [0.06, 0.05, 0.04],
        [-0.12, -0.04, -0.26],
        [1.20, 0.64, 0.15],
        [0.12, 0.00, 0.85],
        [-0.22, -0.10, 0.12],
        [0.02, 0.01, -0.04],
        [0.18, 0.09, -0.15],
        [0.20, 0.10, -0.14],
    ]
)
WIDTHS = np.array([0.014, 0.016, 0.007, 0.010, 0.009, 0.008, 0.038, 0.052, 0.036])  # s, standard deviations
P_CENTRES = np.array([0.032, 0.060])  # s after the onset of P
QRS_CENTRES = np.array([-0.022, 0.0, 0.021, 0.036])  # s after R, at normal conduction
T_CENTRES = np.array([-0.108, -0.072])  # s before the end of T

PVC_DIPOLES = np.array([0.55, 1.0, 0.35, -0.10])  # of the ventricular ectopic vector, at the four QRS waves
PVC_CENTRES = np.array([-0.030, 0.005, 0.040, 0.062])
PVC_WIDTHS = np.array([0.018, 0.022, 0.022, 0.018])
BEFORE, AFTER = 0.45, 0.75  # s around R that hold every wave of one beat


@dataclass(frozen=True)
class Heart:
    """One patient's anatomy and conduction.

    Attributes:
        dipoles: (3 origins, 9 waves, 3 axes), mV.
        pr: Onset of P to onset of QRS, s.
        conduction: Factor on the timing and width of the QRS waves.
        qtc: QT interval at 60 beats per minute (Fridericia), s.
    """

    dipoles: Array
    pr: float
    conduction: float
    qtc: float

    @property
    def qrs_onset(self) -> float:
        """Onset of QRS, s relative to R (two standard deviations before the centre of Q)."""
        return float(self.conduction * (QRS_CENTRES[0] - 2 * WIDTHS[2]))

    @property
    def qrs_duration(self) -> float:
        """Onset of Q to the end of the last S wave, s."""
        return float(self.conduction * (QRS_CENTRES[-1] + 2 * WIDTHS[5])) - self.qrs_onset

    def qt(self, rr: Array) -> Array:
        """QT interval for RR intervals in s: ``qtc * rr**(1/3)`` (Fridericia 1920)."""
        return self.qtc * np.cbrt(rr)


def make_dipoles(sinus: Array, atrial_focus: Array, ventricular_focus: Array) -> Array:
    """Return the dipoles of the three origins, (3, 9, 3).

    A PAC has a P wave of its own; a PVC has no P, a wide QRS, and ST and T of the opposite sign.
    """
    pac = sinus.copy()
    pac[P] = atrial_focus / 2
    pvc = np.zeros_like(sinus)
    pvc[QRS] = PVC_DIPOLES[:, None] * ventricular_focus
    pvc[ST] = -0.10 * ventricular_focus
    pvc[T] = -0.22 * ventricular_focus
    return np.stack([sinus, pac, pvc])


def rotation(frontal: float, transverse: float) -> Array:
    """Return the matrix that turns a row vector ``frontal`` degrees towards the feet and ``transverse`` to the back."""
    a, b = np.deg2rad([frontal, transverse])
    towards_feet = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
    towards_back = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return np.asarray(towards_back @ towards_feet)


def render(heart: Heart, rhythm: Rhythm, gains: Array, sampling_rate: float, n_samples: int) -> Array:
    """Heart vector of a whole recording.

    Args:
        heart: The patient.
        rhythm: B beats.
        gains: (B,) factor on the amplitude of each beat (breathing, beat-to-beat variation).
        sampling_rate: Hz.
        n_samples: Length of the recording.

    Returns:
        (3, n_samples) x, y, z in mV.
    """
    centres, widths = _schedule(heart, rhythm)
    first = np.floor((rhythm.times - BEFORE) * sampling_rate).astype(np.int64)
    span = int(np.ceil((BEFORE + AFTER) * sampling_rate)) + 1
    clock = (first[:, None] + np.arange(span)) / sampling_rate - rhythm.times[:, None]  # (B, span) s after R
    phase = (clock[:, None, :] - centres[:, :, None]) / widths[:, :, None]  # (B, 9, span)
    dipoles = heart.dipoles[rhythm.origins] * gains[:, None, None]  # (B, 9, 3)
    beats = dipoles.transpose(0, 2, 1) @ np.exp(-0.5 * phase**2)  # (B, 3, span)

    vector = np.zeros((3, n_samples))
    for start, beat in zip(first.tolist(), beats):
        low, high = max(start, 0), min(start + span, n_samples)
        if low < high:
            vector[:, low:high] += beat[:, low - start : high - start]
    return vector


def _schedule(heart: Heart, rhythm: Rhythm) -> tuple[Array, Array]:
    """Return centres and widths of all waves, (B, 9) each, in s after their R peak."""
    preceding = np.diff(rhythm.times, prepend=2 * rhythm.times[0] - rhythm.times[1])
    qt = heart.qt(0.7 * preceding.mean() + 0.3 * preceding)  # QT follows the rate with a lag
    ventricular, early = rhythm.origins == PVC, rhythm.origins == PAC
    sinus_end = heart.qrs_onset + heart.qrs_duration
    p_onset = heart.qrs_onset - heart.pr + 0.01 * early

    centres = np.empty((len(rhythm.times), 9))
    centres[:, P] = p_onset[:, None] + P_CENTRES
    centres[:, QRS] = np.where(ventricular[:, None], PVC_CENTRES, heart.conduction * QRS_CENTRES)
    centres[:, ST] = np.where(ventricular, 0.14, sinus_end + 0.055)[:, None]
    centres[:, T] = (heart.qrs_onset + qt + 0.04 * ventricular)[:, None] + T_CENTRES
    widths = np.tile(WIDTHS, (len(rhythm.times), 1))
    widths[:, QRS] = np.where(ventricular[:, None], PVC_WIDTHS, heart.conduction * WIDTHS[QRS])
    widths[:, T] *= np.clip(qt / 0.4, 0.8, 1.1)[:, None]
    return centres, widths
