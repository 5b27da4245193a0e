"""Parameters of a synthetic heart, drawn from risk factors and latent disease.

Every effect of risk on the ECG is in this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecgloss.data.synthetic.heart_vector import DIPOLES, QRS, ST, Heart, P, T, make_dipoles, rotation
from ecgloss.data.synthetic.population import LVH_THRESHOLD, LatentState, RiskFactors
from ecgloss.data.synthetic.rhythm import RhythmTraits

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

STRAIN_ST = np.array([-0.080, -0.010, 0.010])  # mV per unit of strain: ST away from the lateral wall (I, aVL, V5, V6)
STRAIN_T = np.array([-0.160, -0.030, 0.030])
MALE_ST = np.array([0.010, 0.005, -0.030])  # mV: the higher J point of men, most of it in V2 and V3
ISCHAEMIC_ST = np.array([-0.055, -0.050, 0.045])  # mV per unit: ST away from the apex (II, aVF, V4, V5)


@dataclass(frozen=True)
class Patient:
    """What stays the same in all recordings of one patient.

    Attributes:
        factors: Risk factors.
        latent: Latent disease.
        heart: Anatomy and conduction.
        traits: Rate, variability, ectopy.
        chest_gain: (6,) factor on V1..V6 from the chest wall.
    """

    factors: RiskFactors
    latent: LatentState
    heart: Heart
    traits: RhythmTraits
    chest_gain: Array


def draw_patient(factors: RiskFactors, latent: LatentState, rng: np.random.Generator) -> Patient:
    """Draw a heart: the effects of risk that `cohort` documents, plus individual variation unrelated to risk."""
    female = factors.sex == "female"
    older = factors.age - 58
    pr, conduction, qtc, wall = rng.standard_normal(4)
    heart = Heart(
        dipoles=_draw_dipoles(factors, latent, rng),
        pr=float(np.clip(0.158 + 0.0004 * older + 0.016 * pr, 0.115, 0.24)),
        conduction=float(np.clip(_conduction(factors, latent) + 0.06 * conduction, 0.8, 1.3)),
        qtc=float(np.clip(0.408 + 0.012 * female + 0.0002 * older + 0.014 * qtc, 0.36, 0.47)),
    )
    breast = np.array([1, 1, 0.93, 0.9, 0.9, 0.93]) if female else np.ones(6)
    return Patient(factors, latent, heart, _draw_traits(factors, latent, rng), breast * np.exp(0.06 * wall))


def _conduction(factors: RiskFactors, latent: LatentState) -> float:
    """Return the mean factor on the timing and width of the QRS waves; women's QRS is about 8 ms shorter."""
    sex = -0.04 if factors.sex == "female" else 0.04
    return 0.99 + sex + 0.035 * latent.burden + 0.02 * latent.lv_mass


def _draw_traits(factors: RiskFactors, latent: LatentState, rng: np.random.Generator) -> RhythmTraits:
    """Draw rate (higher with smoking, diabetes), variability (lower with age, diabetes) and ectopy (with fibrosis)."""
    older = factors.age - 58
    rate, smoking, variability, pvc, pac = rng.standard_normal(5)
    rate = 67 + 2 * (factors.sex == "female") + 9 * rate
    rate += factors.smoker * (7 + 3 * smoking) + factors.diabetes * 4
    spread = 0.035 * np.exp(-0.012 * older + 0.35 * variability) * (0.75 if factors.diabetes else 1.0)
    return RhythmTraits(
        rate=float(rate),
        variability=float(np.clip(spread, 0.004, 0.10)),
        pvc_probability=float(min(0.25, np.exp(-6.3 + 0.9 * latent.burden + 1.3 * pvc))),
        pac_probability=float(min(0.20, np.exp(-6.3 + 0.5 * latent.burden + 0.03 * older + 1.2 * pac))),
    )


def _draw_dipoles(factors: RiskFactors, latent: LatentState, rng: np.random.Generator) -> Array:
    """Draw the dipoles, (3 origins, 9 waves, 3 axes) in mV."""
    older = factors.age - 58
    lvh = max(0.0, latent.lv_mass - LVH_THRESHOLD)
    strain = max(0.0, latent.lv_mass - 0.8) * np.exp(0.5 * rng.standard_normal())
    ischaemia = max(0.0, latent.ischaemia - 0.8) * np.exp(0.5 * rng.standard_normal())
    amplitude, p_gain, t_gain, axis, turn, t_axis, t_turn, atrium = rng.standard_normal(8)

    female = factors.sex == "female"
    voltage = np.exp(0.10 * latent.lv_mass + 0.10 * lvh - 0.007 * older - 0.05 * female)
    repolarisation = np.exp(-0.15 * latent.ischaemia - 0.007 * older + (-0.1 if female else 0.1) + 0.18 * t_gain)
    axis = -0.5 * older - 6 * min(lvh, 2.0) + 20 * axis
    turn = 4 * min(lvh, 2.0) + 13 * turn

    sinus = DIPOLES.copy()
    sinus[QRS] *= voltage * np.exp(0.18 * amplitude)
    sinus[QRS] *= np.exp([0.3, 0.06, 0.2, 0.3] * rng.standard_normal(4))[:, None]
    sinus[QRS] = sinus[QRS] @ rotation(axis, turn)
    sinus[P] = sinus[P] * np.exp(-0.004 * older + 0.2 * p_gain) @ rotation(12 * atrium, 0)
    sinus[ST] += 0.0 if female else MALE_ST
    sinus[ST] += min(strain, 2.5) * STRAIN_ST + min(ischaemia, 2.5) * ISCHAEMIC_ST + 0.01 * rng.standard_normal(3)
    sinus[T] = sinus[T] @ rotation(0.4 * axis + 9 * t_axis, 0.4 * turn + 9 * t_turn) * repolarisation
    sinus[T] += min(strain, 2.5) * STRAIN_T / 2

    atrial_focus = 0.16 * _direction(rng)
    ventricular_focus = rng.uniform(1.2, 2.0) * _direction(rng)
    return make_dipoles(sinus, atrial_focus, ventricular_focus)


def _direction(rng: np.random.Generator) -> Array:
    """Draw a unit vector, (3,), uniform on the sphere."""
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))
