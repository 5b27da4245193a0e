"""Times of calls on a GPU (events) or a CPU (wall clock), several calls interleaved."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from guard import attempt

Call = Callable[[], object]
PAUSE_CYCLES = 400_000  # about 0.2 ms: longer than Python takes to the first launch, and little beside a sample


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: Samples of a call at most.
        least: Samples of a call at least, however long they take.
        sample_ms: Calls are repeated within a sample until it takes about this long: its two ends count for little.
        call_ms: Time spent on a call, beyond the least number of samples.
        single_ms: A call that takes longer is measured once.
    """

    rounds: int = 11
    least: int = 3
    sample_ms: float = 10.0
    call_ms: float = 600.0
    single_ms: float = 1000.0

    def enough(self, times: list[float], repeats: int) -> bool:
        """Whether these samples of a call will do."""
        if len(times) < self.least:
            return bool(times) and times[0] > self.single_ms
        return len(times) >= self.rounds or sum(times) * repeats > self.call_ms


def milliseconds(call: Call, repeats: int, device: str) -> float:
    """Time of a call, on average over some in a row; on a GPU from its own clock.

    There the GPU is kept busy until the first launches have queued up. From then on it waits for launches where these
    take longer than the work.
    """
    if device == "cpu":
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        return 1000 * (time.perf_counter() - begin) / repeats
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    torch.cuda._sleep(PAUSE_CYCLES)
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / repeats


def interleaved(
    calls: dict[str, Call], device: str, effort: Effort, time_is_left: Callable[[], bool] = lambda: True
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Samples of every call in milliseconds, one each per round, and why those that failed did.

    Calls must have been made before: the first one at a size compiles and allocates. When no time is left, every call
    still gets one sample.
    """
    times: dict[str, list[float]] = {}
    failures: dict[str, str] = {}
    repeats: dict[str, int] = {}
    for name, call in calls.items():
        pilot, reason = attempt(partial(milliseconds, call, 1, device), device)
        if pilot is None:
            failures[name] = reason
            continue
        repeats[name] = max(1, math.ceil(effort.sample_ms / max(pilot, 1e-3)))
        times[name] = [pilot] if pilot > effort.single_ms else []
    for _ in range(effort.rounds):
        for name in list(times):
            if effort.enough(times[name], repeats[name]) or (times[name] and not time_is_left()):
                continue
            sample, reason = attempt(partial(milliseconds, calls[name], repeats[name], device), device)
            if sample is None:
                failures[name] = reason
                del times[name]
            else:
                times[name].append(sample)
    return times, failures
