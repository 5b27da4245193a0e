"""clinical_risk: one comparable number per patient, and an honest count of what was not known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgloss.risk import clinical_risk, score2, score2_op
from ecgloss.risk.missing import ATTRIBUTES, REFERENCES
from ecgloss.risk.score2 import REGIONS

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
    known = clinical_risk(sex=sex, age=age, **COMPLETE | {name: getattr(REFERENCES[sex], name)}, region="moderate")
    for unknown in (COMPLETE | {name: np.nan}, COMPLETE | {name: None}):
        result = clinical_risk(sex=sex, age=age, **unknown, region="moderate")
        assert np.array_equal(result.risk, known.risk)
        assert result.n_missing.tolist() == [1]
        assert result.missing.tolist() == [1 / 6]


def test_without_age_or_sex_there_is_no_risk_but_the_count_stands():
    result = clinical_risk(
        sex=["male", None, "", None], age=[np.nan, 50, 80, np.nan], sbp=[150, 150, np.nan, np.nan], region="low"
    )
    assert np.isnan(result.risk).all()
    assert result.n_missing.tolist() == [4, 4, 5, 6]
    assert result.missing[-1] == 1.0
    assert result.n_attributes == len(ATTRIBUTES) == 6


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
    """With the references the models join more closely than with their own centring values, and as documented."""
    before, after = clinical_risk(sex=sex, age=[69, 70], region=region).risk
    low, high = (0.053, 0.057) if region == "very_high" else (-0.007, 0.006)
    assert low <= round(after - before, 3) <= high
    centred = [
        score2(sex=sex, age=69, smoker=0, sbp=120, total_chol=6, hdl_chol=1.3, region=region),
        score2_op(sex=sex, age=70, smoker=0, sbp=150, total_chol=6, hdl_chol=1.4, region=region),
    ]
    assert abs(after - before) < centred[1] - centred[0]


def test_ages_beyond_the_validated_range_are_those_of_its_ends():
    risk = clinical_risk(sex="male", age=[0, 18, 40, 89, 90, 104], region="low").risk
    assert risk[0] == risk[1] == risk[2] == clinical_risk(sex="male", age=40, region="low").risk[0]
    assert risk[3] == risk[4] == risk[5]
    assert risk[3] > risk[2]


@given(age=st.floats(0, 130), sex=st.sampled_from(SEXES), region=st.sampled_from(REGIONS), sbp=st.floats(80, 220))
@settings(deadline=None)
def test_risk_is_a_fraction_at_any_age(age, sex, region, sbp):
    result = clinical_risk(sex=sex, age=age, sbp=sbp, region=region)
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
    with pytest.raises(ValueError, match=r"age: 1 of 2 values outside 0 to 130 years, .* give NaN for unknown"):
        clinical_risk(sex="male", age=[50, code], region="low")


def test_tables_are_refused_as_more_than_one_axis():
    with pytest.raises(ValueError, match=r"scalars or \(n,\) arrays, together they have shape \(2, 2\)"):
        clinical_risk(sex="male", age=[[50, 60], [70, 80]], region="low")


def test_unknown_region_is_refused():
    with pytest.raises(ValueError, match="region must be one of"):
        clinical_risk(sex="male", age=50, region="usa")
