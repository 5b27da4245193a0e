"""Reading recordings from the cache, as pretraining does."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="reading recordings needs the extra ecgloss[data]")
pytest.importorskip("jsonargparse", reason="batches of views need the extra ecgloss[train]")

from ecgloss.data import EcgDataset, open_dataset
from ecgloss.train.config import PretrainConfig
from ecgloss.train.views import ViewBatches

RECORDINGS = 256
CONFIG = PretrainConfig(data=f"synthetic:{RECORDINGS}", out="", batch_size=64)
pytestmark = pytest.mark.benchmark(group="reading from the cache")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> EcgDataset:
    """Synthetic 12-lead recordings of 10 s in a cache of their own."""
    cache = tmp_path_factory.mktemp("cache")
    return open_dataset(CONFIG.data, preprocessing=CONFIG.preprocessing, cache_dir=cache, progress=False)


@pytest.mark.parametrize("lead", ["II", None], ids=["one_lead", "all_leads"])
def test_read_recordings(lead: str | None, dataset: EcgDataset, benchmark: Any) -> None:
    total = benchmark(lambda: sum(dataset.signal(i, lead).size for i in range(len(dataset))))
    assert total == RECORDINGS * (1 if lead else 12) * dataset.signal(0, "II").size
    benchmark.extra_info["recordings"] = RECORDINGS


def test_batch_of_views(dataset: EcgDataset, benchmark: Any) -> None:
    batch = benchmark(lambda: ViewBatches(dataset, np.arange(len(dataset)), CONFIG, epoch=0)[0])
    benchmark.extra_info["recordings"] = len(batch.view1)


ROUNDS, PLAIN_RECORDS = 7, 16
PTBXL = Path(os.environ.get("ECGLOSS_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"), "ptbxl")


def plain_views(record: str, rng: np.random.Generator) -> list[np.ndarray]:
    """Two views as a training script makes them: read, filter, noise in a band, z-score."""
    import wfdb
    from scipy.signal import butter, filtfilt

    b, a = butter(3, [CONFIG.low_hz, CONFIG.high_hz], "bandpass", fs=CONFIG.sampling_rate)
    views = []
    for _ in range(2):
        signal = wfdb.rdrecord(record).p_signal
        x = filtfilt(b, a, signal[:, rng.integers(signal.shape[1])])
        spectrum = np.fft.rfft(rng.normal(size=len(x)))
        spectrum[np.fft.rfftfreq(len(x), 1 / CONFIG.sampling_rate) > 0.7] = 0
        noise = np.fft.irfft(spectrum, len(x))
        x = x + 0.1 * noise / np.sqrt((noise**2).mean())
        views.append((x - x.mean()) / x.std())
    return views


def test_views_beside_the_plain_way(tmp_path: Path, benchmark: Any) -> None:
    """Two augmented views of 10 s per recording, taking turns with wfdb, filtfilt and numpy; one thread each."""
    records = [str(p.with_suffix("")) for p in sorted(PTBXL.glob("records500/**/*.hea"))[:PLAIN_RECORDS]]
    if not records:
        pytest.skip(f"no PTB-XL records at {PTBXL} (set ECGLOSS_TEST_DATA)")
    data = open_dataset(PTBXL, preprocessing=CONFIG.preprocessing, cache_dir=tmp_path, progress=False)
    batches, rng = ViewBatches(data, np.arange(len(data)), CONFIG, epoch=0), np.random.default_rng(0)
    batches[0], plain_views(records[0], rng)
    ours, plain = [], []
    for k in range(ROUNDS):
        start = time.perf_counter()
        [plain_views(record, rng) for record in records]
        middle = time.perf_counter()
        made = len(batches[k % len(batches)].view1)
        plain.append((middle - start) / len(records))
        ours.append((time.perf_counter() - middle) / made)
    benchmark.extra_info |= {"ms": 1e3 * median(ours), "plain ms": 1e3 * median(plain)}
    benchmark.extra_info["times as fast"] = median(p / o for p, o in zip(plain, ours))
    benchmark.pedantic(lambda: batches[0], rounds=3)
    print(f"\n{benchmark.extra_info['times as fast']:.1f} times as fast as reading, filtering and adding noise anew")
