"""Peak memory of one evaluation beyond its inputs and gradients."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import torch
from cases import Case, inputs
from variants import COMPILED, Data, Loss, build, step

MATRICES = 12  # N x N in fp32: how many a plain loss holds at its peak, with its backward
FORGET_PEAK = Path("/proc/self/clear_refs")  # Linux alone has it


class Peak(NamedTuple):
    """What one evaluation added to its process, and how long it took; Nones where the system does not tell."""

    mib: float | None = None
    seconds: float | None = None


def free_bytes() -> int:
    """Free memory of a GPU: unallocated, or held by torch's allocator and unused."""
    return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def on_gpu(loss: Loss, data: Data, warm_up: int) -> float:
    """MiB the caching allocator handed out at most in one evaluation, and what evaluations before it left behind."""
    for z in data[:2]:
        z.grad = None
    before = torch.cuda.memory_allocated()
    for _ in range(warm_up + 1):
        torch.cuda.reset_peak_memory_stats()
        step(loss, data)
    gradients = sum(z.grad.nbytes for z in data[:2] if z.grad is not None)
    return (torch.cuda.max_memory_allocated() - before - gradients) / 2**20


def on_cpu(case: Case, variant: str) -> Peak:
    """Of a fresh process's resident memory; imports, which take longer than most measurements, are behind it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ecgloss.functional", "lightly.loss", "pytorch_metric_learning.losses"])
    try:
        with ProcessPoolExecutor(1, context) as pool:
            return pool.submit(peak_of_this_process, case, variant).result()
    except BrokenProcessPool:  # memory ran out
        return Peak()


def peak_of_this_process(case: Case, variant: str) -> Peak:
    """Of this process's resident memory, which nothing else has used."""
    if not FORGET_PEAK.exists():
        return Peak()
    loss = build(case.loss, variant)
    # A compiler needs memory too: it is called at this size first, which elsewhere would hide what a library keeps.
    step(loss, inputs(case if variant == COMPILED else Case(case.loss, 64, 64, case.dtype), "cpu"))
    data = inputs(case, "cpu")
    for z in data[:2]:
        z.grad = torch.ones_like(z)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that stays resident would serve the evaluation unseen
    FORGET_PEAK.write_text("5", encoding="utf-8")
    before, begin = _peak_kib(), time.perf_counter()
    loss(*data).backward()
    seconds = time.perf_counter() - begin
    return Peak((_peak_kib() - before) / 1024, seconds)


def _peak_kib() -> int:
    """Largest resident memory of this process, as Linux counts it."""
    return int(Path("/proc/self/status").read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0])
