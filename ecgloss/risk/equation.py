"""Evaluation of a score for n patients, with NumPy or torch::

survival    p0 = 1 - S0 ** exp(lp - mean_lp)
            p  = 1 - exp(-exp(s1 + s2 ln(-ln(1 - p0))))          calibrated to a region with scales s1, s2
               = -expm1(-exp(s1 + s2 (ln(-ln S0) + lp - mean_lp)))   the same without cancellation
logistic    p  = 1 / (1 + exp(-lp))
points      lp
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss.risk.arrays import Array
from ecgloss.risk.inputs import SEXES, Inputs
from ecgloss.risk.models import ANY, REGIONS, Range, ScoreModel, SexModel, Term


def linear_predictor(model: ScoreModel, who: Inputs) -> Any:
    """``lp`` of every patient, before ``mean_lp`` is subtracted; NaN where an input is unknown."""
    terms = {name: _term(term, who) for name, term in model.terms.items()}

    def lp(sex: SexModel) -> Any:
        total: Any = sex.intercept
        for name, beta in sex.coefficients.items():
            first, *others = name.split("*")
            product = beta * terms[first]
            for factor in others:
                product = product * terms[factor]
            total = total + product
        return total

    return _by_sex(model, who, lp)


def uncalibrated_risk(model: ScoreModel, who: Inputs) -> Any:
    """``p0`` of every patient by a survival model: the risk in the cohorts that it was derived from."""
    xp = who.kind.library
    return -xp.expm1(-xp.exp(_log_hazard(model, who)))


def risk(model: ScoreModel, who: Inputs, region: str | None) -> Any:
    """The score of every patient by the formula, whether or not it was made for them.

    Raises:
        ValueError: If the score needs a region and none of :data:`ecgloss.risk.models.REGIONS` is given.
    """
    xp = who.kind.library
    if model.link == "points":
        return linear_predictor(model, who)
    if model.link == "logistic":
        with np.errstate(over="ignore"):  # exp -> inf far outside the range, where the risk is 0
            return 1 / (1 + xp.exp(-linear_predictor(model, who)))
    if not model.regional:
        return uncalibrated_risk(model, who)
    check_region(region)
    offset = _by_sex(model, who, lambda sex: sex.region_scales[region][0])  # type: ignore[index]
    slope = _by_sex(model, who, lambda sex: sex.region_scales[region][1])  # type: ignore[index]
    with np.errstate(over="ignore"):  # exp -> inf far outside the range, where the risk is 1
        return -xp.expm1(-xp.exp(offset + slope * _log_hazard(model, who)))


def check_region(region: str | None) -> None:
    """Refuse anything but a region."""
    if region not in REGIONS:
        raise ValueError(f"region must be one of {', '.join(REGIONS)}; got {region!r}")


def outside(limits: Range, x: Array) -> NDArray[np.bool_]:
    """Where values lie outside a range; nowhere where they are unknown."""
    above = x > limits.high if limits.below is None else x >= limits.below
    return np.asarray((x < limits.low) | above)


def clipped(model: ScoreModel, who: Inputs) -> Inputs:
    """The same patients with every value outside the range of the score moved to its nearer end."""
    values, plain = dict(who.values), dict(who.plain)
    for name, limits in model.valid.items():
        out = outside(limits, plain[name])
        if out.any():
            xp, mask = who.kind.library, who.kind.mask(out)
            values[name] = xp.where(mask, xp.clip(values[name], limits.low, limits.high), values[name])
            plain[name] = np.where(out, np.clip(plain[name], limits.low, limits.high), plain[name])
    return Inputs(who.sex, values, plain, who.kind)


def _log_hazard(model: ScoreModel, who: Inputs) -> Any:
    """ln(-ln(1 - p0)), from which p0 and p follow."""
    base = _by_sex(model, who, lambda sex: math.log(-math.log(sex.baseline_survival or math.nan)) - sex.mean_lp)
    return base + linear_predictor(model, who)


def _term(term: Term, who: Inputs) -> Any:
    """One term of every patient."""
    xp = who.kind.library
    x = who.values[term.input]
    if term.minus:
        x = x - who.values[term.minus]
    if term.at_most is not None or term.at_least is not None:
        x = xp.clip(x, term.at_least, term.at_most)
    if term.log:
        x = xp.log(x)
    if term.from_ is not None:
        x = xp.where(xp.isnan(x), x, (x >= term.from_) * 1.0)
    if term.centre:
        x = x - term.centre
    if term.unit != 1:
        x = x / term.unit
    if term.only_with:
        x = xp.where(who.values[term.only_with] == 0, 0.0, x)
    return x


def _by_sex(model: ScoreModel, who: Inputs, quantity: Callable[[SexModel], Any]) -> Any:
    """A quantity of the model for each patient's sex, NaN where that is unknown and matters."""
    if ANY in model.sexes:
        return quantity(model.sexes[ANY])
    xp, mask = who.kind.library, who.kind.mask
    male, female = (_filled(who, quantity(model.sexes[sex])) for sex in SEXES)
    unknown = _filled(who, math.nan)
    return xp.where(mask(who.sex == 0), male, xp.where(mask(who.sex == 1), female, unknown))


def _filled(who: Inputs, value: Any) -> Any:
    """A number as an array of no axes in the dtype that computes; arrays as they are."""
    if not isinstance(value, float | int):
        return value
    if who.kind.dtype is None:
        return np.float64(value)
    return who.kind.library.tensor(value, dtype=who.kind.dtype, device=who.kind.device)
