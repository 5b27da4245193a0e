"""What needs Triton to be imported is imported by the tests that have it, and not collected."""

from __future__ import annotations

import pytest
import torch

collect_ignore = ["compile_kernels.py", "fake_gpu.py", "host_time.py", "kernel_resources.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """On a GPU, what the static roofline predicts beside what is measured."""
    if torch.cuda.is_available():
        from roofline.predictions import beside_measured

        terminalreporter.section("static roofline")
        for line in beside_measured():
            terminalreporter.write_line(line)
