"""A cache with an index of a million recordings, all of which lie in one small shard: how long it takes to open."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ecgloss.data.cache.format import CacheInfo, columns, hash_of_file
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import STANDARD_LEADS

RECORDINGS = 1_000_000
OPEN = """
import re, sys, time
import numpy as np, pandas, torch, ecgloss.data, ecgloss.data.dataset, ecgloss.data.cache, ecgloss.train.batches
import pyarrow.parquet
def memory():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
before, begin = memory(), time.perf_counter()
dataset = ecgloss.data.dataset.EcgDataset(sys.argv[1])
opened = time.perf_counter() - begin
assert dataset.signal(len(dataset) - 1, "II").shape == (1000,)
rows = np.arange(len(dataset))
_, patient = np.unique(dataset.index["group"].to_numpy(), return_inverse=True)
draw = torch.Generator().manual_seed(0)
begin = time.perf_counter()
ecgloss.train.batches.random_batches(rows, 256, draw)
shuffled = time.perf_counter() - begin
begin = time.perf_counter()
ecgloss.train.batches.patient_batches(rows, patient, 256, draw)
paired = time.perf_counter() - begin
print(len(dataset), opened, before, memory(), shuffled, paired)
"""


def write_large_index(folder: Path, recordings: int = RECORDINGS) -> None:
    """Write a cache whose recordings share their samples; names, patients, ages, labels and values differ.

    Args:
        folder: An existing, empty folder.
        recordings: How many.
    """
    draw = np.random.default_rng(0)
    samples = draw.integers(-32_000, 32_000, 12 * 1000).astype("<i2")
    np.save(folder / "shard-00000.npy", samples)
    k = np.arange(recordings)
    patient = draw.integers(0, recordings // 4 + 1, recordings)
    kinds = [json.dumps({"rhythm": [name]}) for name in ("SR", "AF", "SB", "ST")]
    pr = draw.integers(120, 220, recordings)
    constant = {"n_samples": 1000, "source_rate": 500.0, "shard": 0, "offset": 0, "checksum": zlib.crc32(samples.data)}
    text = {
        "name": [f"files/p{p:07d}/s{i:08d}" for i, p in zip(k, patient)],
        "patient": [f"p{p:07d}" for p in patient],
        "labels": [kinds[x] for x in draw.integers(0, 4, recordings)],
        "values": [json.dumps({"pr_interval": float(x)}) for x in pr],
        "sex": np.array(["male", "female"])[draw.integers(0, 2, recordings)].tolist(),
    }
    text |= {"group": text["patient"], "leads": [json.dumps(STANDARD_LEADS)] * recordings}
    arrays: dict[str, Any] = {name: pa.array(values, pa.string()) for name, values in text.items()}
    places = pa.array(np.arange(recordings + 1) * 12, pa.int32())
    arrays["gain"] = pa.ListArray.from_arrays(
        places, pa.array(draw.uniform(1e3, 1e5, 12 * recordings).astype(np.float32))
    )
    arrays["age"] = pa.array(draw.uniform(18, 90, recordings))
    arrays |= {name: pa.array(np.full(recordings, value)) for name, value in constant.items()}
    rows = [arrays.get(field.name, pa.nulls(recordings, field.type)).cast(field.type) for field in columns()]
    pq.write_table(pa.Table.from_arrays(rows, schema=columns()), folder / "index.parquet", write_page_checksum=True)
    shards = (("shard-00000.npy", len(samples)),)
    info = CacheInfo(Preprocessing(), "made up", "wfdb", (), "0", hash_of_file(folder / "index.parquet"), shards)
    (folder / "cache.json").write_text(json.dumps(info.to_json()))


def measure_large_index(recordings: int = RECORDINGS) -> dict[str, float]:
    """Open such a cache in a process of its own.

    Args:
        recordings: How many it has.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_large_index(Path(folder), recordings)
        out = subprocess.run([sys.executable, "-c", OPEN, folder], check=True, capture_output=True, text=True).stdout
    names = ("recordings", "open_s", "before_mb", "memory_mb", "shuffle_s", "pairs_s")
    return dict(zip(names, [int(out.split()[0]), *map(float, out.split()[1:])]))
