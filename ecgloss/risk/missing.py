"""One risk per patient from incomplete records, the share of inputs that was missing, and an account of what was done.

The result weights pairs of patients in a research loss; it is not a clinical statement about anyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ecgloss.risk.arrays import Array, Kind
from ecgloss.risk.choice import choose, models_of
from ecgloss.risk.equation import clipped, outside, risk
from ecgloss.risk.imputer import Imputer
from ecgloss.risk.inputs import QUANTITIES, YES_NO, Inputs, collect
from ecgloss.risk.models import ScoreModel
from ecgloss.risk.plausible import Flags, find_flags, inputs_of_flag, way_out
from ecgloss.risk.population import load_population
from ecgloss.risk.scores import CholUnit, GlucoseUnit

MissingInputs = Literal["impute", "nan", "model"]
Mask = NDArray[np.bool_]
Count = NDArray[np.int64]

_NEVER_IMPUTED = ("age", "sex")


@dataclass(frozen=True)
class ClinicalRisk:
    """Risk and completeness of n patients, and how they came about.

    Attributes:
        risk: (n,) the score, float64: a ten-year risk as a fraction in (0, 1), or points. NaN where there is none.
        missing: (n,) share of the inputs that are unknown, in [0, 1]: what :func:`ecgloss.functional.clef` takes as
            ``missing``. Values that were flagged are unknown.
        n_missing: (n,) number of unknown inputs.
        n_attributes: (n,) number of inputs that are counted, by the score of each patient.
        models: The scores in use.
        model: (n,) index into ``models``; -1 where none fits.
        imputed: By input, where its value was replaced; only where there is a risk.
        clipped: (n,) where a value was outside the range of the score and was moved to its end.
        out_of_range: (n,) where a value was outside the range of the score and there is no risk.
        flags: By name, values that are impossible or look as if they were in another unit; they were not used.
        unusual: By input, values outside the usual range of the score; they were used.
    """

    risk: Array
    missing: Array
    n_missing: Count
    n_attributes: Count
    models: tuple[ScoreModel, ...] = ()
    model: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    imputed: Mapping[str, Mask] = field(default_factory=dict)
    clipped: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))
    out_of_range: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))
    flags: Flags = field(default_factory=dict)
    unusual: Mapping[str, Mask] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self.risk)

    def rows(self, rows: NDArray[np.int64]) -> ClinicalRisk:
        """The patients at the given positions."""
        return ClinicalRisk(
            self.risk[rows],
            self.missing[rows],
            self.n_missing[rows],
            self.n_attributes[rows],
            self.models,
            self.model[rows],
            {name: mask[rows] for name, mask in self.imputed.items()},
            self.clipped[rows],
            self.out_of_range[rows],
            {name: mask[rows] for name, mask in self.flags.items()},
            {name: mask[rows] for name, mask in self.unusual.items()},
        )

    def counts(self) -> dict[str, int]:
        """Numbers of patients, by what happened to them."""
        known = ~np.isnan(self.risk)
        return {
            "patients": len(self),
            "with_risk": int(known.sum()),
            "out_of_range": int(self.out_of_range.sum()),
            "otherwise_unknown": int((~known & ~self.out_of_range).sum()),
            "clipped": int(self.clipped.sum()),
            "with_imputed_inputs": int(_any(self.imputed, len(self)).sum()),
            "imputed_inputs": int(sum(mask.sum() for mask in self.imputed.values())),
            "flagged": int(_any(self.flags, len(self)).sum()),
        }

    def sentences(self, what: str = "patients") -> list[str]:
        """What happened, for the user: how many were left out, clipped, imputed and flagged, and by which score.

        Args:
            what: What the rows are called.

        Example:
            >>> man = {"sex": "male", "age": [30, 60, 75], "sbp": [130, 17, 150]}
            >>> found = clinical_risk(**man, region="low", implausible="flag")
            >>> for sentence in found.sentences():
            ...     print(sentence)
            scores in use: SCORE2 2, SCORE2-OP 1
            1 of 3 patients have no risk, because a value lies outside the range of the score
            2 of 3 patients have imputed inputs: sbp 1, total_chol 2, hdl_chol 2, smoker 2
            sbp_in_kPa: 1 of 3 patients, not used: looks like kPa: multiply kPa by 7.50062 to get mmHg
        """
        n, count = len(self), self.counts()
        lines = []
        used = {model.title: int((self.model == k).sum()) for k, model in enumerate(self.models)}
        used = {title: number for title, number in used.items() if number}
        if used:
            lines.append(f"scores in use: {', '.join(f'{title} {number:,}' for title, number in used.items())}")
        if count["out_of_range"]:
            lines.append(
                f"{count['out_of_range']:,} of {n:,} {what} have no risk, because a value lies outside the range of "
                "the score"
            )
        if count["otherwise_unknown"]:
            lines.append(
                f"{count['otherwise_unknown']:,} of {n:,} {what} have no risk, because an input is unknown that is not "
                "imputed"
            )
        if count["clipped"]:
            lines.append(f"{count['clipped']:,} of {n:,} {what} were clipped to the range of the score")
        by_input = {name: int(mask.sum()) for name, mask in self.imputed.items() if mask.any()}
        if by_input:
            told = ", ".join(f"{name} {number:,}" for name, number in by_input.items())
            lines.append(f"{count['with_imputed_inputs']:,} of {n:,} {what} have imputed inputs: {told}")
        for flag, mask in self.flags.items():
            if mask.any():
                lines.append(f"{flag}: {int(mask.sum()):,} of {n:,} {what}, not used: {way_out(flag)}")
        for name, mask in self.unusual.items():
            if mask.any():
                lines.append(
                    f"{name}: {int(mask.sum()):,} of {n:,} {what} outside the usual range of the score, but used"
                )
        return lines


def clinical_risk(
    *,
    score: str | Path = "score2",
    sex: object = None,
    age: object = None,
    smoker: object = None,
    sbp: object = None,
    total_chol: object = None,
    hdl_chol: object = None,
    diabetes: object = None,
    age_at_diagnosis: object = None,
    hba1c: object = None,
    egfr: object = None,
    bmi: object = None,
    bp_treated: object = None,
    statin: object = None,
    heart_failure: object = None,
    hypertension: object = None,
    stroke: object = None,
    vascular: object = None,
    region: str | None = None,
    country: str | None = None,
    chol_unit: CholUnit = "mmol/L",
    glucose_unit: GlucoseUnit = "mmol/mol",
    extrapolate: Literal["nan", "clip"] = "nan",
    missing_inputs: MissingInputs = "impute",
    table: str | Path = "europe",
    imputer: Imputer | None = None,
    implausible: Literal["raise", "flag"] = "raise",
) -> ClinicalRisk:
    """Risk of every patient from what is known, and the number of inputs that are not.

    Outside the range for which a score was made there is no risk (NaN), unless ``extrapolate="clip"`` gives a patient
    of 25 the risk of one of 40. Unknown inputs besides age and sex are replaced by population values; the number of
    replaced inputs is what ``missing`` counts, so that the loss can trust such risks less. The result says how many
    patients were left out, clipped, imputed and flagged.

    An unknown diabetes counts as none in "score2", where it enters SCORE2-OP only and is not counted as missing; and in
    the choice of "auto".

    Args:
        score: "score2": SCORE2 below 70 years, SCORE2-OP from 70 on. "auto": SCORE2-OP from 70 on, below it
            SCORE2-Diabetes with diabetes and SCORE2 without; for the USA, PREVENT. Single scores are "score2_only",
            "score2_op", "score2_diabetes", "prevent" (total cardiovascular disease), "prevent_ascvd", "prevent_hf",
            "cha2ds2_vasc" and "cha2ds2_va". Or a coefficient file of one score, see
            :func:`ecgloss.risk.read_models`.
        sex: "male" or "female"; None, "" and NaN are unknown. Scalar or (n,), like all down to ``vascular``.
        age: Years.
        smoker: Current smoker, as bool or 0/1, NaN where unknown; None: unknown for all, like all that follow.
        sbp: Systolic blood pressure in mmHg.
        total_chol: Total cholesterol in ``chol_unit``.
        hdl_chol: HDL cholesterol in ``chol_unit``.
        diabetes: Diabetes.
        age_at_diagnosis: Age in years at the diagnosis of diabetes.
        hba1c: Glycated haemoglobin in ``glucose_unit``.
        egfr: Estimated glomerular filtration rate in mL/min/1.73 m2.
        bmi: Body mass index in kg/m2.
        bp_treated: Treatment of blood pressure.
        statin: Statin treatment.
        heart_failure: Heart failure.
        hypertension: Hypertension.
        stroke: Previous stroke, transient ischaemic attack or thromboembolism.
        vascular: Vascular disease.
        region: Risk region of the country: "low", "moderate", "high" or "very_high".
        country: Country in place of ``region``, by its English name.
        chol_unit: "mmol/L" or "mg/dL".
        glucose_unit: "mmol/mol" or "%".
        extrapolate: "nan" or "clip".
        missing_inputs: "impute" takes population values, "nan" gives no risk, "model" predicts with ``imputer``.
        table: Population values: "europe", "sex_means" or a file, see :mod:`ecgloss.risk.population`.
        imputer: A fitted imputation; inputs that it does not know are taken from ``table``.
        implausible: Values that are impossible or in another unit: "raise" an error, or "flag" them, which makes them
            unknown and is reported.

    Returns:
        Arrays of shape (n,), n = 1 for scalars.

    Raises:
        ValueError: If a sex, region, country, unit or option is unknown, the shapes do not fit, an argument has more
            than one axis, or a value is impossible and ``implausible="raise"``.
        TypeError: If an argument is not numeric.

    Example:
        >>> result = clinical_risk(sex=["male", "female", None], age=[60, 75, 50], sbp=[150, None, 120], region="low")
        >>> result.risk.round(3)
        array([0.062, 0.083,   nan])
        >>> result.n_missing
        array([3, 4, 4])
    """
    given = {name: value for name, value in locals().items() if name == "sex" or name in (*QUANTITIES, *YES_NO)}
    columns = {name: (None if name == "sex" else np.nan) if value is None else value for name, value in given.items()}
    _check_option("extrapolate", extrapolate, ("nan", "clip"))
    _check_option("missing_inputs", missing_inputs, ("impute", "nan", "model"))
    _check_option("implausible", implausible, ("raise", "flag"))
    if (missing_inputs == "model") != (imputer is not None):
        raise ValueError('missing_inputs="model" needs imputer, and only that takes one; see ecgloss.risk.Imputer.fit')
    who = _one_axis(collect(columns, chol_unit=chol_unit, glucose_unit=glucose_unit))
    flags = find_flags(_quantities(who), chol_unit=chol_unit, glucose_unit=glucose_unit)
    if flags and implausible == "raise":
        raise ValueError(_impossible(who, flags))
    who = _without_flagged(who, flags)
    models, code, region = choose(score, who.plain["age"], who.plain["diabetes"], region, country)
    return _evaluate(who, models, code, region, flags, extrapolate, missing_inputs, table, imputer)


def fit_imputer(
    columns: Mapping[str, object],
    rows: NDArray[np.int64],
    *,
    score: str | Path = "score2",
    chol_unit: CholUnit = "mmol/L",
    glucose_unit: GlucoseUnit = "mmol/mol",
) -> Imputer:
    """Fit the imputation of ``missing_inputs="model"`` on some patients, such as a training split.

    Args:
        columns: Inputs by name, (n,) each, as :func:`clinical_risk` takes them.
        rows: Positions of the patients to fit on.
        score: The score whose inputs are imputed. Age and sex help to predict the others.
        chol_unit: Unit of cholesterol.
        glucose_unit: Unit of HbA1c.

    Raises:
        ValueError: If fewer than two of the inputs are known, or a value cannot be understood.
        MissingExtraError: If scikit-learn is not installed.

    Example:
        >>> columns = {"sex": ["male", "female"] * 3, "age": [40, 45, 50, 55, 60, 65]}
        >>> columns["sbp"] = [120, 123, 130, None, 140, 141]
        >>> imputer = fit_imputer(columns, np.arange(6))
        >>> imputer.columns
        ('age', 'sex', 'sbp')
        >>> clinical_risk(**columns, region="low", missing_inputs="model", imputer=imputer).n_missing
        array([3, 3, 3, 4, 3, 3])
    """
    wanted = [name for model in models_of(score) for name in model.inputs]
    wanted = [name for name in dict.fromkeys(["age", "sex", *wanted]) if columns.get(name) is not None]
    who = _one_axis(collect({name: columns[name] for name in wanted}, chol_unit=chol_unit, glucose_unit=glucose_unit))
    who = _without_flagged(who, find_flags(_quantities(who), chol_unit=chol_unit, glucose_unit=glucose_unit))
    return Imputer.fit(_numeric(who, tuple(wanted), rows))


def _quantities(who: Inputs) -> dict[str, Array]:
    return {name: x for name, x in who.plain.items() if name in QUANTITIES}


def _without_flagged(who: Inputs, flags: Flags) -> Inputs:
    """The same with NaN for every value that was flagged."""
    plain = dict(who.plain)
    for flag, mask in flags.items():
        for name in inputs_of_flag(flag):
            plain[name] = np.where(mask, np.nan, plain[name])
    return Inputs(who.sex, plain, plain, Kind())


def _evaluate(
    who: Inputs,
    models: tuple[ScoreModel, ...],
    code: NDArray[np.int8],
    region: str | None,
    flags: Flags,
    extrapolate: str,
    missing_inputs: str,
    table: str | Path,
    imputer: Imputer | None,
) -> ClinicalRisk:
    """The risks of patients whose flagged values are unknown, each by the model of its code."""
    n = len(who.sex)
    result = np.full(n, np.nan)
    n_missing, n_attributes = np.zeros(n, np.int64), np.ones(n, np.int64)
    was_clipped, out_of_range = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    imputed: dict[str, Mask] = {}
    unusual: dict[str, Mask] = {}
    population = load_population(table)
    for k, model in enumerate(models):
        rows = np.flatnonzero(code == k)
        if not len(rows):
            continue
        sex = who.sex[rows]
        plain = {name: who.plain[name][rows] for name in model.inputs if name != "sex"}
        unknown = {name: (sex < 0) if name == "sex" else np.isnan(plain[name]) for name in model.inputs}
        n_attributes[rows] = len(model.counted)
        n_missing[rows] = np.sum([unknown[name] for name in model.counted], axis=0)
        for name, limits in model.usual.items():
            unusual.setdefault(name, np.zeros(n, np.bool_))[rows] = outside(limits, plain[name])
        guesses: dict[str, Array] = {}
        if missing_inputs == "model" and imputer is not None:
            guesses = imputer.apply(_numeric(who, imputer.columns, rows))
        filled: dict[str, Mask] = {}
        for name in plain:
            if name in _NEVER_IMPUTED or not unknown[name].any():
                continue
            if name not in model.counted:
                plain[name] = np.where(unknown[name], 0.0, plain[name])
            elif missing_inputs != "nan":
                guess = guesses[name] if name in guesses else population.fill(name, sex, plain["age"])
                plain[name] = np.where(unknown[name], guess, plain[name])
                filled[name] = unknown[name]
        some = Inputs(sex, plain, plain, Kind())
        out = np.any(
            [outside(limits, plain[name]) for name, limits in model.valid.items()] or [np.zeros(len(rows), np.bool_)],
            axis=0,
        )
        if extrapolate == "clip":
            some = clipped(model, some)
        found = risk(model, some, region)
        found = np.where(out & (extrapolate == "nan"), np.nan, found)
        known = ~np.isnan(found)
        result[rows] = found
        was_clipped[rows] = out & known
        out_of_range[rows] = out & ~known
        for name, mask in filled.items():
            imputed.setdefault(name, np.zeros(n, np.bool_))[rows] = mask & known
    return ClinicalRisk(
        result,
        n_missing / n_attributes,
        n_missing,
        n_attributes,
        models,
        code,
        imputed,
        was_clipped,
        out_of_range,
        flags,
        {name: mask for name, mask in unusual.items() if mask.any()},
    )


def _numeric(who: Inputs, names: tuple[str, ...], rows: NDArray[np.integer]) -> dict[str, Array]:
    """Inputs as numbers for an imputation: sex is 0 for men, 1 for women."""
    sex = np.where(who.sex[rows] < 0, np.nan, who.sex[rows].astype(np.float64))
    return {name: sex if name == "sex" else who.plain[name][rows] for name in names}


def _one_axis(who: Inputs) -> Inputs:
    """The same as arrays (n,)."""
    if who.sex.ndim > 1:
        raise ValueError(f"the arguments must be scalars or (n,) arrays, together they have shape {who.sex.shape}")
    plain = {name: np.atleast_1d(x) for name, x in who.plain.items()}
    return Inputs(np.atleast_1d(who.sex), plain, plain, Kind())


def _impossible(who: Inputs, flags: Flags) -> str:
    """A sentence on the first flag."""
    flag, mask = next(iter(flags.items()))
    name = inputs_of_flag(flag)[0]
    first = who.plain[name][mask][0]
    advice = "give NaN for unknown"
    if name == "age":
        advice += ", and 90 where a database codes 'above 89'"
    return f"{flag}: {int(mask.sum())} of {mask.size} values, {way_out(flag)}; the first is {first:g}; {advice}"


def _any(masks: Mapping[str, Mask], n: int) -> Mask:
    return np.any([*masks.values()], axis=0) if masks else np.zeros(n, np.bool_)


def _check_option(name: str, value: str, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise ValueError(f"{name} must be one of {', '.join(accepted)}; got {value!r}")
