"""The same statistics over several ranks: every rank sees the rows of all.

Each rank computes the loss of the global batch and keeps the gradient of its own rows, times the number of ranks. As
DistributedDataParallel averages gradients over ranks, parameters get the gradient of a single process with the whole
batch. The gradient needs no communication.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from ecgloss.engine.higher_order import without_second_derivative


def gather_rows(x: Tensor, group: ProcessGroup) -> Tensor:
    """Rows of all ranks, in rank order; ranks may hold different numbers of rows.

    Args:
        x: (B_rank, ...) rows of this rank.
        group: The process group.

    Returns:
        (sum of B_rank, ...), differentiable with respect to the own rows.
    """
    gathered: Tensor = _GatherRows.apply(x, group)
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ranks = dist.get_world_size(group)
        counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(ranks)]
        dist.all_gather(counts, torch.tensor([x.shape[0]], device=x.device), group=group)
        sizes = [int(count) for count in counts]
        padded = x.new_zeros(max(sizes), *x.shape[1:])  # collectives want equal shapes
        padded[: x.shape[0]] = x
        blocks = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(blocks, padded, group=group)
        rank = dist.get_rank(group)
        ctx.start, ctx.rows, ctx.ranks = sum(sizes[:rank]), x.shape[0], ranks
        ctx.save_for_backward(x)
        return torch.cat([block[:size] for block, size in zip(blocks, sizes)])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        own = ctx.ranks * g[ctx.start : ctx.start + ctx.rows]
        return without_second_derivative(own, *ctx.saved_tensors) if torch.is_grad_enabled() else own, None
