"""A small dataset of clean recordings."""

from __future__ import annotations

import pytest

from ecgloss.data import open_dataset
from ecgloss.data.preprocess import Preprocessing


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("physiology")
    return open_dataset("synthetic:12", preprocessing=Preprocessing(), cache_dir=folder, progress=False)
