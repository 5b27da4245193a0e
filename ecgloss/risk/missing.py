"""One risk per patient from incomplete records, with the fraction of inputs that was missing.

The result weights pairs of patients in a research loss; it is not a clinical statement about anyone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgloss.risk.inputs import SEXES, Array, Patients, patients
from ecgloss.risk.score2 import Region, calibrated_risk, load_model

ATTRIBUTES = ("age", "sex", "smoker", "sbp", "total_chol", "hdl_chol")
OLDEST_POSSIBLE = 130


@dataclass(frozen=True)
class Reference:
    """Values that replace unknown attributes: smoker (0/1), sbp in mmHg, cholesterols in mmol/L."""

    smoker: float
    sbp: float
    total_chol: float
    hdl_chol: float


REFERENCES: dict[str, Reference] = {
    "male": Reference(smoker=0.0, sbp=135.0, total_chol=5.2, hdl_chol=1.3),
    "female": Reference(smoker=0.0, sbp=130.0, total_chol=5.3, hdl_chol=1.6),
}
"""Means of European populations, rounded.

Cholesterols: German adults of 18 to 79 years in 2008-11, 5.19 and 5.30 (total), 1.27 and 1.58 mmol/L (HDL) for men and
women (Truthmann et al., BMC Public Health 2016, doi:10.1186/s12889-016-2826-2). Blood pressure: EPIC-Norfolk,
first examination at a mean age of 57 and 56 years, 134.7 and 129.4 mmHg (Eur J Prev Cardiol 2022;29:180-191,
doi:10.1093/eurjpc/zwab104, table 1). Most people do not smoke.
"""


@dataclass(frozen=True)
class ClinicalRisk:
    """Risk and completeness of n patients.

    Attributes:
        risk: (n,) ten-year risk as a fraction in (0, 1), float64; NaN where age or sex is unknown.
        missing: (n,) fraction of the attributes that are unknown, in [0, 1]: what :func:`ecgloss.functional.clef`
            takes as ``missing``.
        n_missing: (n,) number of unknown attributes.
        n_attributes: Number of attributes that are counted: age, sex, smoker, sbp, total_chol, hdl_chol.
    """

    risk: Array
    missing: Array
    n_missing: NDArray[np.int64]
    n_attributes: int = len(ATTRIBUTES)


def clinical_risk(
    *,
    sex: object,
    age: ArrayLike,
    smoker: ArrayLike | None = None,
    sbp: ArrayLike | None = None,
    total_chol: ArrayLike | None = None,
    hdl_chol: ArrayLike | None = None,
    diabetes: ArrayLike | None = None,
    region: Region,
) -> ClinicalRisk:
    """Risk of every patient whose age and sex are known, and the number of attributes that are not.

    SCORE2 below 70 years, SCORE2-OP from 70 on. Ages are clipped to 40 to 89, so that the formulas are evaluated
    only where they were validated: a patient of 25 gets the risk of one of 40.

    SCORE2 and SCORE2-OP estimate the ten-year risk of a first cardiovascular event; see `ecgloss.risk`.

    Unknown smoking, blood pressure and cholesterols are replaced by :data:`REFERENCES`, one value per sex, independent
    of age and the same for both models. For a patient of whom only age and sex are known, the risk then depends on age
    through the models alone. The values at which the models are centred are not suitable: SCORE2 is centred at
    120 mmHg, SCORE2-OP at 150, and the risk of such a patient would jump by 2 to 11 percentage points between 69 and 70
    years, according to sex and region. With the references it changes by -0.7 to +0.5 points, and by 5 to 6 in the
    "very_high" region, because the two models were derived and calibrated separately. Unknown diabetes counts as no
    diabetes; it enters only SCORE2-OP, as SCORE2 is defined for people without.

    Args:
        sex: "male" or "female"; None, "" and NaN are unknown. Scalar or (n,), like all but ``region``.
        age: Years.
        smoker: Current smoker, as bool or 0/1, NaN where unknown; None: unknown for all.
        sbp: Systolic blood pressure in mmHg, NaN where unknown; None: unknown for all.
        total_chol: Total cholesterol in mmol/L, NaN where unknown; None: unknown for all.
        hdl_chol: HDL cholesterol in mmol/L, NaN where unknown; None: unknown for all.
        diabetes: Diabetes, as bool or 0/1, NaN where unknown; None: unknown for all.
        region: Risk region of the country: "low", "moderate", "high" or "very_high".

    Returns:
        Arrays of shape (n,), n = 1 for scalars.

    Raises:
        ValueError: as :func:`ecgloss.risk.score2`, and if an age is below 0 or above 130, or an argument has more
            than one axis.
        TypeError: if an argument is not numeric.

    Example:
        >>> result = clinical_risk(sex=["male", "female", None], age=[60, 75, 50], sbp=[150, None, 120], region="low")
        >>> result.risk.round(3)
        array([0.062, 0.083,   nan])
        >>> result.n_missing
        array([3, 4, 4])
    """
    known = patients(
        sex=sex,
        age=age,
        smoker=_or_nan(smoker),
        sbp=_or_nan(sbp),
        total_chol=_or_nan(total_chol),
        hdl_chol=_or_nan(hdl_chol),
        diabetes=_or_nan(diabetes),
    )
    if known.age.ndim > 1:
        raise ValueError(f"the arguments must be scalars or (n,) arrays, together they have shape {known.age.shape}")
    _check_ages(known.age)
    n_missing = np.atleast_1d(sum(_unknown(known, name).astype(np.int64) for name in ATTRIBUTES))
    completed = _completed(known)
    risk = np.where(
        completed.age < load_model("score2_op").first_age,
        calibrated_risk(load_model("score2"), completed, region),
        calibrated_risk(load_model("score2_op"), completed, region),
    )
    return ClinicalRisk(np.atleast_1d(risk), n_missing / len(ATTRIBUTES), n_missing)


def _or_nan(values: ArrayLike | None) -> ArrayLike:
    """Return NaN, unknown for every patient, for an argument that was not given."""
    return np.nan if values is None else values


def _check_ages(age: Array) -> None:
    """Refuse ages such as -1, 300 or 999, which code "unknown" and would be clipped to 40 or 89."""
    wrong = age[(age < 0) | (age > OLDEST_POSSIBLE)]
    if wrong.size:
        raise ValueError(
            f"age: {wrong.size} of {age.size} values outside 0 to {OLDEST_POSSIBLE} years, the first is {wrong[0]:g}; "
            "give NaN for unknown, and 90 where a database codes 'above 89'"
        )


def _unknown(known: Patients, name: str) -> NDArray[np.bool_]:
    """Return where one attribute is unknown."""
    if name == "sex":
        return np.asarray(known.sex < 0)
    return np.asarray(np.isnan(getattr(known, name)))


def _completed(known: Patients) -> Patients:
    """Replace unknown attributes and clip ages to the validated range; unknown age and sex stay unknown."""
    male, female = (REFERENCES[sex] for sex in SEXES)
    older = known.age >= load_model("score2_op").first_age

    def filled(name: str) -> Array:
        values: Array = getattr(known, name)
        reference = np.where(known.sex == 0, getattr(male, name), getattr(female, name))
        return np.where(np.isnan(values), reference, values)

    return Patients(
        sex=known.sex,
        age=np.clip(known.age, load_model("score2").first_age, load_model("score2_op").last_age),
        smoker=filled("smoker"),
        sbp=filled("sbp"),
        total_chol=filled("total_chol"),
        hdl_chol=filled("hdl_chol"),
        diabetes=np.where(older, np.nan_to_num(known.diabetes, nan=0.0), 0.0),
    )
