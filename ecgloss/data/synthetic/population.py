"""Risk factors of synthetic patients, and their latent disease: risk factors plus chance.

Marginal distributions are round numbers near the baseline tables of European population cohorts (the derivation
cohorts of SCORE2, Eur Heart J 2021;42:2439-2454, describe people of 40 to 69 without diabetes); they are
approximations written down by hand, not a fit to any data. Correlations arise from a shared *metabolic* trait that
raises blood pressure, total cholesterol and the odds of diabetes and lowers HDL cholesterol.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ecgloss.data.recording import Metadata

LVH_THRESHOLD = 1.1
"""Standardised left-ventricular mass above which a patient counts as hypertrophic (about one in seven)."""


@dataclass(frozen=True)
class RiskFactors:
    """Risk factors of one person, all known.

    Attributes:
        age: Years.
        sex: "male" or "female".
        sbp: Systolic blood pressure, mmHg.
        total_chol: Total cholesterol, mmol/L.
        hdl_chol: HDL cholesterol, mmol/L.
        smoker: Current smoking.
        diabetes: Diabetes.
    """

    age: float
    sex: str
    sbp: float
    total_chol: float
    hdl_chol: float
    smoker: bool
    diabetes: bool


@dataclass(frozen=True)
class LatentState:
    """Latent disease of one person, standardised: mean about 0, standard deviation about 1.

    Attributes:
        lv_mass: Left-ventricular mass.
        ischaemia: Liability to ischaemia.
        burden: Fibrotic burden.
    """

    lv_mass: float
    ischaemia: float
    burden: float

    @property
    def hypertrophic(self) -> bool:
        """Whether left-ventricular mass is over the threshold."""
        return self.lv_mass > LVH_THRESHOLD


def draw_risk_factors(rng: np.random.Generator) -> RiskFactors:
    """Draw one person: 85 % are 40 to 69 years old, 15 % are 70 to 89, half are women."""
    middle_aged = rng.random() < 0.85
    age = math.floor(40 + 30 * rng.beta(1.5, 1.3) if middle_aged else 70 + 20 * rng.beta(1.0, 2.0))
    male = bool(rng.random() < 0.5)
    metabolic, pressure, lipid, hdl = rng.standard_normal(4)
    decade = (age - 55) / 10

    sbp = (130 + 5 * decade if male else 126 + 7 * decade) + 5 * metabolic + 15 * pressure
    total_chol = (5.5 - 0.1 * decade if male else 5.7 + 0.1 * decade) + 0.25 * metabolic + 0.95 * lipid
    smoker = bool(rng.random() < _logistic(-1.3 + 0.3 * male - 0.35 * decade))
    diabetes = bool(rng.random() < _logistic(-2.8 + 0.2 * male + 0.4 * decade + 0.8 * metabolic))
    log_hdl = math.log(1.25 if male else 1.55) - 0.10 * metabolic + 0.20 * hdl - 0.06 * smoker - 0.08 * diabetes
    hdl_chol = float(np.clip(math.exp(log_hdl), 0.6, 3.0))
    return RiskFactors(
        age=float(min(age, 89)),
        sex="male" if male else "female",
        sbp=round(float(np.clip(sbp, 90, 210))),
        total_chol=round(float(np.clip(total_chol, max(2.5, hdl_chol + 0.8), 10.0)), 1),
        hdl_chol=round(hdl_chol, 2),
        smoker=smoker,
        diabetes=diabetes,
    )


def draw_latent_state(factors: RiskFactors, rng: np.random.Generator) -> LatentState:
    """Draw the latent disease: weighted sums of the risk factors, plus chance of about twice their spread."""
    age, pressure = (factors.age - 58) / 12, (factors.sbp - 130) / 18
    cholesterol, hdl = (factors.total_chol - 5.6) / 1.0, (factors.hdl_chol - 1.4) / 0.35
    smoker, diabetes, male = factors.smoker - 0.2, factors.diabetes - 0.08, (factors.sex == "male") - 0.5
    by_chance = rng.standard_normal(3)

    lv_mass = 0.45 * pressure + 0.15 * age + 0.3 * diabetes + 0.8 * by_chance[0]
    ischaemia = 0.35 * cholesterol - 0.25 * hdl + 0.4 * smoker + 0.4 * diabetes + 0.25 * age + 0.1 * pressure
    ischaemia += 0.3 * male + 0.75 * by_chance[1]
    burden = 0.35 * age + 0.2 * pressure + 0.15 * cholesterol - 0.1 * hdl + 0.4 * smoker + 0.4 * diabetes
    burden += 0.2 * male + 0.7 * by_chance[2]
    return LatentState(lv_mass=float(lv_mass), ischaemia=float(ischaemia), burden=float(burden))


def observe(
    factors: RiskFactors,
    missing_rate: float,
    labels: dict[str, tuple[str, ...]],
    values: dict[str, float],
    rng: np.random.Generator,
) -> Metadata:
    """Return metadata in which each of four risk factors is missing with probability ``missing_rate``.

    Missing values come together, as in practice. With probability 0.15 ``missing_rate`` all but age and sex are
    missing, with 0.35 ``missing_rate`` the four risk factors; otherwise each of the four is missing on its own, with
    the probability that makes ``missing_rate`` the total.
    """
    archive, visit = 0.15 * missing_rate, 0.35 * missing_rate
    single = 1 - (1 - missing_rate) / ((1 - archive) * (1 - visit))
    lost_archive, lost_visit = rng.random() < archive, rng.random() < visit
    lost_single = rng.random(4) < single
    metadata = Metadata(
        age=factors.age,
        sex=factors.sex,
        smoker=factors.smoker,
        diabetes=factors.diabetes,
        sbp=factors.sbp,
        total_chol=factors.total_chol,
        hdl_chol=factors.hdl_chol,
        labels=labels,
        values=values,
    )
    sbp, total_chol, hdl_chol, smoker = lost_single | lost_visit | lost_archive
    return replace(
        metadata,
        sbp=math.nan if sbp else metadata.sbp,
        total_chol=math.nan if total_chol else metadata.total_chol,
        hdl_chol=math.nan if hdl_chol else metadata.hdl_chol,
        smoker=None if smoker else metadata.smoker,
        diabetes=None if lost_archive else metadata.diabetes,
    )


def _logistic(x: float) -> float:
    """Return the probability of log-odds x."""
    return 1 / (1 + math.exp(-x))
