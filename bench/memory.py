"""Peak memory of one evaluation beyond its inputs and gradients."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import NamedTuple

import torch
from cases import Case, inputs
from variants import COMPILED, Data, Loss, build, step

MATRICES = 12  # N x N in fp32: how many a plain loss holds at its peak, with its backward
FORGET_PEAK = Path("/proc/self/clear_refs")  # Linux alone has it


class Peak(NamedTuple):
    """One evaluation: what it added to the process, and how long it took."""

    mib: float | None
    seconds: float | None


def materialised_bytes(case: Case) -> int:
    """What a loss that stores N x N needs, at most."""
    return MATRICES * case.n**2 * 4


def free_bytes() -> int:
    """Of a GPU's memory: what nobody has, and what torch has but does not use."""
    return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def on_gpu(loss: Loss, data: Data, warm_up: int) -> float:
    """MiB the caching allocator handed out at most in one evaluation, and what evaluations before it left behind."""
    for z in data[:2]:
        z.grad = None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(warm_up):
        step(loss, data)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step(loss, data)
    torch.cuda.synchronize()
    gradients = sum(z.grad.nbytes for z in data[:2] if z.grad is not None)
    return (torch.cuda.max_memory_allocated() - before - gradients) / 2**20


def on_cpu(case: Case, variant: str) -> Peak:
    """Of a fresh process's resident memory; Nones where that cannot be measured or memory ran out."""
    try:
        with ProcessPoolExecutor(1, _fresh_processes()) as pool:
            return pool.submit(peak_of_this_process, case, variant).result()
    except BrokenProcessPool:
        return Peak(None, None)


@cache
def _fresh_processes() -> BaseContext:
    """They have the imports behind them: without this, imports take longer than most measurements."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ecgloss.functional", "lightly.loss", "pytorch_metric_learning.losses"])
    return context


def peak_of_this_process(case: Case, variant: str) -> Peak:
    """Measure in this process, which nothing else has used; Nones where the system does not tell."""
    if not FORGET_PEAK.exists():
        return Peak(None, None)
    loss = build(case.loss, variant)
    # A compiler needs more memory than what it compiles, so that one is called at its own size first. Elsewhere that
    # would hide what a library keeps between calls.
    step(loss, inputs(case if variant == COMPILED else Case(case.loss, 64, 64, case.dtype), "cpu"))
    data = inputs(case, "cpu")
    for z in data[:2]:
        z.grad = torch.ones_like(z)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that stays resident would serve the evaluation unseen
    FORGET_PEAK.write_text("5", encoding="utf-8")
    before, begin = _peak_kib(), time.perf_counter()
    loss(*data).backward()
    duration = time.perf_counter() - begin
    return Peak((_peak_kib() - before) / 1024, duration)


def _peak_kib() -> int:
    """Largest resident memory of this process, as Linux counts it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
