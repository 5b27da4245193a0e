"""Calls as CUDA graphs: which are worth one, and a capture whose replay is known to compute the same."""

from __future__ import annotations

from functools import cache

import torch
from memory import free_bytes
from variants import LIGHTLY, METRIC, Data, Loss, step

LONGEST_MS = 50.0  # launches are nothing beside such a call
MEMORY_SHARE = 0.1  # of the free memory: a graph keeps its own
SYNCHRONISING = (LIGHTLY, METRIC)  # boolean indexing waits for the GPU, and a failed capture may harm what follows
REPLAY_TOLERANCE = 1e-2  # relative, of a gradient in bf16 whose sums may come in another order


def worth_a_graph(variant: str, milliseconds: float, peak_mib: float | None) -> bool:
    """Whether a variant is short, small, and free of what no graph can hold."""
    fits = (peak_mib or 0.0) * 2**20 < MEMORY_SHARE * free_bytes()
    return variant not in SYNCHRONISING and milliseconds <= LONGEST_MS and fits


def captured(loss: Loss, data: Data) -> torch.cuda.CUDAGraph:
    """Forward and backward as a graph; an error where its replay does not give the gradient of the calls captured."""
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


@cache
def _side_stream() -> torch.cuda.Stream:
    """Always the same one: cuBLAS keeps a workspace for each."""
    return torch.cuda.Stream()


def _gradient(data: Data) -> torch.Tensor:
    """A copy of the gradients, in fp32."""
    return torch.cat([z.grad.float() for z in data[:2] if z.grad is not None])
