"""A GPU that a test has made unusable fails that test, and none of those after it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
TESTS = """
import os, sys, torch
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("shared", {conftest!r})
shared = module_from_spec(spec)
spec.loader.exec_module(shared)
pytest_runtest_protocol = shared.pytest_runtest_protocol
BROKEN = []

def synchronize():
    if BROKEN:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

torch.cuda.is_initialized = lambda: True
torch.cuda.synchronize = synchronize
"""
SUITE = """
from conftest import BROKEN

def test_wrong(): assert 1 == 2
def test_breaks():
    BROKEN.append(True)
    raise RuntimeError("the kernel failed")
def test_after_1(): assert not BROKEN
def test_after_2(): assert not BROKEN
"""


def suite(folder, *options):
    (folder / "conftest.py").write_text(TESTS.format(conftest=str(CONFTEST)), encoding="utf-8")
    (folder / "test_suite.py").write_text(SUITE, encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", *options, "test_suite.py"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.exhaustive
def test_alone_the_run_ends_with_the_failures_so_far(tmp_path):
    done = suite(tmp_path)
    assert done.returncode == 1
    assert "the kernel failed" in done.stdout
    assert "the GPU is unusable after test_suite.py::test_breaks: CUDA error" in done.stdout
    assert "2 failed in" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("xdist") is None, reason="pytest-xdist is not installed")
def test_beside_others_the_process_is_replaced(tmp_path):
    done = suite(tmp_path, "--numprocesses", "1")
    assert done.returncode == 1
    assert "the kernel failed" in done.stdout
    assert "2 passed" in done.stdout
