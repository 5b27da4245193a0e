"""The benchmark's scripts as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    """Import a module of the benchmark by name; they are scripts beside each other, not a package."""
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module
    for path in BENCH.glob("*.py"):  # such plain names must not be found by another test's imports
        sys.modules.pop(path.stem, None)
