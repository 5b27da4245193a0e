"""SCORE2 (40 to 69 years) and SCORE2-OP (70 to 89): ten-year risk of a first cardiovascular event, over arrays.

Both models (SCORE2 working group, Eur Heart J 2021;42:2439-2454, doi:10.1093/eurheartj/ehab309; SCORE2-OP working
group, Eur Heart J 2021;42:2455-2467, doi:10.1093/eurheartj/ehab312) have one form. With centred terms x_k, ::

    lp = Σ_k β_k x_k                                                                 linear predictor
    p0 = 1 - S0 ** exp(lp - mean_lp)                                                 uncalibrated risk
    p  = 1 - exp(-exp(scale1 + scale2 * ln(-ln(1 - p0))))                            risk, calibrated to the region
       = -expm1(-exp(scale1 + scale2 * (ln(-ln S0) + lp - mean_lp)))                 the same without cancellation

β, S0, mean_lp and the scales differ by sex; they are read from ``score2_coefficients.json`` beside this file, which
names their sources. The scores are for research; this is not a medical device.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ecgloss.risk.inputs import SEXES, Array, Patients, patients

ModelName = Literal["score2", "score2_op"]
Region = Literal["low", "moderate", "high", "very_high"]
OutOfRange = Literal["nan", "extrapolate", "raise"]
REGIONS = ("low", "moderate", "high", "very_high")


@dataclass(frozen=True)
class Centring:
    """How an input enters the linear predictor: ``(input - centre) / unit``."""

    input: str
    centre: float
    unit: float


@dataclass(frozen=True)
class SexModel:
    """Numbers of a model for one sex; ``coefficients`` are by term, where ``"a*b"`` is the product of two terms."""

    coefficients: Mapping[str, float]
    mean_lp: float
    baseline_survival: float
    region_scales: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Score2Model:
    """One of the two models: the ages it is valid for, its centrings by term, and its numbers for each sex."""

    title: str
    first_age: int
    last_age: int
    centrings: Mapping[str, Centring]
    sexes: tuple[SexModel, SexModel]


@cache
def load_model(name: ModelName) -> Score2Model:
    """Read a model from the packaged coefficients.

    Args:
        name: "score2" or "score2_op".

    Returns:
        The model; ``sexes`` are in the order male, female.

    Example:
        >>> load_model("score2_op").first_age
        70
    """
    text = resources.files("ecgloss.risk").joinpath("score2_coefficients.json").read_text(encoding="utf-8")
    entry: dict[str, Any] = json.loads(text)["models"][name]
    male, female = (
        SexModel(
            coefficients=entry["coefficients_log_shr"][sex],
            mean_lp=entry["mean_linear_predictor"][sex],
            baseline_survival=entry["baseline_survival_10y"][sex],
            region_scales={region: tuple(entry["region_scales"][region][sex]) for region in REGIONS},
        )
        for sex in SEXES
    )
    first_age, last_age = entry["age_range_years"]
    centrings = {term: Centring(**centring) for term, centring in entry["centring"].items()}
    return Score2Model(entry["title"], first_age, last_age, centrings, (male, female))


def score2(
    *,
    sex: object,
    age: ArrayLike,
    smoker: ArrayLike,
    sbp: ArrayLike,
    total_chol: ArrayLike,
    hdl_chol: ArrayLike,
    region: Region,
    out_of_range: OutOfRange = "nan",
) -> Array:
    """Ten-year risk by SCORE2, for people of 40 to 69 years without diabetes or previous cardiovascular disease.

    All arguments but the last two are scalars, sequences or arrays (NumPy, pandas, torch on the CPU) that
    broadcast against each other. Any unknown input makes the result NaN.

    Args:
        sex: "male" or "female"; None, "" and NaN are unknown.
        age: Years; 69.9 still counts as 69, in the model's range.
        smoker: Current smoker, as bool or 0/1.
        sbp: Systolic blood pressure in mmHg.
        total_chol: Total cholesterol in mmol/L.
        hdl_chol: HDL cholesterol in mmol/L.
        region: Risk region of the country: "low", "moderate", "high" or "very_high". There is no default, because the
            risk of the same patient differs several-fold between them, and not every country is in one.
        out_of_range: For ages outside the model's range: "nan" gives NaN, "extrapolate" the value of the formula
            (which may reach 0 or 1 far outside), "raise" an error.

    Returns:
        Risk as a fraction in (0, 1), float64, of the broadcast shape; a ``numpy.float64`` for scalars.

    Raises:
        ValueError: if a sex, region or option is unknown, a value is impossible in its unit, the shapes do not
            broadcast, or an age is out of range and ``out_of_range="raise"``.
        TypeError: if an argument is not numeric.

    Example:
        >>> risk = score2(sex="male", age=50, smoker=1, sbp=140, total_chol=6.3, hdl_chol=1.4, region="low")
        >>> f"{risk:.1%}"
        '6.3%'
        >>> score2(sex=["male", None], age=50, smoker=1, sbp=140, total_chol=6.3, hdl_chol=1.4, region="low").round(3)
        array([0.063,   nan])
    """
    who = patients(sex=sex, age=age, smoker=smoker, sbp=sbp, total_chol=total_chol, hdl_chol=hdl_chol)
    return _in_range(load_model("score2"), who, region, out_of_range)


def score2_op(
    *,
    sex: object,
    age: ArrayLike,
    smoker: ArrayLike,
    sbp: ArrayLike,
    total_chol: ArrayLike,
    hdl_chol: ArrayLike,
    diabetes: ArrayLike = 0,
    region: Region,
    out_of_range: OutOfRange = "nan",
) -> Array:
    """Ten-year risk by SCORE2-OP, for people of 70 to 89 years without previous cardiovascular disease.

    Args:
        sex: As for :func:`score2`, like all arguments that are not listed otherwise.
        age: Years.
        smoker: Current smoker.
        sbp: Systolic blood pressure in mmHg.
        total_chol: Total cholesterol in mmol/L.
        hdl_chol: HDL cholesterol in mmol/L.
        diabetes: Diabetes as bool or 0/1.
        region: Risk region.
        out_of_range: For ages outside the model's range.

    Returns:
        Risk as a fraction in (0, 1), as :func:`score2`.

    Raises:
        ValueError: as :func:`score2`.
        TypeError: as :func:`score2`.

    Example:
        >>> risk = score2_op(
        ...     sex="female", age=75, smoker=1, sbp=140, total_chol=5.5, hdl_chol=1.3, region="low"
        ... )
        >>> f"{risk:.1%}"
        '15.2%'
    """
    who = patients(
        sex=sex, age=age, smoker=smoker, sbp=sbp, total_chol=total_chol, hdl_chol=hdl_chol, diabetes=diabetes
    )
    return _in_range(load_model("score2_op"), who, region, out_of_range)


def linear_predictor(model: Score2Model, who: Patients) -> Array:
    """Return ``lp`` of every patient, before ``mean_lp`` is subtracted; NaN where the sex is unknown."""
    terms = {name: (getattr(who, c.input) - c.centre) / c.unit for name, c in model.centrings.items()}
    terms |= {"smoker": who.smoker, "diabetes": who.diabetes}
    return _by_sex(
        model,
        who,
        lambda sex: sum(
            beta * prod(terms[factor] for factor in name.split("*")) for name, beta in sex.coefficients.items()
        ),
    )


def uncalibrated_risk(model: Score2Model, who: Patients) -> Array:
    """Return ``p0`` of every patient: the risk in the cohorts that the model was derived from."""
    return -np.expm1(-np.exp(_log_hazard(model, who)))


def calibrated_risk(model: Score2Model, who: Patients, region: Region) -> Array:
    """Return ``p`` of every patient by the formula, at any age."""
    if region not in REGIONS:
        raise ValueError(f"region must be one of {', '.join(REGIONS)}; got {region!r}")
    offset = _by_sex(model, who, lambda sex: sex.region_scales[region][0])
    slope = _by_sex(model, who, lambda sex: sex.region_scales[region][1])
    with np.errstate(over="ignore"):  # exp -> inf only far outside the age range, where the risk is 1
        return -np.expm1(-np.exp(offset + slope * _log_hazard(model, who)))


def _log_hazard(model: Score2Model, who: Patients) -> Array:
    """Return ln(-ln(1 - p0)), from which p0 and p follow."""
    base = _by_sex(model, who, lambda sex: np.log(-np.log(sex.baseline_survival)) - sex.mean_lp)
    return base + linear_predictor(model, who)


def _by_sex(model: Score2Model, who: Patients, quantity: Callable[[SexModel], Any]) -> Array:
    """Return a quantity of the model for each patient's sex, NaN where that is unknown."""
    male, female = (quantity(sex) for sex in model.sexes)
    return np.where(who.sex == 0, male, np.where(who.sex == 1, female, np.nan))


def _in_range(model: Score2Model, who: Patients, region: Region, out_of_range: OutOfRange) -> Array:
    """Return the risk, with ``out_of_range`` applied to ages outside the model's range."""
    if out_of_range not in ("nan", "extrapolate", "raise"):
        raise ValueError(f"out_of_range must be nan, extrapolate or raise; got {out_of_range!r}")
    risk = calibrated_risk(model, who, region)
    outside = (who.age < model.first_age) | (who.age >= model.last_age + 1)
    if out_of_range == "raise" and outside.any():
        raise ValueError(
            f"age: {np.count_nonzero(outside)} of {outside.size} outside the {model.first_age} to {model.last_age} "
            f"years of {model.title}, the first is {who.age[outside][0]:g}"
        )
    if out_of_range == "nan":
        risk = np.where(outside, np.nan, risk)
    return risk[()]  # a scalar for scalars
