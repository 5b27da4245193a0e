"""Clocks, how long to measure, several calls interleaved, and calls that may fail in any way."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch

T = TypeVar("T")
Call = Callable[[], object]
Clock = Callable[[], float]
PAUSE_CYCLES = 400_000  # about 0.2 ms: longer than Python takes to the first launch, and little beside a sample


class EventClock:
    """Seconds of a GPU's time, from its own events; it stands still while it is read.

    Reading waits for the work launched before. What follows starts when the first launches have queued up, so that the
    GPU waits for launches only where these take longer than the work.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.started: torch.cuda.Event | None = None

    def __call__(self) -> float:
        now, started = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        now.record()
        torch.cuda.synchronize()
        if self.started is not None:
            self.seconds += self.started.elapsed_time(now) / 1000
        torch.cuda._sleep(PAUSE_CYCLES)
        started.record()
        self.started = started
        return self.seconds


@cache
def clock(device: str) -> Clock:
    """The clock of a device, always the same one."""
    return EventClock() if device == "cuda" else time.perf_counter


@dataclass(frozen=True)
class Effort:
    """How long to measure, in seconds."""

    most: int  # samples of a call; at least three
    total: float  # spent on a call, beyond three samples
    sample: float  # calls are repeated within a sample, so that its two ends count for little
    single: float  # a call that takes longer is measured once

    def plan(self, seconds: float) -> tuple[int, int]:
        """Samples, and calls in each, of a call that takes so long."""
        calls = max(1, math.ceil(self.sample / max(seconds, 1e-6)))
        enough = int(self.total / (calls * max(seconds, 1e-6)))
        return 1 if seconds > self.single else max(3, min(self.most, enough)), calls


EFFORT = {"cpu": Effort(7, 1.0, 0.02, 3.0), "cuda": Effort(11, 0.6, 0.01, 3.0)}


def sample(call: Call, calls: int, clock: Clock) -> float:
    """Seconds of a call, on average over some in a row."""
    begin = clock()
    for _ in range(calls):
        call()
    return (clock() - begin) / calls


def interleaved(calls: Sequence[Call], device: str) -> list[list[float]]:
    """Seconds of calls that take turns, which have been made before: as many samples of each as the slowest gets."""
    plans = [EFFORT[device].plan(sample(call, 1, clock(device))) for call in calls]
    times: list[list[float]] = [[] for _ in calls]
    for k in list(range(len(calls))) * min(rounds for rounds, _ in plans):
        times[k].append(sample(calls[k], plans[k][1], clock(device)))
    return times


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, lower and upper quartile, and number of values."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"median": statistics.median(values), "quartiles": [low, high], "rounds": len(values)}


class DeviceLost(RuntimeError): ...  # an error has made the GPU unusable for this process


def attempt(call: Callable[[], T], device: str) -> tuple[T | None, str]:
    """What a call returns, or None and the reason: compilers, other libraries and memory may fail in any way."""
    try:
        return call(), ""
    except torch.cuda.OutOfMemoryError:
        reason = "out of memory"
    except Exception as error:
        reason = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
    try:  # not in the handlers: the exception holds the frames, and with them their tensors
        release(device)
    except Exception as error:
        raise DeviceLost(f"the GPU is unusable after {reason}") from error
    return None, reason


def release(device: str) -> None:
    """Give unused memory back to a GPU; raises where an error has made it unusable for this process."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
