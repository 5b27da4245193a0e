from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ecgloss.data import conversion
from ecgloss.data.cards.base import Entry
from ecgloss.data.conversion import convert
from ecgloss.data.dataset import open_dataset
from ecgloss.data.preprocess import Preprocessing, prepare
from ecgloss.data.sources import Source, resolve
from ecgloss.data.wfdb_io import read_record


@pytest.fixture
def folder(write_record, tmp_path):
    """Four records; the third has only V1."""
    write_record("a", seed=1, comments=["<age>: 61 <sex>: F"])
    write_record("b", seed=2)
    write_record("sub/c", seed=3, leads=("V1",))
    write_record("sub/d", seed=4)
    return tmp_path / "db"


@pytest.fixture
def open_(folder, at_100hz, tmp_path):
    def call(source=folder, preprocessing=at_100hz, **options):
        return open_dataset(
            source, preprocessing=preprocessing, cache_dir=tmp_path / "caches", progress=False, **options
        )

    return call


def caches(tmp_path):
    return sorted(path.name for path in (tmp_path / "caches").iterdir())


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


def test_a_second_opening_reuses_the_cache_and_a_change_of_the_data_does_not(open_, write_record, tmp_path):
    first = open_()
    stamp = (first.folder / "index.parquet").stat().st_mtime_ns
    assert open_().folder == first.folder
    assert (first.folder / "index.parquet").stat().st_mtime_ns == stamp
    assert open_(preprocessing=Preprocessing(sampling_rate=125.0)).folder != first.folder
    write_record("b", seed=9)
    changed = open_()
    assert changed.folder != first.folder
    assert changed.fingerprint != first.fingerprint
    assert len(caches(tmp_path)) == 3


def test_the_same_recordings_elsewhere_have_the_same_fingerprint(open_, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert open_(tmp_path / "copy").fingerprint == open_().fingerprint


def test_broken_records_are_reported_and_the_rest_is_used(open_, folder, write_record):
    (folder / "a.dat").write_bytes(b"")
    (folder / "b.dat").write_bytes((folder / "b.dat").read_bytes()[:999])
    (folder / "corrupt.hea").write_bytes(os.urandom(300))
    (folder / "outside.hea").write_text("outside 1 100 1000\n../../etc/passwd.dat 16 1000/mV 16 0 0 0 0 I\n")
    write_record("short", samples=20)
    dataset = open_()
    assert dataset.index["name"].tolist() == ["sub/c", "sub/d"]
    reasons = {skip.name: skip.reason for skip in dataset.skipped}
    assert set(reasons) == {"a", "b", "corrupt", "outside", "short"}
    assert reasons["a"] == "a.dat is empty"
    assert "truncated" in reasons["b"]
    assert "../../etc/passwd.dat" in reasons["outside"]
    assert "too short" in reasons["short"]
    assert open_().skipped == dataset.skipped  # kept in the cache


def test_requested_leads_are_kept_in_their_order_and_recordings_without_any_are_reported(open_):
    dataset = open_(preprocessing=Preprocessing(sampling_rate=100.0, leads=("II", "I")))
    assert dataset.index["name"].tolist() == ["a", "b", "sub/d"]
    assert dataset.leads(0) == ("II", "I")
    np.testing.assert_array_equal(dataset.signal(0, "I"), open_().signal(0, "I"))
    assert [str(skip) for skip in dataset.skipped] == ["sub/c: has none of the leads II, I, only V1"]


def test_a_lead_that_no_recording_has_is_an_error_that_lists_the_leads(open_, tmp_path):
    with pytest.raises(ValueError, match=r"no recording in .*db has lead V7; the available leads are I, II, V1"):
        open_(preprocessing=Preprocessing(sampling_rate=100.0, leads=("II", "V7")))
    assert caches(tmp_path) == []


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


def test_a_failed_build_leaves_nothing_behind(open_, tmp_path, monkeypatch):
    def interrupt(self, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion.CacheWriter, "finish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_()
    assert caches(tmp_path) == []
    monkeypatch.undo()
    assert len(open_()) == 4


KILLED = """
import sys, os, signal
from ecgloss.data import conversion, open_dataset, Preprocessing
finish = conversion.CacheWriter.finish
def killed(self, **options):
    finish(self, **options)
    os.kill(os.getpid(), signal.SIGKILL)
conversion.CacheWriter.finish = killed
open_dataset(sys.argv[1], preprocessing=Preprocessing(sampling_rate=100.0), cache_dir=sys.argv[2], progress=False)
"""


@pytest.mark.slow
def test_a_killed_build_is_never_opened_and_its_remains_go_in_time(open_, folder, tmp_path):
    process = subprocess.run([sys.executable, "-c", KILLED, folder, tmp_path / "caches"], timeout=300)
    assert process.returncode == -9
    [remains] = caches(tmp_path)
    assert remains.startswith(".unfinished-")
    assert len(open_()) == 4
    assert remains in caches(tmp_path)  # it could belong to a process that still works
    os.utime(tmp_path / "caches" / remains, (0, time.time() - 2 * 24 * 3600))
    open_(preprocessing=Preprocessing(sampling_rate=125.0))
    assert remains not in caches(tmp_path)


@pytest.mark.slow
def test_two_processes_that_build_at_once_end_with_one_good_cache(folder, tmp_path):
    code = (
        "import sys; from ecgloss.data import *;"
        "d = open_dataset(sys.argv[1], preprocessing=Preprocessing(sampling_rate=100.0), cache_dir=sys.argv[2],"
        " progress=False); print(len(d), d.fingerprint)"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "caches")]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True, timeout=300), range(2)))
    assert {(run.returncode, run.stderr) for run in runs} == {(0, "")}
    assert len({run.stdout for run in runs}) == 1
    assert runs[0].stdout.startswith("4 ")
    assert len(caches(tmp_path)) == 1


def test_the_slower_of_two_builders_takes_the_finished_cache(open_, tmp_path, monkeypatch):
    finish = conversion.CacheWriter.finish

    def overtaken(self, **options):
        monkeypatch.setattr(conversion.CacheWriter, "finish", finish)
        open_()  # another process finishes in the meantime
        return finish(self, **options)

    monkeypatch.setattr(conversion.CacheWriter, "finish", overtaken)
    assert len(open_()) == 4
    assert len(caches(tmp_path)) == 1


def test_a_converted_cache_is_a_source_and_other_preprocessing_is_refused(folder, at_100hz, tmp_path, open_):
    out = convert(folder, tmp_path / "out", preprocessing=at_100hz, progress=False)
    assert out == tmp_path / "out"
    assert open_(out).fingerprint == open_().fingerprint
    with pytest.raises(ValueError, match=r"made with sampling_rate 100.0 \(asked for 500.0\)"):
        open_(out, preprocessing=Preprocessing())
    with pytest.raises(ValueError, match="exists and is not an empty folder"):
        convert(folder, tmp_path / "out", preprocessing=at_100hz, progress=False)


def test_the_cache_folder_may_lie_inside_the_data(folder, at_100hz):
    def call():
        return open_dataset(folder, preprocessing=at_100hz, cache_dir=folder / "my cache", progress=False)

    assert call().folder == call().folder
    assert len(call()) == 4


def test_the_cache_goes_where_the_environment_says(folder, at_100hz, tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLOSS_CACHE", str(tmp_path / "from environment"))
    dataset = open_dataset(folder, preprocessing=at_100hz, progress=False)
    assert dataset.folder.parent == tmp_path / "from environment"


def test_a_cache_that_cannot_be_written_is_one_clear_error(folder, at_100hz, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write a cache to"):
        open_dataset(folder, preprocessing=at_100hz, cache_dir=tmp_path / "file" / "x", progress=False)


def test_progress_is_shown_on_request_only(open_, folder, at_100hz, tmp_path, capfd):
    open_()
    assert capfd.readouterr().err == ""
    open_dataset(folder, preprocessing=at_100hz, cache_dir=tmp_path / "other")
    assert "converting" in capfd.readouterr().err


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


def test_records_that_share_a_name_do_not_overwrite_each_other(open_, folder):
    source = resolve(folder, Preprocessing(sampling_rate=100.0))
    entries = [Entry("again", entry.read) for entry in [*source.entries, *source.entries]]
    doubled = Source(source.label, source.card, entries, len(entries), source.key)
    out = Path(folder.parent, "doubled")
    conversion.build(doubled, out, Preprocessing(sampling_rate=100.0), progress=False)
    dataset = open_(out)
    assert len(dataset) == 4
    assert [skip.reason for skip in dataset.skipped] == ["the name was already used by another record"] * 4


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
