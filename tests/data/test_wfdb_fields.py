from __future__ import annotations

import math

import pytest

from ecgloss.data.wfdb.fields import age_and_sex, comment_value, parse_age, parse_sex, read_table


@pytest.mark.parametrize(("text", "age"), [("90", 90), (">89", 90), (">89\n", 90), ("> 89", 90), ("300", 90), ("0", 0)])
def test_ages_above_89_survive_de_identification(text, age):
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["NaN", "", "Unknown", "-1", "?", "999", "inf", "n/a"])
def test_an_age_that_is_not_given_is_missing_and_not_a_number_of_years(text):
    assert math.isnan(parse_age(text))


def test_sex_is_read_in_every_usual_spelling_and_missing_otherwise():
    assert {parse_sex(text) for text in ("M", "m", "Male", "male ")} == {"male"}
    assert {parse_sex(text) for text in ("F", "Female", "FEMALE")} == {"female"}
    assert {parse_sex(text) for text in ("Unknown", "NaN", "", "0")} == {None}


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        (["Age: 83", "Sex: Female", "Dx: 59118001"], (83.0, "female")),
        (["<age>: 65  <sex>: M  <diagnoses> Transient ischemic attack"], (65.0, "male")),
        (["<age>: 90", "<sex>: F"], (90.0, "female")),
        (["age: 58", "sex: female", "ECG date: 17/10/1990"], (58.0, "female")),
        (["69 M 1085 1629 x1", "Aldomet, Inderal"], (69.0, "male")),
        (["Average: 7", "Dosage: 30 mg", "Unisex: M"], (math.nan, None)),
    ],
)
def test_age_and_sex_are_found_in_the_headers_of_each_database(comments, expected):
    age, sex = age_and_sex(comments)
    assert (age, sex) == (pytest.approx(expected[0], nan_ok=True), expected[1])


def test_a_comment_is_found_by_its_whole_name():
    assert comment_value(["Dxx: 1", "DX : 2,3"], "Dx") == "2,3"
    assert comment_value(["Dx"], "Dx") is None


def test_cells_with_line_breaks_and_short_rows_do_not_shift_the_table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfID,Sex,Age\r\n1,"F\n","51\n"\r\n2,M\r\n')
    assert read_table(path) == [{"ID": "1", "Sex": "F", "Age": "51"}, {"ID": "2", "Sex": "M", "Age": ""}]


def test_a_table_in_a_foreign_encoding_is_one_clear_error(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"cannot read the table .*t\.csv"):
        read_table(path)


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        (["Age: 61", "Sex: Female"], (61, "female")),
        (["Age: NaN", "Sex: Unknown"], (None, None)),
        (["Age:92+", "Sex: M"], (92, "male")),
        (["Age: > 89"], (90, None)),
        (["Age 61", "Sex Female"], (61, "female")),
        (["Age: 061Y"], (61, None)),
        (["Age: 6 months"], (0.5, None)),
        (["Age: 300"], (90, None)),
        (["Age: -1", "Sex: NaN"], (None, None)),
        (["AGE = 45 years", "GENDER = male"], (45, "male")),
        (["Age: 572d"], (572 / 365.25, None)),
        (["Age: 45,5", "Sex: W"], (45.5, "female")),
        (["<age>: 65  <sex>: F  <diagnoses> none"], (65, "female")),
        (["Age: sixty"], (None, None)),
        (["Agent: 7"], (None, None)),
    ],
)
def test_ages_and_sexes_in_the_spellings_of_headers(comments, expected):
    age, sex = age_and_sex(comments)
    assert (None if math.isnan(age) else pytest.approx(age)) == expected[0]
    assert sex == expected[1]
