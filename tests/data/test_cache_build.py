from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ecgloss.data.cache import CacheWriter, build_cache
from ecgloss.data.cards.base import Entry
from ecgloss.data.conversion import convert
from ecgloss.data.opening import open_dataset
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.sources import Source, resolve


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


def test_a_lead_that_no_recording_has_is_an_error_that_lists_the_leads(open_, caches):
    with pytest.raises(ValueError, match=r"no recording in .*db has lead V7; the available leads are I, II, V1"):
        open_(preprocessing=Preprocessing(sampling_rate=100.0, leads=("II", "V7")))
    assert caches() == []


def test_a_failed_build_leaves_nothing_behind(open_, caches, monkeypatch):
    def interrupt(self, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(CacheWriter, "finish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_()
    assert caches() == []
    monkeypatch.undo()
    assert len(open_()) == 4


KILLED = """
import sys, os, signal
from ecgloss.data import open_dataset, Preprocessing
from ecgloss.data.cache import CacheWriter
finish = CacheWriter.finish
def killed(self, **options):
    finish(self, **options)
    os.kill(os.getpid(), signal.SIGKILL)
CacheWriter.finish = killed
open_dataset(sys.argv[1], preprocessing=Preprocessing(sampling_rate=100.0), cache_dir=sys.argv[2], progress=False)
"""


@pytest.mark.slow
def test_a_killed_build_is_never_opened_and_its_remains_go_in_time(open_, caches, folder, tmp_path):
    process = subprocess.run([sys.executable, "-c", KILLED, folder, tmp_path / "caches"], timeout=300)
    assert process.returncode == -9
    [remains] = caches()
    assert remains.startswith(".unfinished-")
    assert len(open_()) == 4
    assert remains in caches()  # it could belong to a process that still works
    os.utime(tmp_path / "caches" / remains, (0, time.time() - 2 * 24 * 3600))
    open_(preprocessing=Preprocessing(sampling_rate=125.0))
    assert remains not in caches()


@pytest.mark.slow
def test_two_processes_that_build_at_once_end_with_one_good_cache(folder, caches, tmp_path):
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
    assert len(caches()) == 1


def test_the_slower_of_two_builders_takes_the_finished_cache(open_, caches, monkeypatch):
    finish = CacheWriter.finish

    def overtaken(self, **options):
        monkeypatch.setattr(CacheWriter, "finish", finish)
        open_()  # another process finishes in the meantime
        return finish(self, **options)

    monkeypatch.setattr(CacheWriter, "finish", overtaken)
    assert len(open_()) == 4
    assert len(caches()) == 1


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


def test_a_cache_that_cannot_be_written_is_one_clear_error(folder, at_100hz, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write a cache to"):
        open_dataset(folder, preprocessing=at_100hz, cache_dir=tmp_path / "file" / "x", progress=False)


def test_progress_is_shown_on_request_only(open_, folder, at_100hz, tmp_path, capfd):
    open_()
    assert capfd.readouterr().err == ""
    open_dataset(folder, preprocessing=at_100hz, cache_dir=tmp_path / "other")
    assert "converting" in capfd.readouterr().err


def test_records_that_share_a_name_do_not_overwrite_each_other(open_, folder):
    source = resolve(folder, Preprocessing(sampling_rate=100.0))
    entries = [Entry("again", entry.read) for entry in [*source.entries, *source.entries]]
    doubled = Source(source.label, source.card, entries, len(entries), source.key)
    out = Path(folder.parent, "doubled")
    build_cache(doubled, out, Preprocessing(sampling_rate=100.0), progress=False)
    dataset = open_(out)
    assert len(dataset) == 4
    assert [skip.reason for skip in dataset.skipped] == ["the name was already used by another record"] * 4
