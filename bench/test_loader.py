"""Reading recordings from the cache, as pretraining does."""

from __future__ import annotations

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
