"""A user's table: columns recognised, joined by recording or patient, read right or refused with table and column."""

from __future__ import annotations

from copy import copy

import numpy as np
import pandas as pd
import pytest

from ecgloss._files import read_json
from ecgloss.cli import main
from ecgloss.data import from_arrays, open_dataset, split_by_patient
from ecgloss.data.splits import split_as_said
from ecgloss.data.table_columns import columns_of, parse_columns

N = 8


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    x = np.random.default_rng(0).normal(size=(N, 2, 1000))
    cache = tmp_path_factory.mktemp("cache")
    return from_arrays(x, sampling_rate=100, leads=["I", "II"], units="mV", cache_dir=cache, progress=False)


@pytest.fixture
def join(dataset, tmp_path):
    """Writes a table and joins it: text of the file, columns, name."""

    def joined(text: str, columns=None, name: str = "table.csv", encoding: str = "utf-8"):
        (tmp_path / name).write_text(text, encoding=encoding)
        return open_dataset(
            dataset.folder, preprocessing=dataset.preprocessing, table=tmp_path / name, columns=columns, progress=False
        )

    return joined


WHOLE = """file,pid,Age,Gender,smoker,SBP,my_score,finding
0,a,61,F,1,120,0.1,AF;LAD
1,a,>89,male,no,,0.2,
2,b,,,,141.5,,none
3,b,40,M,yes,100,0.4,AF
"""


def test_cells_become_metadata_labels_targets_and_patients(join):
    found = join(WHOLE, "patient=pid,risk=my_score,label:rhythm=finding")
    index = found.index
    assert index["patient"].tolist() == ["a", "a", "b", "b", "4", "5", "6", "7"]
    np.testing.assert_array_equal(index["age"].to_numpy(float), [61, 90, np.nan, 40, *[np.nan] * 4])
    assert index["sex"].tolist()[:4] == ["female", "male", None, "male"]
    assert index["smoker"].tolist()[:4] == [True, False, None, True]
    np.testing.assert_array_equal(index["sbp"].to_numpy(float)[:4], [120, np.nan, 141.5, 100])
    np.testing.assert_array_equal(found.values("my_score"), [0.1, 0.2, np.nan, 0.4, *[np.nan] * 4])
    assert found.labels("rhythm") == [("AF", "LAD"), None, None, ("AF",), None, None, None, None]
    assert found.tasks() == ["rhythm", "sex", "my_score", "age"]
    assert found.notes[0] == (
        "table.csv: patient = pid, risk = my_score, label rhythm = finding; recognised record = file, age = Age, "
        "sex = Gender, smoker = smoker, sbp = SBP"
    )
    assert found.notes[1] == "table.csv: 4 of 8 recordings found by file"
    assert found.notes[2] == "table.csv: 4 recordings have no row, such as 4, 5, 6"


def test_patients_of_the_table_never_straddle_a_split(join):
    found = join("record,patient\n" + "".join(f"{i},{i % 3}\n" for i in range(N)))
    for seed in range(10):
        split = split_by_patient(found, seed=seed)
        parts = [{i % 3 for i in part.tolist()} for part in (split.train, split.validation, split.test)]
        assert sum(map(len, parts)) == 3


def test_identical_signals_stay_together_whatever_the_table_says(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 1, 1000))
    x[3] = x[0]
    known = from_arrays(x, sampling_rate=100, leads=["I"], units="mV", cache_dir=tmp_path, progress=False)
    (tmp_path / "t.csv").write_text("record,patient\n0,a\n1,a\n2,b\n3,c\n")
    found = open_dataset(known.folder, preprocessing=known.preprocessing, table=tmp_path / "t.csv")
    groups = found.index["group"].tolist()
    assert groups[0] == groups[1] == groups[3] != groups[2]


@pytest.mark.parametrize(
    "text",
    [
        "record;age\n0;61,5\n1;40\n",
        "record\tage\n0\t61.5\n1\t40\n",
        "record|age\n0|61.5\n1|40\n",
        "\ufeffrecord,age\n0,61.5\n1,40\n",
        "record , age\n 0 , 61.5\n 1 , 40\n",
        "record,age\n0.npy,61.5\n./1,40\n",
        "record,age\nsome/folder/0,61.5\nsome/folder/1.hea,40\n",
        'record,note,age\n0,"a\nb",61.5\n1,"x, y",40\n',
    ],
)
def test_separators_marks_and_spellings_of_records(join, text):
    found = join(text)
    np.testing.assert_array_equal(found.index["age"].to_numpy(float)[:3], [61.5, 40, np.nan])


def test_a_saved_index_column_and_whole_numbers_beside_missing_ones_are_harmless(join, tmp_path):
    frame = pd.DataFrame({"file": [0.0, 1.0, 2.0, np.nan], "age": [50.0, np.nan, 60.0, 70.0]})
    found = join(frame.to_csv())
    np.testing.assert_array_equal(found.index["age"].to_numpy(float)[:3], [50, np.nan, 60])


def test_parquet_gives_what_csv_gives(dataset, tmp_path):
    frame = pd.DataFrame(
        {"record": [0, 1, 3], "age": [50.0, np.nan, 60.0], "af": [True, False, None], "sex": ["M", None, "F"]}
    )
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    one, two = (
        open_dataset(dataset.folder, preprocessing=dataset.preprocessing, table=tmp_path / name, columns="label:af=af")
        for name in ("t.parquet", "t.csv")
    )
    assert one.index["age"].equals(two.index["age"])
    assert one.index["sex"].tolist() == two.index["sex"].tolist()
    assert one.labels("af") == two.labels("af") == [("af",), (), None, None, *[None] * 4]


def test_a_table_of_patients_is_joined_by_patient(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 1, 1000))
    said = {"sampling_rate": 100, "leads": ["I"], "units": "mV", "cache_dir": tmp_path, "progress": False}
    known = from_arrays(x, patient=[7, 7, 8, 9], **said)
    (tmp_path / "t.csv").write_text("pid,age\n7,70\n9,90\n10,100\n")
    found = open_dataset(known.folder, preprocessing=known.preprocessing, table=tmp_path / "t.csv")
    np.testing.assert_array_equal(found.index["age"].to_numpy(float), [70, 70, np.nan, 90])
    assert found.notes[-1] == "t.csv: 1 rows fit no recording, such as 10"


def test_cholesterol_may_be_in_either_unit_but_not_in_the_wrong_one(join):
    text = "record,tc,hdl\n0,200,50\n1,180,40\n"
    with pytest.raises(ValueError, match=r"column tc: a median of 190 mmol/L is impossible.* total_chol:mg/dL=tc"):
        join(text)
    found = join(text, "total_chol:mg/dL=tc,hdl_chol:mg/dL=hdl")
    np.testing.assert_allclose(found.index["total_chol"].to_numpy(float)[:2], [5.172, 4.655], atol=1e-3)


def test_the_table_is_part_of_the_fingerprint_but_not_of_that_of_the_signals(join, dataset):
    one, again, other = (join(f"record,age\n0,{age}\n") for age in (61, 61, 62))
    assert one.fingerprint == again.fingerprint
    assert len({one.fingerprint, other.fingerprint, dataset.fingerprint}) == 3
    assert one.signals_fingerprint == other.signals_fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("record,age\n0,old\n", None, r"table.csv, column age: 'old' is not an age"),
        ("record,sex\n0,7\n", None, r"table.csv, column sex: '7' is not a sex; write male or female"),
        ("record,smoker\n0,often\n", None, r"column smoker: 'often' is neither yes nor no"),
        ("record,sbp\n0,high\n", None, r"column sbp: 'high' is not a number"),
        ("record,x\n0," + "y" * 300 + "\n", "value:x=x", r"column x: 'y{40}\.\.\.' is not a number"),
        ("age\n61\n", None, r"names neither recordings nor patients .* It has age"),
        (
            "record,age\nA,1\nB,2\n",
            None,
            r"column record fits no recording of .*; it has A, B, the recordings are called 0, 1",
        ),
        (
            "record,age\n0,1\n0,2\n",
            None,
            r"column record has 1 entries more than once, such as 0; one row per recording",
        ),
        ("record,age,Age\n0,1,2\n", None, r"columns age and Age may both be age; say which, --columns age=HEADING"),
        ("record,age,age\n0,1,2\n", None, None),
        ("record,age\n", None, r"cannot use the table .*: it has no rows"),
        ("", None, r"cannot read the table"),
        ("record,age\n0,1\n", "risk=score", r"columns names risk=score; the table has record, age"),
        ("record,age\n0,1\n", "height=age", r"height must be one of record, patient, age"),
        ("record,age\n0,1\n", "age", r"columns must be MEANING=HEADING"),
        ("record,age\n0,1\n", "age=age,age=record", r"columns names age twice"),
        ("record,tc\n0,1\n", "total_chol:g/L=tc", r"the unit of total_chol must be mmol/L or mg/dL; got g/L"),
    ],
)
def test_what_cannot_be_understood_is_named(join, text, columns, message):
    if message is None:  # pandas renames the second of two equal headings
        assert join(text, columns).index["age"].tolist()[0] == 1
        return
    with pytest.raises(ValueError, match=message):
        join(text, columns)


def test_a_table_that_is_not_there_and_columns_without_a_table(dataset, tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the table .*none.csv: No such file"):
        open_dataset(dataset.folder, preprocessing=dataset.preprocessing, table=tmp_path / "none.csv")
    with pytest.raises(ValueError, match="without a table"):
        open_dataset(dataset.folder, preprocessing=dataset.preprocessing, columns="age=a")


def test_other_than_utf8_is_refused_with_the_file_named(join):
    with pytest.raises(ValueError, match=r"cannot read the table .*table.csv"):
        join("record,Größe\n0,1\n", encoding="cp1252")


def test_columns_can_be_a_mapping_and_headings_are_recognised_in_any_spelling():
    assert parse_columns({"record": "a,b"}) == {"record": "a,b"}
    named, recognised = columns_of(["ECG ID", "Patient_ID", "HDL-C", "systolic BP"], None)
    assert named == []
    assert [c.kind for c in recognised] == ["record", "patient", "sbp", "hdl_chol"]


# Splits


@pytest.mark.parametrize("words", [["train", "Training", "VAL", "test"], [1, 8, 9, 10]])
def test_a_column_gives_the_parts_of_a_split_and_the_rest_is_in_none(join, words):
    found = join("record,part\n" + "".join(f"{i},{word}\n" for i, word in enumerate(words)), {"split": "part"})
    split = split_as_said(found, "part")
    assert [split.train.tolist(), split.validation.tolist(), split.test.tolist()] == [[0, 1], [2], [3]]


def test_a_split_survives_its_file_with_recordings_that_are_in_no_part(join, tmp_path):
    found = join("record,part\n0,train\n1,test\n2,validation\n", "split=part")
    split = split_as_said(found, "part")
    split.save(tmp_path / "split.json")
    again = split_as_said(from_other(found), str(tmp_path / "split.json"))
    assert [x.tolist() for x in (again.train, again.validation, again.test)] == [[0], [2], [1]]


def from_other(dataset):
    """The same recordings without the table's parts."""
    other = copy(dataset)
    other.parts = None
    return other


def test_everything_can_be_trained_on(dataset):
    split = split_as_said(dataset, "all")
    assert split.train.tolist() == list(range(N))
    assert not len(split.validation) + len(split.test)


def test_a_patient_in_two_parts_and_a_split_from_nowhere_are_refused(join, dataset):
    found = join("record,patient,part\n0,a,train\n1,a,test\n2,b,validation\n", "split=part")
    with pytest.raises(ValueError, match=r"split part: patient \S+ is in train and in test"):
        split_as_said(found, "part")
    with pytest.raises(ValueError, match="split nowhere is no file, and no column of a table"):
        split_as_said(dataset, "nowhere")
    with pytest.raises(ValueError, match="split part: no recording trains"):
        split_as_said(join("record,part\n0,test\n", "split=part"), "part")
    with pytest.raises(ValueError, match="'somewhere' is no part of a split"):
        join("record,part\n0,somewhere\n", "split=part")


def test_a_column_that_would_be_recognised_can_be_left_out(join):
    with pytest.raises(ValueError, match=r"'7' is not a sex.*; to leave the column out, --columns sex=none"):
        join("record,sex\n0,7\n")
    assert join("record,sex\n0,7\n", "sex=none").index["sex"].isna().all()


@pytest.mark.real_data
@pytest.mark.exhaustive
def test_the_folds_of_ptbxl_from_its_own_table(real_data, tmp_path, capsys):
    folder = real_data("ptbxl")
    source = ["--data", str(folder), "--table", str(folder / "ptbxl_database.csv"), "--cache", str(tmp_path / "c")]
    source += ["--columns", "record=filename_lr,sex=none,age=none,patient=none", "--split", "strat_fold"]
    run = ["--loss", "simclr", "--sampling_rate", "100", "--seconds", "3", "--epochs", "1"]
    run += ["--out", str(tmp_path / "run")]
    assert main(["pretrain", *source, *run]) == 0
    said = read_json(tmp_path / "run" / "split.json")["recordings"]
    table = pd.read_csv(folder / "ptbxl_database.csv").set_index("filename_lr")["strat_fold"]
    expected = {9: "validation", 10: "test"}
    assert all(part == expected.get(table[name], "train") for name, part in said.items())
    assert main(["evaluate", "--checkpoint", str(tmp_path / "run"), *source, "--task", "superdiagnostic"]) == 0
    capsys.readouterr()
