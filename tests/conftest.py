"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ECGLOSS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Folder of one database of real recordings; the test is skipped, visibly, where it is absent."""

    def folder(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"no real recordings at {path} (set ECGLOSS_TEST_DATA)")
        return path

    return folder


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded torch generator."""
    return torch.Generator().manual_seed(20)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Leave a process whose GPU is unusable since a test failed, where every further test would fail as well.

    pytest-xdist starts another process for the tests that are left; without it the run ends.
    """
    failed = item.session.testsfailed
    result = yield
    if item.session.testsfailed > failed and torch.cuda.is_initialized():
        try:
            torch.cuda.synchronize()
        except Exception as error:  # of a class that differs between versions of torch
            if hasattr(item.config, "workerinput"):
                os._exit(1)
            pytest.exit(f"the GPU is unusable after {item.nodeid}: {error}", returncode=1)
    return result
