from __future__ import annotations

import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from started import start

from ecgloss._extras import MissingExtraError, require
from ecgloss.data.cache import build, build_cache
from ecgloss.data.cards.base import Entry
from ecgloss.data.conversion import convert
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.opening import open_dataset
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.sources import Listing, Source, resolve


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


def test_what_was_converted_before_an_interruption_is_not_read_again(open_, caches, monkeypatch):
    read, real = [], build.write_part

    def interrupted(number, entries, *rest, **options):
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(number)
        return real(number, entries, *rest, **options)

    monkeypatch.setattr(build, "write_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_()
    [remains] = caches()
    assert remains.startswith(".unfinished-")
    read.append(-1)
    dataset = open_()
    assert read == [0, 1, -1, 2, 3]
    assert dataset.index["name"].tolist() == ["a", "b", "sub/c", "sub/d"]
    assert caches() == [dataset.folder.name]
    monkeypatch.undo()
    shutil.rmtree(dataset.folder)
    assert open_().fingerprint == dataset.fingerprint


def test_a_part_without_its_last_file_is_written_again(open_, caches, folder, monkeypatch, tmp_path):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "finish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_()
    [remains] = caches()
    (tmp_path / "caches" / remains / "part-00001.parquet").unlink()
    (tmp_path / "caches" / remains / "shard-00001.npy").write_bytes(b"half")
    monkeypatch.undo()
    assert len(open_()) == 4


def test_what_dead_processes_left_unfinished_goes_after_a_day(open_, tmp_path):
    old, recent, alive = (
        tmp_path / "caches" / f".unfinished-{name}" for name in ("old-1-2", "recent-1-2", "alive-1-2")
    )
    for folder in (old, recent, alive):
        folder.mkdir(parents=True)
    for folder in (old, alive):
        os.utime(folder, (0, time.time() - 2 * 24 * 3600))
    with FileLock(f"{alive}.lock"):
        open_()
    assert (old.exists(), recent.exists(), alive.exists()) == (False, True, True)


def test_two_that_build_at_once_end_with_one_cache(open_, caches, monkeypatch):
    built, real = [], build.finish

    def slow(*args, **options):
        built.append(1)
        time.sleep(0.3)
        return real(*args, **options)

    monkeypatch.setattr(build, "finish", slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = (future.result() for future in [pool.submit(open_) for _ in range(2)])
    assert first.fingerprint == second.fingerprint
    assert (len(built), len(caches())) == (1, 1)


def convert_to(cache: Path, folder: Path, worth: float | None = None) -> None:
    """Convert a folder; ``worth`` is from how much work on, in seconds, it is done by several processes."""
    if worth is not None:
        build._WORTH_S = worth
    open_dataset(folder, preprocessing=Preprocessing(sampling_rate=100.0), cache_dir=cache)


RECORDS, KILLS = 128, 3


@pytest.mark.exhaustive
def test_killed_several_times_a_conversion_ends_with_the_cache_of_an_uninterrupted_one(write_record, tmp_path):
    for k in range(RECORDS):
        folder = write_record(f"{k % 7}/{k:04d}", samples=3000).parent.parent
    convert_to(tmp_path / "whole", folder)
    draw = random.Random(5)

    def parts() -> int:
        return len(list((tmp_path / "killed").glob(".unfinished-*/part-*.parquet")))

    for kill in range(KILLS):
        before = parts()
        process = start(convert_to, tmp_path / "killed", folder, 0.0 if kill % 2 else 1e9)  # in several, and in one
        while parts() == before:
            assert process.is_alive()
            time.sleep(0.002)
        time.sleep(draw.uniform(0.0, 0.02))
        process.kill()
        process.join()
        assert parts() < 64
    process = start(convert_to, tmp_path / "killed", folder)
    process.join()
    assert process.exitcode == 0
    caches = [sorted((tmp_path / name).glob("*/*")) for name in ("whole", "killed")]
    assert [path.name for path in caches[0]] == [path.name for path in caches[1]]
    for one, other in zip(*caches):
        assert one.read_bytes() == other.read_bytes() or one.name == "source.json", one.name
    assert len(EcgDataset(caches[1][0].parent)) == RECORDS


@pytest.mark.exhaustive
def test_over_processes_the_cache_is_the_same_and_what_fails_there_is_said(folder, tmp_path):
    source = resolve("synthetic:100", Preprocessing(sampling_rate=100.0))
    for processes in (None, 2):
        build_cache(
            source,
            tmp_path / f"{processes}",
            Preprocessing(sampling_rate=100.0),
            progress=False,
            processes=processes,
        )
    one, two = EcgDataset(tmp_path / "None"), EcgDataset(tmp_path / "2")
    assert one.fingerprint == two.fingerprint
    np.testing.assert_array_equal(one.signal(99), two.signal(99))
    entries = [*source.listing.entries[:70], Entry("needs", partial(require, "no_such_package", "data"))]
    listing = Listing("synthetic", entries)
    with pytest.raises(MissingExtraError, match="no_such_package is not installed"):
        build_cache(Source("x", "key", lambda: listing), tmp_path / "3", Preprocessing(), progress=False, processes=2)


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
    entries = [Entry("again", entry.read) for entry in [*source.listing.entries, *source.listing.entries]]
    doubled = Source(source.label, source.key, lambda: Listing(source.listing.card, entries))
    out = Path(folder.parent, "doubled")
    build_cache(doubled, out, Preprocessing(sampling_rate=100.0), progress=False)
    dataset = open_(out)
    assert len(dataset) == 4
    assert [skip.reason for skip in dataset.skipped] == ["the name was already used by another record"] * 4


def test_a_few_long_records_and_very_many_are_cut_into_a_bounded_number_of_parts():
    assert [len(part) for part in build._cut(range(48))] == [1] * 48
    for n in (1, 63, 500, 21_799, 800_035):
        parts = build._cut(range(n))
        assert sum(map(len, parts)) == n
        assert len(parts) <= 4096
    assert max(map(len, build._cut(range(21_799)))) == 64
