"""Small WFDB records on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgloss.data.dataset import EcgDataset
from ecgloss.data.opening import open_dataset
from ecgloss.data.preprocess import Preprocessing


def beats(seed: int, n_leads: int = 2, samples: int = 1000, rate: float = 100.0) -> np.ndarray:
    """Irregular spikes of about 1 mV per lead plus noise: no two seeds look alike."""
    generator = np.random.default_rng(seed)
    times = np.arange(samples) / rate
    peaks = np.cumsum(generator.uniform(0.6, 1.2, size=int(times[-1] / 0.6) + 2))
    train = np.exp(-(((times[:, None] - peaks) / 0.03) ** 2)).sum(1)
    gains = generator.uniform(0.5, 1.5, n_leads)
    return gains[:, None] * train + generator.normal(0, 0.02, (n_leads, samples))


@pytest.fixture
def write_record(tmp_path: Path) -> Callable[..., Path]:
    """Write a record below ``tmp_path/db`` and return the path of its header."""

    def write(
        name: str,
        *,
        seed: int = 0,
        leads: Sequence[str] = ("I", "II"),
        unit: str = "mV",
        rate: float = 100.0,
        samples: int = 1000,
        comments: Sequence[str] = (),
        signal: np.ndarray | None = None,
    ) -> Path:
        header = tmp_path / "db" / f"{name}.hea"
        header.parent.mkdir(parents=True, exist_ok=True)
        if signal is None:
            signal = beats(seed, len(leads), samples, rate)
        wfdb.wrsamp(
            header.stem,
            fs=rate,
            units=[unit] * len(leads),
            sig_name=list(leads),
            p_signal=signal.T,
            fmt=["16"] * len(leads),
            adc_gain=[1000.0] * len(leads),
            baseline=[0] * len(leads),
            comments=list(comments),
            write_dir=str(header.parent),
        )
        return header

    return write


@pytest.fixture
def at_100hz() -> Preprocessing:
    """The default pass band at 100 Hz, which keeps tests short."""
    return Preprocessing(sampling_rate=100.0)


@pytest.fixture
def folder(write_record: Callable[..., Path], tmp_path: Path) -> Path:
    """Four records; the third has only V1."""
    write_record("a", seed=1, comments=["<age>: 61 <sex>: F"])
    write_record("b", seed=2)
    write_record("sub/c", seed=3, leads=("V1",))
    write_record("sub/d", seed=4)
    return tmp_path / "db"


@pytest.fixture
def open_(folder: Path, at_100hz: Preprocessing, tmp_path: Path) -> Callable[..., EcgDataset]:
    """Open ``folder``, or another source, with its cache below ``tmp_path/caches``."""

    def call(source=folder, preprocessing=at_100hz, **options):
        return open_dataset(
            source, preprocessing=preprocessing, cache_dir=tmp_path / "caches", progress=False, **options
        )

    return call


@pytest.fixture
def caches(tmp_path: Path) -> Callable[[], list[str]]:
    """Names of what lies below ``tmp_path/caches``."""
    return lambda: sorted(path.name for path in (tmp_path / "caches").iterdir())
