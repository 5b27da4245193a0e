"""What all tests share: one thread, the same draws every time, and where real recordings lie."""

from __future__ import annotations

import importlib.util
import os

# Problems of tests are so small that threads wait longer than they compute; beside another busy process, for seconds.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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


@pytest.fixture
def set_threads() -> Generator[Callable[[int], None], None, None]:
    """Sets the number of threads; the one before is back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def pytest_configure(config: pytest.Config) -> None:
    """Hypothesis draws the same examples every time, unless ``--hypothesis-seed`` asks for others."""
    if importlib.util.find_spec("hypothesis") is None or config.getoption("--hypothesis-seed", None) is not None:
        return
    from hypothesis import settings

    settings.register_profile("the same draws", derandomize=True, deadline=None)
    settings.load_profile("the same draws")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is exhaustive is also slow, so that ``-m "not slow"`` alone leaves out both."""
    for item in items:
        if item.get_closest_marker("exhaustive"):
            item.add_marker(pytest.mark.slow)


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
