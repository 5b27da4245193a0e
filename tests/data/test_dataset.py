from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest

from ecgloss.data.opening import open_dataset
from ecgloss.data.preprocess import Preprocessing, prepare
from ecgloss.data.wfdb import read_record


def test_a_signal_is_the_prepared_recording_and_leads_go_by_any_spelling(open_, folder):
    dataset = open_()
    record = read_record(folder / "a.hea")
    expected = prepare(record.signal, record.sampling_rate, dataset.preprocessing)
    # half a count of a lead of about 1 mV on 32,000 counts
    np.testing.assert_allclose(dataset.signal(0), expected, atol=3e-5)
    np.testing.assert_array_equal(dataset.signal(0, "ii"), dataset.signal(0)[1])
    assert len(dataset) == 4
    assert dataset.index["name"].tolist() == ["a", "b", "sub/c", "sub/d"]
    assert dataset.name == "wfdb"


def test_a_lead_that_a_recording_lacks_is_named_with_those_it_has(open_):
    with pytest.raises(ValueError, match=r"recording sub/c has no lead 'II'; its leads are V1"):
        open_().signal(2, "II")


def test_a_second_opening_reuses_the_cache_and_a_change_of_the_data_does_not(open_, caches, write_record):
    first = open_()
    stamp = (first.folder / "index.parquet").stat().st_mtime_ns
    assert open_().folder == first.folder
    assert (first.folder / "index.parquet").stat().st_mtime_ns == stamp
    assert open_(preprocessing=Preprocessing(sampling_rate=125.0)).folder != first.folder
    write_record("b", seed=9)
    changed = open_()
    assert changed.folder != first.folder
    assert changed.fingerprint != first.fingerprint
    assert len(caches()) == 3


def test_the_same_recordings_elsewhere_have_the_same_fingerprint(open_, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert open_(tmp_path / "copy").fingerprint == open_().fingerprint


def test_sources_without_recordings_each_give_one_clear_line(open_, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.hea").write_text("")
    for source, message in {
        "empty": "no WFDB record",
        "nowhere": "does not exist",
        "broken": r"no readable record in .*: 1 skipped. x: x.hea is empty",
        "db/a.hea": "is not a folder",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            open_(tmp_path / source)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / source) in str(caught.value)


@pytest.mark.parametrize("source", ["synthetic:", "synthetic:0", "synthetic:x", "synthetic:1:2:3", "synthetic:-5"])
def test_a_cohort_that_cannot_be_made_is_refused(open_, source):
    with pytest.raises(ValueError, match=f"'{source}' is not"):
        open_(source)


def test_the_cohort_needs_no_files_and_its_seed_matters(open_):
    a, b = open_("synthetic:4"), open_("synthetic:4:1")
    assert (len(a), a.name, a.source) == (4, "synthetic", "synthetic:4:0")
    assert a.fingerprint == open_("synthetic:4:0").fingerprint != b.fingerprint
    assert a.signal(0).shape == (12, 1000)


def test_the_cache_goes_where_the_environment_says(folder, at_100hz, tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLOSS_CACHE", str(tmp_path / "from environment"))
    dataset = open_dataset(folder, preprocessing=at_100hz, progress=False)
    assert dataset.folder.parent == tmp_path / "from environment"


def test_age_and_sex_are_tasks_where_they_are_known_and_unknown_tasks_list_the_known(open_):
    dataset = open_()
    assert dataset.tasks() == ["sex", "age"]
    assert dataset.labels("sex") == [("female",), None, None, None]
    np.testing.assert_array_equal(dataset.values("age"), [61, np.nan, np.nan, np.nan])
    with pytest.raises(ValueError, match="no classification task 'rhythm'; its classification tasks are sex"):
        dataset.labels("rhythm")
    with pytest.raises(
        ValueError, match=r"no regression task 'sex'; its regression tasks are age \(all tasks: sex, age"
    ):
        dataset.values("sex")


def test_a_copy_in_a_worker_process_reads_the_files_instead_of_carrying_the_samples(open_, write_record):
    write_record("long", signal=np.random.default_rng(0).normal(size=(2, 100_000)))
    dataset = open_()
    raw = pickle.dumps(dataset)
    assert len(raw) < 100_000  # the samples of the long record alone take 400,000 bytes
    np.testing.assert_array_equal(pickle.loads(raw).signal(1), dataset.signal(1))  # noqa: S301


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows", "task"),
    [
        ("ptbxl", 358, "superdiagnostic"),
        pytest.param("ludb", 200, "rhythm", marks=pytest.mark.exhaustive),
        ("challenge2021/georgia", 60, "diagnosis"),
    ],
)
def test_real_databases_open_with_their_tasks(real_data, open_, name, rows, task):
    database = name.partition("/")[0]
    dataset = open_(real_data(database).parent / name)
    assert len(dataset) == rows
    assert not dataset.skipped
    assert {task, "age", "sex"} <= set(dataset.tasks())
    assert sum(bool(labels) for labels in dataset.labels(task)) > 0.9 * rows
    for i in range(0, rows, 17):
        assert dataset.signal(i).shape == (12, 1000)
        assert np.isfinite(dataset.signal(i)).all()
