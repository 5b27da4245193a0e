"""Bounds on what reading a damaged file may cost: an end to hangs, and a limit to the growth of the process."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")


def _peak_mib() -> float:
    return int(re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[1]) / 1024


@contextmanager
def growth_below(mib: float) -> Iterator[None]:
    """The process never grows by more than this inside the block (Linux; elsewhere nothing is checked)."""
    if sys.platform != "linux":
        yield
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _peak_mib()
    yield
    assert _peak_mib() - before < mib


@contextmanager
def ends_within(seconds: int) -> Iterator[None]:
    """Whatever takes longer is interrupted and fails, so that a hang does not stop the tests."""

    def interrupt(*_: object) -> None:
        raise AssertionError(f"still busy after {seconds} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
