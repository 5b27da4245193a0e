from __future__ import annotations

import json
import random
import shutil
import time
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecgloss.data.cache import open_cache, part, reader
from ecgloss.data.cache.format import columns, hash_of, hash_of_file
from ecgloss.data.cache.writer import finish
from ecgloss.data.cards.base import Entry
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import Metadata, Recording, Skipped

LABELLED = Metadata(
    age=61.5,
    sex="female",
    smoker=True,
    sbp=140.0,
    labels={"rhythm": ("AF", "PVC"), "form": ()},
    values={"ef": 0.5},
)


def recordings() -> list[Recording]:
    generator = np.random.default_rng(0)
    return [
        Recording("a", "p1", (generator.normal(size=(2, 500)) * 3).astype(np.float32), ("I", "II"), 360.0, LABELLED),
        Recording("b/c", "p2", generator.normal(size=(1, 300)).astype(np.float32) / 100, ("V5",), 500.0),
        Recording("d", "p1", np.array([[0.0] * 400, [11.0, -1e-4] * 200], np.float32), ("I", "II"), 500.0),
    ]


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "cache"
    write(folder, recordings())
    return folder


def broken() -> list[Recording]:
    raise ValueError("broken")


def write(folder: Path, recordings: list[Recording], per_part: int = 9) -> None:
    """Store recordings as they are, in parts of so many, and a record that cannot be read."""
    folder.mkdir(exist_ok=True)
    entries = [*(Entry(r.name, partial(list, [r])) for r in recordings), Entry("x", broken)]
    preprocessing = Preprocessing(leads=("I", "II", "V5"))
    starts = range(0, len(entries), per_part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "prepare", lambda signal, rate, preprocessing: signal)
        for k, start in enumerate(starts):
            part.write_part(k, entries[start : start + per_part], folder, preprocessing)
    finish(folder, len(starts), preprocessing, source="/somewhere", card="wfdb")


def test_signals_come_back_to_within_half_a_count_of_each_leads_own_scale(cache):
    dataset = EcgDataset(cache)
    for i, recording in enumerate(recordings()):
        step = np.abs(recording.signal).max(axis=1) / 32_000
        error = np.abs(dataset.signal(i) - recording.signal).max(axis=1)
        assert (error <= step * 0.501).all()  # half a count; 0.001 for float32
        for row, lead in enumerate(recording.leads):
            np.testing.assert_array_equal(dataset.signal(i, lead), dataset.signal(i)[row])
        assert dataset.signal(i).dtype == np.float32
        assert dataset.leads(i) == recording.leads


def test_a_flat_lead_stays_zero_and_beside_an_11_mv_lead_nothing_is_clipped(cache):
    signal = EcgDataset(cache).signal(2)
    assert not signal[0].any()
    assert signal[1].max() == pytest.approx(11.0, rel=1e-6)


def test_metadata_labels_and_provenance_come_back(cache):
    dataset = EcgDataset(cache)
    row = dataset.index.iloc[0]
    assert (row["name"], row.patient, row.group, row.age, row.sex, row.smoker) == (
        "a",
        "p1",
        "p1",
        61.5,
        "female",
        True,
    )
    assert row.diabetes is None
    assert np.isnan(row.total_chol)
    assert list(dataset.index["leads"]) == [["I", "II"], ["V5"], ["I", "II"]]
    assert list(dataset.index.columns) == [name for name in columns().names if name != "gain"]
    assert dataset.labels("rhythm") == [("AF", "PVC"), None, None]
    assert dataset.labels("form") == [(), None, None]
    assert dataset.values("ef")[0] == 0.5
    assert np.isnan(dataset.values("ef")[1:]).all()
    assert dataset.skipped == [Skipped("x", "broken")]
    assert (dataset.source, dataset.name) == ("/somewhere", "wfdb")
    assert dataset.preprocessing == Preprocessing(leads=("I", "II", "V5"))


def test_how_recordings_are_cut_into_parts_changes_nothing(tmp_path):
    datasets = []
    for per_part in (1, 2, 9):
        write(tmp_path / str(per_part), recordings(), per_part)
        datasets.append(EcgDataset(tmp_path / str(per_part)))
    assert len({dataset.fingerprint for dataset in datasets}) == 1
    for i in range(3):
        signals = [dataset.signal(i) for dataset in datasets]
        np.testing.assert_array_equal(signals[0], signals[1])
        np.testing.assert_array_equal(signals[0], signals[2])
    assert sorted(path.name for path in (tmp_path / "2").iterdir()) == [
        "cache.json",
        "index.parquet",
        "shard-00000.npy",
        "shard-00001.npy",
    ]


def test_channels_that_are_no_ecg_leads_are_left_out_and_counted_unless_they_are_wanted(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32)
    records = [Recording(name, name, x, ("II", "Resp"), 500.0) for name in "ab"]
    entries = [Entry(r.name, partial(list, [r])) for r in [*records, Recording("c", "c", x[:1], ("EEG",), 500.0)]]
    for name, preprocessing in (("all", Preprocessing()), ("resp", Preprocessing(leads=("Resp",)))):
        (tmp_path / name).mkdir()
        part.write_part(0, entries, tmp_path / name, preprocessing)
        finish(tmp_path / name, 1, preprocessing, source="db", card="wfdb")
    every, forced = EcgDataset(tmp_path / "all"), EcgDataset(tmp_path / "resp")
    assert [every.leads(i) for i in range(len(every))] == [("II",), ("II",)]
    assert every.left_out == {"EEG": 1, "Resp": 2}
    assert [str(skip) for skip in every.skipped] == ["c: no channel is an ECG lead: the channels are EEG"]
    assert [forced.leads(i) for i in range(len(forced))] == [("Resp",), ("Resp",)]
    assert forced.left_out == {}


def describe(folder: Path, **changes):
    path = folder / "cache.json"
    fields = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(fields | {"hash": hash_of(fields)}))


def reindex(folder: Path, change, table=None) -> None:
    """Change the index, and its hash in the description as well."""
    rows = pq.read_table(folder / "index.parquet").to_pylist()
    change(rows)
    pq.write_table(table or pa.Table.from_pylist(rows, schema=columns()), folder / "index.parquet")
    describe(folder, index_hash=hash_of_file(folder / "index.parquet"))


def replace(index: Path, change) -> None:
    """Change the index alone."""
    rows = pq.read_table(index).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=columns()), index)


def flip(path: Path, position: int = -7) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


def overwrite(path: Path, position: int, new: bytes) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:position] + new + raw[position + len(new) :])


SHARD = "shard-00000.npy"
DAMAGES = {
    "bit flipped in a signal": (lambda f: flip(f / SHARD), SHARD, "checksum of 'd'"),
    "shard truncated": (lambda f: (f / SHARD).write_bytes((f / SHARD).read_bytes()[:-10]), SHARD, ""),
    "shard empty": (lambda f: (f / SHARD).write_bytes(b""), SHARD, ""),
    "shard missing": (lambda f: (f / SHARD).unlink(), SHARD, "No such file"),
    "header that is no Python": (lambda f: overwrite(f / SHARD, 10, b"\a"), SHARD, ""),
    "shard of floats": (lambda f: np.save(f / SHARD, np.zeros(2100, np.float32)), SHARD, "expected int16"),
    "shard of objects": (
        lambda f: np.save(f / SHARD, np.array([{}] * 2100), allow_pickle=True),
        SHARD,
        "",
    ),
    "index truncated": (
        lambda f: (f / "index.parquet").write_bytes((f / "index.parquet").read_bytes()[:-100]),
        "index.parquet",
        "",
    ),
    "index missing": (lambda f: (f / "index.parquet").unlink(), "index.parquet", "No such file"),
    "index of another kind": (
        lambda f: reindex(f, lambda r: None, pa.table({"a": [1]})),
        "index.parquet",
        "columns are a",
    ),
    "row beyond the shard": (lambda f: reindex(f, lambda r: r[2].update(offset=2000)), "index.parquet", "row of 'd'"),
    "row before the shard": (lambda f: reindex(f, lambda r: r[0].update(offset=-1)), "index.parquet", "row of 'a'"),
    "row of no shard": (lambda f: reindex(f, lambda r: r[0].update(shard=1)), "index.parquet", "row of 'a'"),
    "gain of zero": (lambda f: reindex(f, lambda r: r[1].update(gain=[0.0])), "index.parquet", "row of 'b/c'"),
    "a row that is missing": (lambda f: replace(f / "index.parquet", list.pop), "index.parquet", "hash"),
    "age changed": (
        lambda f: replace(f / "index.parquet", lambda r: r[0].update(age=16.0)),
        "index.parquet",
        "hash",
    ),
    "no leads": (lambda f: reindex(f, lambda r: r[0].update(leads="[]")), "index.parquet", "row of 'a'"),
    "a lead too many": (
        lambda f: reindex(f, lambda r: r[1].update(leads='["I", "II"]')),
        "index.parquet",
        "row of 'b/c'",
    ),
    "leads missing": (lambda f: reindex(f, lambda r: r[1].update(leads=None)), "index.parquet", "leads"),
    "a name that is missing": (lambda f: reindex(f, lambda r: r[1].update(name=None)), "index.parquet", "row of None"),
    "a length that overflows": (
        lambda f: reindex(f, lambda r: r[0].update(n_samples=2**62)),
        "index.parquet",
        "row of 'a'",
    ),
    "labels not JSON": (lambda f: reindex(f, lambda r: r[0].update(labels="x")), "index.parquet", "labels"),
    "no rows": (lambda f: reindex(f, list.clear), "index.parquet", "no rows"),
    "description truncated": (lambda f: (f / "cache.json").write_text('{"format": 2,'), "cache.json", ""),
    "format of the future": (lambda f: describe(f, format=99), "cache.json", "format version is 99"),
    "no preprocessing": (lambda f: describe(f, preprocessing=None), "cache.json", "preprocessing"),
    "shard outside": (
        lambda f: describe(f, shards=[{"name": "../shard-00000.npy", "samples": 2100}]),
        "cache.json",
        "not the name of a shard",
    ),
    "absolute shard": (
        lambda f: describe(f, shards=[{"name": "/etc/passwd", "samples": 2100}]),
        "cache.json",
        "not the name of a shard",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_on_opening_and_the_message_names_file_and_way_out(cache, damage):
    change, file, reason = DAMAGES[damage]
    change(cache)
    with pytest.raises(ValueError, match=r"delete the folder .*cache and open the original") as caught:
        EcgDataset(cache)
    assert str(cache / file) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["cache.json", "index.parquet", SHARD])
def test_no_flipped_bit_goes_unnoticed(cache, file):
    good = EcgDataset(cache)
    path = cache / file
    raw = path.read_bytes()
    generator = np.random.default_rng(0)
    for position, bit in zip(generator.integers(0, len(raw), 150), generator.integers(0, 8, 150)):
        damaged = bytearray(raw)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            dataset = EcgDataset(cache)
        except ValueError as error:
            assert "delete the folder" in str(error)  # noqa: PT017
            continue
        # some bytes carry nothing: padding, or the free text of source and skipped records
        assert dataset.fingerprint == good.fingerprint
        for i in range(len(good)):
            np.testing.assert_array_equal(dataset.signal(i), good.signal(i))


def test_a_moved_cache_is_the_same_dataset(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "elsewhere")
    assert EcgDataset(tmp_path / "elsewhere").fingerprint == EcgDataset(cache).fingerprint


def test_in_a_large_cache_a_sample_of_the_checksums_is_compared(cache, monkeypatch):
    monkeypatch.setattr(reader, "CHECK_ALL_BYTES", 0)
    monkeypatch.setattr(reader, "_SAMPLE", 1)
    seen, crc32 = [], zlib.crc32
    monkeypatch.setattr(reader.zlib, "crc32", lambda data: seen.append(1) or crc32(data))
    open_cache(cache)
    assert len(seen) == 1


@pytest.mark.parametrize("n", [120, pytest.param(580, marks=pytest.mark.exhaustive)])
def test_mutated_caches_are_opened_as_they_were_or_refused_in_one_line(cache, n):
    good = EcgDataset(cache)
    whole = {path.name: path.read_bytes() for path in cache.iterdir()}
    draw = random.Random(n)
    for _ in range(n):
        name = draw.choice(sorted(whole))
        raw = bytearray(whole[name])
        for _ in range(draw.randint(1, 3)):
            at, kind = draw.randrange(max(len(raw), 1)), draw.randrange(6)
            if kind == 0:
                raw[at : at + draw.randint(1, 50)] = b""
            elif kind == 1:
                raw[at:at] = draw.randbytes(draw.randint(1, 50))
            elif kind == 2:
                raw = raw[:at]
            elif kind == 3:
                raw[at : at + 8] = draw.choice([b"\x00" * 8, b"\xff" * 8, b"99999999", b'"\n\n{}\\"', b"../../.."])
            elif kind == 4 and raw:
                raw[at] ^= 1 << draw.randrange(8)
            else:
                raw = bytearray(draw.choice([b"", b"{}", b"[]", b"\x93NUMPY", b"PAR1PAR1", b"[" * 100_000]))
        (cache / name).write_bytes(raw)
        begin = time.monotonic()
        try:
            found = EcgDataset(cache)
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert "delete the folder" in str(error)  # noqa: PT017
            assert "Traceback" not in str(error)  # noqa: PT017
        else:
            assert bytes(raw) == whole[name] or name == SHARD  # numpy's header has blanks that mean nothing
            np.testing.assert_array_equal(found.signal(0), good.signal(0))
        assert time.monotonic() - begin < 5
        (cache / name).write_bytes(whole[name])
