"""What needs Triton to be imported is imported by the tests that have it, and not collected."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

collect_ignore = ["compile_kernels.py", "fake_gpu.py", "host_time.py", "kernel_resources.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """On a GPU, what the static roofline predicts beside what is measured, unless the run was interrupted."""
    if torch.cuda.is_available() and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        from roofline.predictions import beside_measured, this_architecture

        terminalreporter.section("static roofline")
        for line in beside_measured(this_architecture()):
            terminalreporter.write_line(line)


@pytest.fixture(scope="module")
def fake_gpu() -> Any:
    """The module :mod:`fake_gpu`, which needs Triton."""
    return importlib.import_module("fake_gpu")


@pytest.fixture
def gpu(fake_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A GPU for which kernels are compiled and launched, but never run."""
    monkeypatch.setattr(importlib.import_module("ecgloss.engine.triton_problem"), "_SEQUENCES", {})
    forget_compiled_kernels()
    yield fake_gpu.install(monkeypatch.setattr)
    forget_compiled_kernels()  # those of a driver that launches nothing: on a real GPU, later tests would get them


def forget_compiled_kernels() -> None:
    """Kernels are looked up, compiled and loaded anew."""
    for name, module in list(sys.modules.items()):
        if name.startswith("ecgloss.kernels."):
            for function in vars(module).values():
                if hasattr(function, "device_caches"):
                    function.device_caches.clear()
