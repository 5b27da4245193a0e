"""The scores as functions over arrays. They are for research; this is not a medical device.

All take their inputs by keyword, as scalars, sequences, NumPy arrays, torch tensors or pandas columns that broadcast
against each other. Any unknown input (None, NaN, pandas' NA) makes the result NaN. Where an input is a tensor, the
result is a tensor in its dtype (fp32 or wider) with gradients to the inputs; where one is a pandas column, it is a
column with the same index; otherwise a float64 array, or a number for scalars. Coefficients and sources:
``coefficients.json`` beside this file.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ecgloss.risk.equation import check_region, clipped, outside, risk
from ecgloss.risk.inputs import QUANTITIES, Inputs, collect
from ecgloss.risk.models import ScoreModel, load_model
from ecgloss.risk.plausible import HDL_ABOVE_TOTAL, find_flags, way_out

Region = Literal["low", "moderate", "high", "very_high"]
Extrapolate = Literal["nan", "clip", "formula", "raise"]
CholUnit = Literal["mmol/L", "mg/dL"]
GlucoseUnit = Literal["mmol/mol", "%"]
Outcome = Literal["cvd", "ascvd", "hf"]
EXTRAPOLATE = ("nan", "clip", "formula", "raise")


def score2(
    *,
    sex: object,
    age: object,
    smoker: object,
    sbp: object,
    total_chol: object,
    hdl_chol: object,
    region: Region,
    chol_unit: CholUnit = "mmol/L",
    extrapolate: Extrapolate = "nan",
) -> Any:
    """Ten-year risk of a first cardiovascular event by SCORE2, for people of 40 to 69 years without diabetes.

    With c_age = (age - 60) / 5, c_sbp = (sbp - 120) / 20, c_tc = total_chol - 6 and c_hdl = (hdl_chol - 1.3) / 0.5, lp
    is a sum of these, of smoking and of their products with c_age; S0 = 0.9605 for men and 0.9776 for women
    (doi:10.1093/eurheartj/ehab309)::

        p0 = 1 - S0 ** exp(lp)        p = 1 - exp(-exp(s1 + s2 ln(-ln(1 - p0))))      s1, s2 of the region

    Args:
        sex: "male" or "female"; None, "" and NaN are unknown.
        age: Years; 69.9 still counts as 69, in the score's range.
        smoker: Current smoker, as bool or 0/1.
        sbp: Systolic blood pressure in mmHg.
        total_chol: Total cholesterol in ``chol_unit``.
        hdl_chol: HDL cholesterol in ``chol_unit``.
        region: Risk region of the country: "low", "moderate", "high" or "very_high", see
            :func:`ecgloss.risk.region_of`. There is no default, because the risk of the same patient differs
            several-fold between them, and not every country is in one.
        chol_unit: "mmol/L" or "mg/dL" (divided by 38.67).
        extrapolate: For values outside the score's range: "nan" gives NaN, "clip" the score at the end of the range and
            a warning that counts the patients, "formula" the value of the formula there (which may reach 0 or 1),
            "raise" an error.

    Returns:
        Risk as a fraction in (0, 1), of the broadcast shape.

    Raises:
        ValueError: if a sex, region, unit or option is unknown, a value is impossible in its unit, HDL is above the
            total, the shapes do not broadcast, or a value is out of range and ``extrapolate="raise"``.
        TypeError: if an argument is not numeric.

    Example:
        >>> risk = score2(sex="male", age=50, smoker=1, sbp=140, total_chol=6.3, hdl_chol=1.4, region="low")
        >>> f"{risk:.1%}"
        '6.3%'
        >>> score2(sex=["male", None], age=50, smoker=1, sbp=140, total_chol=6.3, hdl_chol=1.4, region="low").round(3)
        array([0.063,   nan])
    """
    given = {"sex": sex, "age": age, "smoker": smoker, "sbp": sbp, "total_chol": total_chol, "hdl_chol": hdl_chol}
    return score(load_model("score2"), given, region=region, chol_unit=chol_unit, extrapolate=extrapolate)


def score2_op(
    *,
    sex: object,
    age: object,
    smoker: object,
    sbp: object,
    total_chol: object,
    hdl_chol: object,
    diabetes: object = 0,
    region: Region,
    chol_unit: CholUnit = "mmol/L",
    extrapolate: Extrapolate = "nan",
) -> Any:
    """Ten-year risk of a first cardiovascular event by SCORE2-OP, for people of 70 to 89 years.

    As :func:`score2` with c_age = age - 73, c_sbp = sbp - 150, c_tc = total_chol - 6 and c_hdl = hdl_chol - 1.4, with
    diabetes as an ordinary input, and lp - mean_lp in place of lp (doi:10.1093/eurheartj/ehab312).

    Args:
        sex: As for :func:`score2`, like all arguments that are not listed otherwise.
        age: Years.
        smoker: Current smoker.
        sbp: Systolic blood pressure in mmHg.
        total_chol: Total cholesterol.
        hdl_chol: HDL cholesterol.
        diabetes: Diabetes as bool or 0/1.
        region: Risk region.
        chol_unit: Unit of cholesterol.
        extrapolate: For values outside the score's range.

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
    given = {"sex": sex, "age": age, "smoker": smoker, "sbp": sbp, "total_chol": total_chol, "hdl_chol": hdl_chol}
    given["diabetes"] = diabetes
    return score(load_model("score2_op"), given, region=region, chol_unit=chol_unit, extrapolate=extrapolate)


def score2_diabetes(
    *,
    sex: object,
    age: object,
    smoker: object,
    sbp: object,
    total_chol: object,
    hdl_chol: object,
    age_at_diagnosis: object,
    hba1c: object,
    egfr: object,
    diabetes: object = 1,
    region: Region,
    chol_unit: CholUnit = "mmol/L",
    glucose_unit: GlucoseUnit = "mmol/mol",
    extrapolate: Extrapolate = "nan",
) -> Any:
    """Ten-year risk of a first cardiovascular event by SCORE2-Diabetes, for people of 40 to 69 with type 2 diabetes.

    The terms of :func:`score2` with coefficients of their own, and (age at diagnosis - 50) / 5, (HbA1c - 31) / 9.34 and
    (ln eGFR - 4.5) / 0.15 with its square (doi:10.1093/eurheartj/ehad260).

    Args:
        sex: As for :func:`score2`, like all arguments that are not listed otherwise.
        age: Years.
        smoker: Current smoker.
        sbp: Systolic blood pressure in mmHg.
        total_chol: Total cholesterol.
        hdl_chol: HDL cholesterol.
        age_at_diagnosis: Age in years at the diagnosis of diabetes; not used where ``diabetes`` is 0.
        hba1c: Glycated haemoglobin in ``glucose_unit``.
        egfr: Estimated glomerular filtration rate (CKD-EPI) in mL/min/1.73 m2.
        diabetes: 1 for the people the score is made for; the formula is defined for 0 as well.
        region: Risk region.
        chol_unit: Unit of cholesterol.
        glucose_unit: Unit of HbA1c: "mmol/mol" (IFCC) or "%" (NGSP), which becomes (% - 2.15) * 10.929.
        extrapolate: For values outside the score's range.

    Returns:
        Risk as a fraction in (0, 1), as :func:`score2`.

    Raises:
        ValueError: as :func:`score2`, and if a diagnosis lies after the patient's age.
        TypeError: as :func:`score2`.

    Example:
        >>> man = {"sex": "male", "age": 60, "smoker": 0, "sbp": 140, "total_chol": 5.5, "hdl_chol": 1.3}
        >>> risk = score2_diabetes(**man, age_at_diagnosis=60, hba1c=50, egfr=90, region="low")
        >>> f"{risk:.1%}"
        '8.4%'
    """
    given = {"sex": sex, "age": age, "smoker": smoker, "sbp": sbp, "total_chol": total_chol, "hdl_chol": hdl_chol}
    given |= {"diabetes": diabetes, "age_at_diagnosis": age_at_diagnosis, "hba1c": hba1c, "egfr": egfr}
    return score(
        load_model("score2_diabetes"),
        given,
        region=region,
        chol_unit=chol_unit,
        glucose_unit=glucose_unit,
        extrapolate=extrapolate,
    )


def prevent(
    *,
    sex: object,
    age: object,
    sbp: object,
    bp_treated: object,
    diabetes: object,
    smoker: object,
    egfr: object,
    total_chol: object = None,
    hdl_chol: object = None,
    statin: object = None,
    bmi: object = None,
    outcome: Outcome = "cvd",
    chol_unit: CholUnit = "mmol/L",
    extrapolate: Extrapolate = "nan",
) -> Any:
    """Ten-year risk by the PREVENT base equations of 2023, for adults of 30 to 79 years in the USA.

    p = 1 / (1 + exp(-lp)), where lp has terms of age, non-HDL and HDL cholesterol, systolic pressure below and above
    110 mmHg, diabetes, smoking, eGFR below and above 60, treatment, and their products
    (doi:10.1161/CIRCULATIONAHA.123.067626). Heart failure has body mass index in place of cholesterol and statins.

    Args:
        sex: As for :func:`score2`, like all arguments that are not listed otherwise.
        age: Years.
        sbp: Systolic blood pressure in mmHg.
        bp_treated: Treatment of blood pressure, as bool or 0/1.
        diabetes: Diabetes.
        smoker: Current smoker.
        egfr: Estimated glomerular filtration rate in mL/min/1.73 m2.
        total_chol: Total cholesterol; not used for "hf".
        hdl_chol: HDL cholesterol; not used for "hf".
        statin: Statin treatment, as bool or 0/1; not used for "hf".
        bmi: Body mass index in kg/m2, for "hf" only.
        outcome: "cvd" (atherosclerotic disease or heart failure), "ascvd" or "hf" (heart failure).
        chol_unit: Unit of cholesterol.
        extrapolate: As for :func:`score2`. The range concerns age, pressure, cholesterol, eGFR and body mass index.

    Returns:
        Risk as a fraction in (0, 1), as :func:`score2`.

    Raises:
        ValueError: as :func:`score2`.
        TypeError: as :func:`score2`.

    Example:
        >>> woman = {"sex": "female", "age": 50, "sbp": 160, "bp_treated": 1, "total_chol": 200, "hdl_chol": 45}
        >>> woman |= {"statin": 0, "diabetes": 1, "smoker": 0, "egfr": 90, "chol_unit": "mg/dL"}
        >>> [f"{prevent(**woman, outcome=outcome):.1%}" for outcome in ("cvd", "ascvd")]
        ['14.7%', '9.2%']
    """
    if outcome not in ("cvd", "ascvd", "hf"):
        raise ValueError(f"outcome must be cvd, ascvd or hf; got {outcome!r}")
    model = load_model(f"prevent_{outcome}")
    given = {"sex": sex, "age": age, "sbp": sbp, "bp_treated": bp_treated, "diabetes": diabetes, "smoker": smoker}
    given |= {"egfr": egfr, "total_chol": total_chol, "hdl_chol": hdl_chol, "statin": statin, "bmi": bmi}
    absent = [
        name for name in model.inputs if given[name] is None and name in ("total_chol", "hdl_chol", "statin", "bmi")
    ]
    if absent:
        raise ValueError(f"{absent[0]} is needed for the outcome {outcome}; give NaN where it is unknown")
    given = {name: given[name] for name in model.inputs}
    return score(model, given, chol_unit=chol_unit, extrapolate=extrapolate)


def cha2ds2_vasc(
    *,
    sex: object,
    age: object,
    heart_failure: object,
    hypertension: object,
    diabetes: object,
    stroke: object,
    vascular: object,
    extrapolate: Extrapolate = "nan",
) -> Any:
    """CHA2DS2-VASc, 0 to 9 points for stroke in atrial fibrillation.

    1 point each for heart failure, hypertension, diabetes, vascular disease, female sex and 65 to 74 years; 2 each for
    75 years and older and for a previous stroke (doi:10.1378/chest.09-1584).

    Args:
        sex: As for :func:`score2`.
        age: Years.
        heart_failure: Heart failure or reduced ejection fraction, as bool or 0/1, like all that follow.
        hypertension: Hypertension.
        diabetes: Diabetes.
        stroke: Previous stroke, transient ischaemic attack or thromboembolism.
        vascular: Previous myocardial infarction, peripheral artery disease or aortic plaque.
        extrapolate: As for :func:`score2`; the score is for adults.

    Returns:
        Points, as floats: NaN where an input is unknown.

    Raises:
        ValueError: as :func:`score2`.
        TypeError: as :func:`score2`.

    Example:
        >>> history = {"heart_failure": 0, "hypertension": 1, "diabetes": 0, "stroke": 1, "vascular": 0}
        >>> cha2ds2_vasc(sex=["male", "female"], age=[70, 80], **history)
        array([4., 6.])
    """
    given = {"sex": sex, "age": age, "heart_failure": heart_failure, "hypertension": hypertension}
    given |= {"diabetes": diabetes, "stroke": stroke, "vascular": vascular}
    return score(load_model("cha2ds2_vasc"), given, extrapolate=extrapolate)


def cha2ds2_va(
    *,
    age: object,
    heart_failure: object,
    hypertension: object,
    diabetes: object,
    stroke: object,
    vascular: object,
    extrapolate: Extrapolate = "nan",
) -> Any:
    """CHA2DS2-VA, 0 to 8 points: :func:`cha2ds2_vasc` without the point for female sex (doi:10.1093/eurheartj/ehae176).

    Args:
        age: As for :func:`cha2ds2_vasc`, like all that follow.
        heart_failure: Heart failure.
        hypertension: Hypertension.
        diabetes: Diabetes.
        stroke: Previous stroke, transient ischaemic attack or thromboembolism.
        vascular: Vascular disease.
        extrapolate: For ages below 18.

    Returns:
        Points, as floats.

    Raises:
        ValueError: as :func:`score2`.
        TypeError: as :func:`score2`.

    Example:
        >>> float(cha2ds2_va(age=76, heart_failure=1, hypertension=1, diabetes=0, stroke=0, vascular=0))
        4.0
    """
    given = {"age": age, "heart_failure": heart_failure, "hypertension": hypertension}
    given |= {"diabetes": diabetes, "stroke": stroke, "vascular": vascular}
    return score(load_model("cha2ds2_va"), given, extrapolate=extrapolate)


def score(
    model: ScoreModel,
    given: Mapping[str, object],
    *,
    region: str | None = None,
    chol_unit: CholUnit = "mmol/L",
    glucose_unit: GlucoseUnit = "mmol/mol",
    extrapolate: Extrapolate = "nan",
) -> Any:
    """Any score, such as one of a user's coefficient file.

    Args:
        model: The score, see :func:`ecgloss.risk.read_models`.
        given: Its inputs by name.
        region: Risk region, for a score that is calibrated to regions.
        chol_unit: Unit of cholesterol.
        glucose_unit: Unit of HbA1c.
        extrapolate: For values outside the score's range, as for :func:`score2`.

    Returns:
        The score, as :func:`score2`; points for the link "points".

    Raises:
        ValueError: as :func:`score2`, and if an input is not given or is none of the score.
        TypeError: as :func:`score2`.

    Example:
        >>> from ecgloss.risk import load_model
        >>> man = {"sex": "male", "age": 50, "smoker": 1, "sbp": 140, "total_chol": 6.3, "hdl_chol": 1.4}
        >>> round(float(score(load_model("score2"), man, region="low")), 4)
        0.0631
    """
    if extrapolate not in EXTRAPOLATE:
        raise ValueError(f"extrapolate must be one of {', '.join(EXTRAPOLATE)}; got {extrapolate!r}")
    odd = set(given) ^ set(model.inputs)
    if odd:
        raise ValueError(
            f"{model.title} takes {', '.join(model.inputs)}; unknown or not given: {', '.join(sorted(odd))}"
        )
    if model.regional:
        check_region(region)
    who = collect(given, chol_unit=chol_unit, glucose_unit=glucose_unit)
    _refuse_impossible(who, chol_unit, glucose_unit)
    out = {name: outside(limits, who.plain[name]) for name, limits in model.valid.items()}
    out = {name: mask for name, mask in out.items() if mask.any()}
    if out and extrapolate != "formula":
        anywhere = np.any([*out.values()], axis=0)
        if extrapolate == "raise":
            raise ValueError(_out_of_range(model, who, out))
        if extrapolate == "clip":
            warnings.warn(f"{_out_of_range(model, who, out)}; clipped to it", stacklevel=3)
            who = clipped(model, who)
            return who.kind.result(risk(model, who, region))
        return who.kind.result(who.kind.library.where(who.kind.mask(anywhere), np.nan, risk(model, who, region)))
    return who.kind.result(risk(model, who, region))


def _out_of_range(model: ScoreModel, who: Inputs, out: Mapping[str, Any]) -> str:
    """A sentence on values outside the range of a score."""
    parts = []
    for name, mask in out.items():
        limits, unit = model.valid[name], QUANTITIES[name].unit
        first = who.plain[name][mask][0]
        parts.append(
            f"{name}: {np.count_nonzero(mask)} of {mask.size} outside the {limits.low:g} to {limits.high:g} {unit} of "
            f"{model.title}, the first is {first:g}"
        )
    return "; ".join(parts)


def _refuse_impossible(who: Inputs, chol_unit: str, glucose_unit: str) -> None:
    """Raise for values that are impossible in their unit; ages are judged by the range of the score instead."""
    numbers = {name: x for name, x in who.plain.items() if name in QUANTITIES}
    found = find_flags(numbers, chol_unit=chol_unit, glucose_unit=glucose_unit)
    for name, quantity in QUANTITIES.items():
        if name == "age" or name not in numbers:
            continue
        x = numbers[name]
        wrong = x[(x < quantity.low) | (x > quantity.high)]
        if wrong.size:
            flags = [flag for flag in found if flag.startswith(f"{name}_in_")]
            hint = f" ({way_out(flags[0])})" if flags else ""
            raise ValueError(
                f"{name}: {wrong.size} of {x.size} values outside {quantity.low:g} to {quantity.high:g} "
                f"{quantity.unit}, the first is {wrong[0]:g}{hint}; unknown values are given as NaN"
            )
    for flag, mask in found.items():
        if flag == HDL_ABOVE_TOTAL or "_above_" in flag:
            raise ValueError(f"{flag} in {np.count_nonzero(mask)} of {mask.size} patients: {way_out(flag)}")
