from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecgloss.data.opening import open_dataset
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.splits import (
    PARTS,
    Split,
    split_as_said,
    split_by_patient,
    split_groups,
    unknown_patients,
    usual_split,
)
from ecgloss.data.wfdb.fields import read_table


def names(n):
    return [f"r{i}" for i in range(n)]


def parts(split):
    return {split.names[i]: part for part in PARTS for i in getattr(split, part)}


@settings(deadline=None, max_examples=200)
@given(
    groups=st.lists(st.integers(0, 30).map(str), min_size=3, max_size=120),
    seed=st.integers(0, 2**32 - 1),
    weights=st.tuples(*[st.integers(1, 100)] * 3),
)
@example(groups=["0", "1", "2", "3"], seed=0, weights=(1, 1, 15))  # two patients less than its share
def test_every_recording_is_in_one_part_and_no_patient_in_two(groups, seed, weights):
    fractions = tuple(w / sum(weights) for w in weights)
    distinct = len(set(groups))
    if distinct < 3:
        with pytest.raises(ValueError, match=f"at least 3 patients.*got {distinct}"):
            split_groups(groups, names(len(groups)), seed=seed, fractions=fractions)
        return
    split = split_groups(groups, names(len(groups)), seed=seed, fractions=fractions)
    indices = np.concatenate([split.train, split.validation, split.test])
    assert sorted(indices) == list(range(len(groups)))
    sides = [{groups[i] for i in getattr(split, part)} for part in PARTS]
    assert all(sides)
    assert sum(map(len, sides)) == distinct  # so no group is counted twice
    for side, fraction in zip(sides[1:], fractions[1:]):
        share = fraction * distinct
        assert len(side) == 1 or len(side) <= share + 0.5
        # A part is smaller than its share only where the training part would have been empty otherwise.
        assert len(side) >= share - 0.5 or len(sides[0]) == 1


@settings(deadline=None, max_examples=50)
@given(st.permutations(range(40)), st.integers(0, 1000))
def test_the_order_of_recordings_does_not_matter(order, seed):
    groups = [f"g{i // 2}" for i in range(40)]
    a = split_groups(groups, names(40), seed=seed)
    b = split_groups([groups[i] for i in order], [f"r{i}" for i in order], seed=seed)
    assert parts(a) == parts(b)


def test_a_seed_fixes_the_split_on_every_machine_and_another_changes_it():
    groups = [str(i) for i in range(10)]
    # written down once: numpy promises this stream for default_rng(0).permutation
    assert split_groups(groups, names(10), seed=0).train.tolist() == [0, 1, 3, 5, 8, 9]
    assert parts(split_groups(groups, names(10), seed=0)) != parts(split_groups(groups, names(10), seed=1))


@pytest.mark.parametrize("fractions", [(0.8, 0.2, 0.0), (1.0, 1.0, 1.0), (0.5, 0.5), (1.2, -0.1, -0.1)])
def test_fractions_without_meaning_are_refused(fractions):
    with pytest.raises(ValueError, match="fractions must be three positive numbers with sum 1"):
        split_groups(["a", "b", "c"], names(3), fractions=fractions)


def test_a_name_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="names must be unique"):
        split_groups(["a", "b", "c"], ["x", "x", "y"])


def test_a_saved_split_is_the_same_split(tmp_path):
    split = split_groups(list("abcdefgg"), names(8), seed=3, fingerprint="f")
    split.save(tmp_path / "deep" / "split.json")
    loaded = Split.load(tmp_path / "deep" / "split.json")
    assert parts(loaded) == parts(split)
    assert (loaded.names, loaded.seed, loaded.fractions, loaded.fingerprint) == (
        split.names,
        3,
        split.fractions,
        "f",
    )
    for part in PARTS:
        np.testing.assert_array_equal(getattr(loaded, part), getattr(split, part))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["split.json"]


def test_a_failed_save_leaves_the_old_split(tmp_path, monkeypatch):
    path = tmp_path / "split.json"
    split_groups(list("abc"), names(3)).save(path)
    before = path.read_text()
    monkeypatch.setattr("os.replace", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        split_groups(list("abcd"), names(4)).save(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"format": 2}',
        '{"format": 1, "recordings": {"a": "exam"}, "fractions": [1, 1, 1], "seed": 0, "fingerprint": ""}',
    ],
)
def test_a_file_that_is_not_a_split_is_one_clear_error(tmp_path, text):
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(
        ValueError,
        match=r"split\.json(: not a split of ecgloss|: its format is 2|: it has unknown parts exam| is not valid JSON)",
    ):
        Split.load(path)


def test_a_missing_split_is_one_clear_error(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.json: No such file"):
        Split.load(tmp_path / "nowhere.json")


def test_a_split_follows_its_recordings_into_another_cache(write_record, at_100hz, tmp_path):
    for i in range(6):
        write_record(f"r{i}", seed=i)
    first = open_dataset(tmp_path / "db", preprocessing=at_100hz, cache_dir=tmp_path / "c", progress=False)
    split = split_by_patient(first, seed=1)
    write_record("a_new_first", seed=9)
    second = open_dataset(tmp_path / "db", preprocessing=at_100hz, cache_dir=tmp_path / "c", progress=False)
    with pytest.raises(ValueError, match="differ in 1 recordings: a_new_first"):
        split.align(second)
    backwards = split_groups(first.index["group"].tolist()[::-1], first.index["name"].tolist()[::-1], seed=1)
    assert not np.array_equal(backwards.train, split.train)
    np.testing.assert_array_equal(backwards.align(first).train, split.train)
    assert split.fingerprint == first.fingerprint != second.fingerprint


@pytest.mark.slow
def test_no_real_duplicate_straddles_a_split(real_data, at_100hz, tmp_path):
    dataset = open_dataset(real_data("ptbxl"), preprocessing=at_100hz, cache_dir=tmp_path, progress=False)
    duplicates = [
        ("00137_lr", "00138_lr"),
        ("00143_lr", "00144_lr"),
        ("00456_lr", "00457_lr"),
        ("00145_lr", "00463_lr"),
    ]
    for seed in range(20):
        part = {name.rpartition("/")[2]: p for name, p in parts(split_by_patient(dataset, seed=seed)).items()}
        assert all(part[a] == part[b] for a, b in duplicates)
        assert min(Counter(part.values()).values()) > 40  # of 358 recordings, 15 % are 54


def test_patients_trained_on_before_never_come_into_a_test(tmp_path):
    preprocessing = Preprocessing(sampling_rate=100.0)
    big, small = (
        open_dataset(f"synthetic:{n}", preprocessing=preprocessing, cache_dir=tmp_path, progress=False)
        for n in (60, 40)
    )
    before, after = split_by_patient(big, seed=1), split_by_patient(small, seed=2)
    trained = {before.names[i] for i in before.train}
    kept, overlap = after.keep_in_train(small, np.array([name in trained for name in after.names]))
    moved = overlap.moved
    patients = small.index["patient"].to_numpy()
    trained_patients = {p for p, name in zip(patients, kept.names) if name in trained}
    assert moved > 0
    assert not trained_patients & set(patients[np.concatenate([kept.validation, kept.test])])
    everyone = np.concatenate([kept.train, kept.validation, kept.test])
    assert sorted(everyone.tolist()) == list(range(40))
    assert len(kept.train) == len(after.train) + moved
    tested = len(set(small.index["group"].to_numpy()[after.test]))
    assert overlap.test_patients == tested >= overlap.patients > 0
    with pytest.raises(ValueError, match=rf"{tested} of {tested} test patients were trained on"):
        after.keep_in_train(small, np.ones(40, np.bool_))


def parted(*rows: tuple[str, str, str | None]) -> SimpleNamespace:
    """A dataset of recordings with name, group and part in the split of the database."""
    names, groups, parts = ([row[k] for row in rows] for k in range(3))
    index = pd.DataFrame({"name": names, "group": groups, "patient": groups})
    return SimpleNamespace(index=index, parts=parts, fingerprint="f", source="db")


def test_the_split_of_a_database_is_used_unless_another_is_asked_for():
    rows = [(f"r{k}", f"p{k}", part) for k, part in enumerate(["train"] * 6 + ["validation", "test", None])]
    split, which = usual_split(parted(*rows), seed=0)
    assert which == "that of the database"
    assert [x.tolist() for x in (split.train, split.validation, split.test)] == [[0, 1, 2, 3, 4, 5], [6], [7]]
    assert "by patient" in usual_split(parted(*rows), seed=0, fractions=(0.5, 0.25, 0.25))[1]
    assert "by patient" in usual_split(parted(*rows[:7]), seed=0)[1]  # an extract without test recordings
    assert split_as_said(parted(*rows), "folds").test.tolist() == [7]
    with pytest.raises(ValueError, match="db comes without a split of its own"):
        split_as_said(parted(("a", "a", None)), "folds")


def test_of_a_patient_in_two_folds_the_later_recordings_are_left_out():
    data = parted(("a", "p", "train"), ("b", "p", "test"), ("c", "q", "validation"), ("d", "s", "test"))
    split, which = usual_split(data, seed=0)
    assert which == "that of the database; 1 recordings left out, their patient or signal is in another part"
    assert [x.tolist() for x in (split.train, split.validation, split.test)] == [[0], [2], [3]]


def test_it_is_said_where_patients_are_not_identified():
    assert unknown_patients(parted(("a", "p", None))) == []
    assert unknown_patients(parted(("a", "a", None), ("b", "b", None)))[0].startswith("patients are not identified")
    assert "patients of 1 of 2 recordings are not" in unknown_patients(parted(("a", "a", None), ("b", "p", None)))[0]


def test_ptbxl_has_the_folds_of_its_table(real_data, tmp_path):
    folder = real_data("ptbxl")
    dataset = open_dataset(folder, preprocessing=Preprocessing(sampling_rate=100.0), cache_dir=tmp_path, progress=False)
    rows = {int(row["ecg_id"]): int(float(row["strat_fold"])) for row in read_table(folder / "ptbxl_database.csv")}
    assert dataset.parts is not None
    for name, part in zip(dataset.index["name"], dataset.parts):
        fold = rows[int(name.rpartition("/")[2][:5])]
        assert part == ("train" if fold < 9 else "validation" if fold == 9 else "test")
