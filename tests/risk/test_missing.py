"""clinical_risk: one comparable number per patient, and an honest count of what was not known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgloss.risk import (
    Imputer,
    cha2ds2_vasc,
    clinical_risk,
    fit_imputer,
    prevent,
    region_of,
    score2,
    score2_diabetes,
    score2_op,
)
from ecgloss.risk.models import REGIONS
from ecgloss.risk.population import load_population

SEXES = ("male", "female")
COMPLETE = {"smoker": 1, "sbp": 150.0, "total_chol": 6.1, "hdl_chol": 1.1}


def test_complete_records_get_the_published_scores():
    result = clinical_risk(sex="female", age=[50, 69, 70, 80], **COMPLETE, region="high")
    younger = score2(sex="female", age=[50, 69], **COMPLETE, region="high")
    older = score2_op(sex="female", age=[70, 80], **COMPLETE, region="high")
    assert np.array_equal(result.risk, np.concatenate([younger, older]))
    assert result.missing.tolist() == [0.0] * 4
    assert result.n_missing.tolist() == [0] * 4


def test_model_changes_at_the_seventieth_birthday():
    result = clinical_risk(sex="male", age=[69.99, 70.0], **COMPLETE, region="low")
    assert result.risk[0] == score2(sex="male", age=69.99, **COMPLETE, region="low")
    assert result.risk[1] == score2_op(sex="male", age=70.0, **COMPLETE, region="low")


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("sex", SEXES)
@pytest.mark.parametrize("age", [50.0, 80.0])
def test_an_unknown_attribute_is_replaced_by_the_documented_reference_and_counted(name, sex, age):
    value = load_population("europe").fill(name, np.array([SEXES.index(sex)]), np.array([age]))
    known = clinical_risk(sex=sex, age=age, **COMPLETE | {name: value}, region="moderate")
    for unknown in (COMPLETE | {name: np.nan}, COMPLETE | {name: None}):
        result = clinical_risk(sex=sex, age=age, **unknown, region="moderate")
        assert np.array_equal(result.risk, known.risk)
        assert result.n_missing.tolist() == [1]
        assert result.missing.tolist() == [1 / 6]
        assert {key: mask.tolist() for key, mask in result.imputed.items()} == {name: [True]}


def test_without_age_or_sex_there_is_no_risk_but_the_count_stands():
    result = clinical_risk(
        sex=["male", None, "", None], age=[np.nan, 50, 80, np.nan], sbp=[150, 150, np.nan, np.nan], region="low"
    )
    assert np.isnan(result.risk).all()
    assert result.n_missing.tolist() == [4, 4, 5, 6]
    assert result.missing[-1] == 1.0
    assert result.n_attributes.tolist() == [6] * 4


@given(known=st.lists(st.booleans(), min_size=6, max_size=6), diabetes=st.sampled_from([None, 0, 1, np.nan]))
@settings(deadline=None, max_examples=64)
def test_missing_counts_exactly_the_six_attributes(known, diabetes):
    record = {"age": 66.0, "sex": "male", **COMPLETE}
    given_ = {
        name: value if there else (None if name == "sex" else np.nan)
        for (name, value), there in zip(record.items(), known)
    }
    result = clinical_risk(**given_, diabetes=diabetes, region="low")
    assert result.n_missing.tolist() == [6 - sum(known)]
    assert result.missing.tolist() == [(6 - sum(known)) / 6]
    assert np.isnan(result.risk[0]) == (not (known[0] and known[1]))


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("sex", SEXES)
def test_patients_known_by_age_and_sex_only_are_ordered_by_age_within_each_model(sex, region):
    ages = np.arange(40, 90)
    risk = clinical_risk(sex=sex, age=ages, region=region).risk
    assert (np.diff(risk[ages < 70]) > 0).all()
    assert (np.diff(risk[ages >= 70]) > 0).all()


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("sex", SEXES)
def test_replacements_do_not_add_a_jump_at_70(sex, region):
    """With population values the models join more closely than with their own centring values."""
    before, after = clinical_risk(sex=sex, age=[69, 70], region=region).risk
    low, high = (0.053, 0.057) if region == "very_high" else (-0.009, 0.004)
    assert low <= round(after - before, 3) <= high
    centred = [
        score2(sex=sex, age=69, smoker=0, sbp=120, total_chol=6, hdl_chol=1.3, region=region),
        score2_op(sex=sex, age=70, smoker=0, sbp=150, total_chol=6, hdl_chol=1.4, region=region),
    ]
    assert abs(after - before) < centred[1] - centred[0]


def test_there_is_no_risk_outside_the_range_of_the_score_unless_it_is_clipped_and_counted():
    ages = [0, 18, 40, 89, 90, 104]
    result = clinical_risk(sex="male", age=ages, region="low")
    assert np.isnan(result.risk).tolist() == result.out_of_range.tolist() == [True, True, False, False, True, True]
    assert not result.clipped.any()
    result = clinical_risk(sex="male", age=ages, region="low", extrapolate="clip", table="sex_means")
    assert result.clipped.tolist() == [True, True, False, False, True, True]
    assert not result.out_of_range.any()
    assert result.counts()["clipped"] == 4
    assert "4 of 6 patients were clipped to the range of the score" in result.sentences()
    risk = result.risk
    assert risk[0] == risk[1] == risk[2] == clinical_risk(sex="male", age=40, region="low", table="sex_means").risk[0]
    assert risk[3] == risk[4] == risk[5]
    assert risk[3] > risk[2]


@given(age=st.floats(0, 130), sex=st.sampled_from(SEXES), region=st.sampled_from(REGIONS), sbp=st.floats(80, 220))
@settings(deadline=None)
def test_risk_is_a_fraction_at_any_age(age, sex, region, sbp):
    result = clinical_risk(sex=sex, age=age, sbp=sbp, region=region, extrapolate="clip")
    assert 0 < result.risk[0] < 1


def test_diabetes_raises_the_risk_of_older_patients_only_and_unknown_is_none():
    ages = [60, 75]
    without, unknown, with_ = (
        clinical_risk(sex="female", age=ages, diabetes=diabetes, region="low").risk
        for diabetes in (0, [None, np.nan], 1)
    )
    assert np.array_equal(without, unknown)
    assert with_[0] == without[0]
    assert with_[1] > without[1]


def test_scalars_give_arrays_of_one_patient():
    result = clinical_risk(sex="male", age=60, region="low")
    assert result.risk.shape == result.missing.shape == result.n_missing.shape == (1,)
    assert (result.risk.dtype, result.missing.dtype, result.n_missing.dtype) == (np.float64, np.float64, np.int64)


def test_no_patients_give_empty_arrays():
    result = clinical_risk(sex=[], age=[], region="low")
    assert result.risk.shape == result.missing.shape == result.n_missing.shape == (0,)


@pytest.mark.parametrize("code", [-1, 300, 999, np.inf])
def test_number_codes_are_not_taken_for_ages(code):
    with pytest.raises(ValueError, match=r"age_impossible: 1 of 2 values, outside 0 to 130 years; .* give NaN"):
        clinical_risk(sex="male", age=[50, code], region="low")


def test_tables_are_refused_as_more_than_one_axis():
    with pytest.raises(ValueError, match=r"scalars or \(n,\) arrays, together they have shape \(2, 2\)"):
        clinical_risk(sex="male", age=[[50, 60], [70, 80]], region="low")


def test_unknown_region_is_refused():
    with pytest.raises(ValueError, match="region must be one of"):
        clinical_risk(sex="male", age=50, region="usa")


# Which score

DIABETIC = {"age_at_diagnosis": 45.0, "hba1c": 60.0, "egfr": 80.0}


def test_auto_takes_the_score_that_fits_the_patient():
    who = {"sex": "male", "age": [50, 50, 50, 75], "diabetes": [0, 1, np.nan, 1]}
    result = clinical_risk(score="auto", **who, **COMPLETE, **DIABETIC, region="high")
    man = {"sex": "male", "region": "high", **COMPLETE}
    expected = [
        score2(age=50, **man),
        score2_diabetes(age=50, **man, **DIABETIC),
        score2(age=50, **man),
        score2_op(age=75, diabetes=1, **man),
    ]
    assert result.risk.tolist() == expected
    assert result.n_attributes.tolist() == [6, 9, 6, 6]
    assert [result.models[code].title for code in result.model] == ["SCORE2", "SCORE2-Diabetes", "SCORE2", "SCORE2-OP"]
    assert result.sentences()[0] == "scores in use: SCORE2 2, SCORE2-OP 1, SCORE2-Diabetes 1"


def test_auto_takes_prevent_in_the_usa_and_the_region_of_other_countries():
    more = {"bp_treated": 0, "statin": 0, "diabetes": 0, "egfr": 90}
    american = clinical_risk(score="auto", sex="male", age=50, **COMPLETE, **more, country="USA")
    assert american.risk[0] == prevent(sex="male", age=50, **COMPLETE, **more)
    assert american.missing.tolist() == [0]
    assert american.n_attributes.tolist() == [10]
    german = clinical_risk(score="auto", sex="male", age=50, **COMPLETE, country="germany")
    assert german.risk[0] == score2(sex="male", age=50, **COMPLETE, region="moderate")
    with pytest.raises(ValueError, match=r"country: 'Atlantis' is in no risk region of SCORE2; give region"):
        clinical_risk(score="auto", sex="male", age=50, country="Atlantis")
    with pytest.raises(ValueError, match="give region or country, not both; got region low and country Germany"):
        clinical_risk(score="auto", sex="male", age=50, region="low", country="Germany")
    with pytest.raises(ValueError, match='score "auto" needs region or country'):
        clinical_risk(score="auto", sex="male", age=50)
    with pytest.raises(ValueError, match="the USA are in no risk region of SCORE2; use prevent or auto"):
        clinical_risk(sex="male", age=50, country="USA")


def test_every_country_has_one_region():
    assert [region_of(name) for name in ("France", "UK", "Sweden", "Turkey", "Russia", "US")] == [
        "low", "low", "moderate", "high", "very_high", "prevent"]  # fmt: skip


def test_points_count_their_own_inputs():
    history = {"heart_failure": 0, "hypertension": 1, "diabetes": 0, "stroke": 1}
    result = clinical_risk(score="cha2ds2_vasc", sex="female", age=70, **history)
    assert result.risk[0] == cha2ds2_vasc(sex="female", age=70, **history, vascular=0) == 5
    assert result.n_missing.tolist() == [1]
    assert result.missing.tolist() == [1 / 7]


def test_an_unknown_score_lists_those_there_are():
    with pytest.raises(ValueError, match=r"score must be one of score2, .*, auto, or a coefficient file"):
        clinical_risk(score="framingham", sex="male", age=50, region="low")


# Unknown inputs


def test_nan_leaves_out_every_patient_with_an_unknown_input():
    result = clinical_risk(sex="male", age=50, **COMPLETE | {"sbp": [150, np.nan]}, region="low", missing_inputs="nan")
    assert np.isnan(result.risk).tolist() == [False, True]
    assert result.missing.tolist() == [0, 1 / 6]
    assert result.imputed == {}
    assert result.counts()["otherwise_unknown"] == 1


def test_an_own_table_replaces_the_population_values(tmp_path):
    table = {"format": "ecgloss.population/1", "title": "Mine", "age_from": [0, 60]}
    values = {"sbp": [120, 140], "total_chol": 5, "hdl_chol": 1.4, "smoker": 0.2}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(table | {"values": {"male": values, "female": values}}))
    result = clinical_risk(sex="male", age=[59, 60], smoker=0, region="low", table=path)
    known = {"sex": "male", "smoker": 0, "total_chol": 5, "hdl_chol": 1.4, "region": "low"}
    assert result.risk.tolist() == [score2(age=59, sbp=120, **known), score2(age=60, sbp=140, **known)]
    without, with_ = (clinical_risk(sex="male", age=59, smoker=x, region="low", table=path).risk[0] for x in (0, 1))
    assert without < clinical_risk(sex="male", age=59, region="low", table=path).risk[0] < with_
    for wrong, message in (
        ({"age_from": [10]}, "age_from must be a list of rising ages that begins with 0"),
        ({"values": {"male": values}}, "values must have male and female"),
        ({"values": {"male": values, "female": values | {"sbp": [1, 2]}}}, "female, sbp must be one possible number"),
        ({"values": {"male": values, "female": {}}}, "men and women must have the same inputs"),
    ):
        path.write_text(json.dumps(table | {"values": {"male": values, "female": values}} | wrong))
        with pytest.raises(ValueError, match=rf"mine\.json is not a table of population values: {message}"):
            clinical_risk(sex="male", age=59, region="low", table=path)


def cohort(n=400, seed=0):
    """Patients whose pressure follows from age and cholesterol, with a third of the cells unknown."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(40, 69, n)
    chol = rng.normal(5.5, 0.8, n)
    columns = {"age": age, "total_chol": chol, "sbp": 60 + age + 4 * chol + rng.normal(0, 3, n)}
    columns |= {"hdl_chol": rng.uniform(1.0, 2.0, n), "smoker": (rng.random(n) < 0.3).astype(float)}
    holes = {name: np.where(rng.random(n) < 1 / 3, np.nan, x) for name, x in columns.items() if name != "age"}
    sex = np.where(rng.random(n) < 0.5, "male", "female").tolist()
    return {"sex": sex, "age": age, **columns}, {"sex": sex, "age": age, **holes}


def test_the_fitted_imputation_is_scikit_learns_as_plain_numbers():
    pytest.importorskip("sklearn")
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    _, known = cohort()
    train = np.arange(300)
    imputer = Imputer.from_json(json.loads(json.dumps(fit_imputer(known, train).to_json())))
    x = np.stack([np.array([float(s == "female") for s in known["sex"]])]
                 + [known[name] for name in imputer.columns if name != "sex"], axis=1)  # fmt: skip
    order = ["sex", *(name for name in imputer.columns if name != "sex")]
    x = x[:, [order.index(name) for name in imputer.columns]]
    theirs = IterativeImputer(max_iter=10, min_value=imputer.low, max_value=imputer.high, random_state=0)
    expected = theirs.fit(x[train]).transform(x)
    columns = dict(zip(imputer.columns, x.T))
    np.testing.assert_allclose(np.stack([*imputer.apply(columns).values()], axis=1), expected, rtol=1e-10)
    assert imputer.patients == 300


def test_a_fitted_imputation_is_closer_than_population_values_and_sees_the_training_split_only():
    pytest.importorskip("sklearn")
    truth, known = cohort()
    train = np.arange(200)
    imputer = fit_imputer(known, train)
    others = {name: np.r_[np.asarray(x)[:200], np.asarray(x)[200:][::-1]] for name, x in known.items()}
    assert fit_imputer(others | {"sex": others["sex"].tolist()}, train) == imputer
    actual = clinical_risk(**truth, region="low").risk
    by_model = clinical_risk(**known, region="low", missing_inputs="model", imputer=imputer)
    by_table = clinical_risk(**known, region="low")
    assert np.array_equal(by_model.n_missing, by_table.n_missing)
    test = np.arange(200, 400)
    errors = [np.abs(np.log(found.risk / actual))[test].mean() for found in (by_model, by_table)]
    assert errors[0] < 0.9 * errors[1]
    with pytest.raises(ValueError, match='missing_inputs="model" needs imputer'):
        clinical_risk(**known, region="low", missing_inputs="model")
    with pytest.raises(ValueError, match="needs two inputs that are known in training; known are age"):
        fit_imputer({"age": [50, 60], "sbp": [np.nan, np.nan]}, np.arange(2))


# Values that cannot be


@pytest.mark.parametrize(
    ("given_", "flag", "unused"),
    [
        ({"sbp": 17.0}, "sbp_in_kPa", ["sbp"]),
        ({"sbp": 0.0}, "sbp_impossible", ["sbp"]),
        ({"sbp": np.inf}, "sbp_impossible", ["sbp"]),
        ({"total_chol": 210.0}, "total_chol_in_mg/dL", ["total_chol"]),
        ({"hdl_chol": 45.0}, "hdl_chol_in_mg/dL", ["hdl_chol"]),
        ({"total_chol": 40.0}, "total_chol_impossible", ["total_chol"]),
        ({"hdl_chol": 6.2}, "hdl_chol_above_total_chol", ["hdl_chol", "total_chol"]),
        (
            {"total_chol": 6.1, "hdl_chol": 1.1, "chol_unit": "mg/dL"},
            "total_chol_in_mmol/L",
            ["hdl_chol", "total_chol"],
        ),
        ({"age": 300.0}, "age_impossible", ["age"]),
    ],
)
def test_values_that_cannot_be_are_flagged_counted_and_not_used(given_, flag, unused):
    record = {"sex": "male", "age": 50.0, **COMPLETE, "region": "low"} | given_
    with pytest.raises(ValueError, match=flag):
        clinical_risk(**record)
    result = clinical_risk(**record, implausible="flag")
    assert flag in result.flags
    assert result.counts()["flagged"] == 1
    assert any(sentence.startswith(f"{flag}: 1 of 1 patients, not used:") for sentence in result.sentences())
    unknown = clinical_risk(**record | dict.fromkeys(unused, np.nan))
    assert np.array_equal(result.risk, unknown.risk, equal_nan=True)
    assert result.n_missing.tolist() == unknown.n_missing.tolist() == [len(unused)]


def test_hba1c_in_per_cent_and_a_late_diagnosis_are_flagged():
    record = {"sex": "male", "age": 50.0, **COMPLETE, "diabetes": 1, **DIABETIC, "region": "low", "score": "auto"}
    found = clinical_risk(**record | {"hba1c": [7.2, 60.0], "age_at_diagnosis": [45, 55]}, implausible="flag")
    assert {name: mask.tolist() for name, mask in found.flags.items()} == {
        "hba1c_in_%": [True, False],
        "age_at_diagnosis_above_age": [False, True],
    }
    assert found.n_missing.tolist() == [1, 1]


def test_unusual_values_are_used_and_counted():
    result = clinical_risk(sex="male", age=50, **COMPLETE | {"sbp": 240}, region="low")
    assert result.risk[0] == score2(sex="male", age=50, **COMPLETE | {"sbp": 240}, region="low")
    assert result.sentences()[-1] == "sbp: 1 of 1 patients outside the usual range of the score, but used"


def test_counts_of_rows_are_those_of_the_rows():
    result = clinical_risk(sex="male", age=[30, 50, 60], sbp=[130, 17, 150], region="low", implausible="flag")
    part = result.rows(np.array([1]))
    assert (len(part), part.counts()["flagged"], part.counts()["out_of_range"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"extrapolate": "formula"}, "extrapolate must be one of nan, clip; got 'formula'"),
        ({"missing_inputs": "mean"}, "missing_inputs must be one of impute, nan, model; got 'mean'"),
        ({"implausible": "drop"}, "implausible must be one of raise, flag; got 'drop'"),
        (
            {"table": "nowhere.json"},
            "table must be one of europe, sex_means or a file of population values",
        ),
        ({"chol_unit": "mg"}, "chol_unit must be mmol/L or mg/dL; got 'mg'"),
    ],
)
def test_options_are_checked(option, message):
    with pytest.raises(ValueError, match=message):
        clinical_risk(sex="male", age=50, region="low", **option)


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process")
def test_a_million_patients_need_less_than_a_gigabyte():
    script = """
import numpy as np
from ecgloss.risk import clinical_risk
n, rng = 1_000_000, np.random.default_rng(0)
def holes(x): return np.where(rng.random(n) < 0.3, np.nan, x)
sex = rng.choice(np.array(["male", "female", None], dtype=object), n, p=[0.35, 0.35, 0.3]).tolist()
given = {"age": holes(rng.uniform(30, 95, n)), "smoker": holes(rng.integers(0, 2, n))}
given |= {"sbp": holes(rng.uniform(90, 200, n)), "total_chol": holes(rng.uniform(4, 8, n))}
given |= {"hdl_chol": holes(rng.uniform(0.7, 2.5, n)), "diabetes": holes(rng.integers(0, 2, n))}
found = clinical_risk(score="auto", sex=sex, **given, region="low")
status = open("/proc/self/status").read()  # getrusage would begin with the memory of the process that starts this one
print(len(found), status.partition("VmHWM:")[2].split()[0])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    n, kilobytes = map(int, run.stdout.split())
    assert n == 1_000_000
    assert kilobytes < 1_000_000
