"""Times of calls on a GPU (events) or a CPU (wall clock), several calls interleaved; and calls as CUDA graphs."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

import torch
from variants import Data, Loss, step

T = TypeVar("T")
Call = Callable[[], object]
REPLAY_TOLERANCE = 1e-2  # relative, of a gradient in bf16 whose sums may come in another order


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: Samples of a call at most.
        least: Samples of a call at least, however long they take.
        sample_ms: Calls are repeated within a sample until it takes about this long: events resolve microseconds.
        call_ms: Time spent on a call, beyond the least number of samples.
        single_ms: A call that takes longer is measured once.
    """

    rounds: int = 15
    least: int = 3
    sample_ms: float = 1.0
    call_ms: float = 600.0
    single_ms: float = 1000.0

    def enough(self, times: list[float], repeats: int) -> bool:
        """Whether these samples of a call will do."""
        if len(times) < self.least:
            return bool(times) and times[0] > self.single_ms
        return len(times) >= self.rounds or sum(times) * repeats > self.call_ms


def milliseconds(call: Call, repeats: int, device: str) -> float:
    """Time of a call, on average over some in a row; on a GPU from its own clock, waiting for launches included."""
    if device == "cpu":
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        return 1000 * (time.perf_counter() - begin) / repeats
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / repeats


def interleaved(calls: dict[str, Call], device: str, effort: Effort) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Samples of every call in milliseconds, one each per round, and why those that failed did.

    Calls must have been made before: the first one at a size compiles and allocates.
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
            if effort.enough(times[name], repeats[name]):
                continue
            sample, reason = attempt(partial(milliseconds, calls[name], repeats[name], device), device)
            if sample is None:
                failures[name] = reason
                del times[name]
            else:
                times[name].append(sample)
    return times, failures


def captured(loss: Loss, data: Data) -> torch.cuda.CUDAGraph:
    """Forward and backward as a graph, whose replay gives the gradient of the calls it was made from.

    Raises:
        ArithmeticError: when it does not: what a capture leaves out would otherwise count as speed.
    """
    current, side = torch.cuda.current_stream(), _side_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        for _ in range(3):
            step(loss, data)
    current.wait_stream(side)
    true = _gradient(data)
    for z in data[:2]:
        z.grad = None
    graph = torch.cuda.CUDAGraph()
    # torch.cuda.graph leaves its own stream behind where a capture fails, so that one is put back from outside.
    with torch.cuda.stream(current), torch.cuda.graph(graph):
        loss(*data).backward()
    for z in data[:2]:
        if z.grad is not None:
            z.grad.fill_(torch.nan)
    graph.replay()
    error = float((_gradient(data) - true).norm() / true.norm())
    if not error < REPLAY_TOLERANCE:
        raise ArithmeticError(f"the replayed graph's gradient differs by {error:.1e}")
    return graph


def attempt(call: Callable[[], T], device: str) -> tuple[T | None, str]:
    """What a call returns, or None and the reason: compilers, other libraries and memory may fail in any way."""
    try:
        return call(), ""
    except torch.cuda.OutOfMemoryError:
        reason = "out of memory"
    except Exception as error:
        reason = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
    # Not in the handlers: the exception holds the frames, and with them their tensors.
    release(device)
    return None, reason


def release(device: str) -> None:
    """Give unused memory back to a GPU; raises where an error has made it unusable for this process."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


@cache
def _side_stream() -> torch.cuda.Stream:
    """Always the same one: cuBLAS keeps a workspace for each."""
    return torch.cuda.Stream()


def _gradient(data: Data) -> torch.Tensor:
    """A copy of the gradients, in fp32."""
    return torch.cat([z.grad.float() for z in data[:2] if z.grad is not None])
