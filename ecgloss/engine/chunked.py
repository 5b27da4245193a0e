"""pair_stats in plain torch, one block of rows at a time: every device, no compiler, no triton.

The forward leaves O(N) numbers behind (the rows' log-sum-exp); the backward recomputes each block of S and with
A = dL/dS adds ``A z`` to the block's rows and ``A^T z_rows`` to all of them. A block has N D / 4 entries (at least
1 MiB), so memory stays O(N D) and no N x N tensor exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ecgloss.engine import alignment
from ecgloss.engine.stats import PairStats
from ecgloss.pairs import RiskPairs, ViewPairs
from ecgloss.weights import wide_dtype

MIN_BLOCK = 32  # rows
MIN_ENTRIES = 2**18  # of a block of S, 1 MiB: fits in a core's cache
Reduce = Callable[[Tensor, Tensor], Tensor]


def pair_stats(z: Tensor, tau: Tensor, rule: ViewPairs, *, similarity: str | None) -> PairStats:
    """Statistics of normalised embeddings; arguments as in :func:`ecgloss.engine.reference.pair_stats`."""
    extremes = similarity == "minmax"
    weighted = similarity is not None and isinstance(rule, RiskPairs) and not alignment.has_closed_form(rule)
    positive, negative_lse, low, high, weighted_sum = _RowStatistics.apply(z, tau, rule, extremes, weighted)
    if similarity is None:
        return PairStats(positive, negative_lse)
    assert isinstance(rule, RiskPairs)
    error = alignment.mean_squared_error(z, rule, similarity, low, high, weighted_sum if weighted else None)
    return PairStats(positive, negative_lse, error)


def block_rows(n: int, width: int, device: torch.device) -> Iterator[Tensor]:
    """Row numbers in blocks of D / 4 rows, more where that is little work: a block costs a dozen calls of torch."""
    size = max(width // 4, MIN_BLOCK, MIN_ENTRIES // n)
    for start in range(0, n, size):
        yield torch.arange(start, min(start + size, n), device=device)


class _RowStatistics(torch.autograd.Function):
    """positive, negative_lse (N,), min S, max S and sum S W (0-d; zeros unless asked for)."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, tau: Tensor, rule: ViewPairs, extremes: bool, weighted: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        n = z.shape[0]
        negative_lse = z.new_empty(n)
        low, high = z.new_full((), torch.inf), z.new_full((), -torch.inf)
        ties = z.new_zeros(2)  # how many entries equal min S and max S
        weighted_sum = torch.zeros((), dtype=wide_dtype(z.device), device=z.device)
        for rows in block_rows(n, z.shape[1], z.device):
            s = z[rows] @ z.T
            if extremes:
                low, ties[0] = _merge(low, ties[0], s, s.amin(), torch.minimum)
                high, ties[1] = _merge(high, ties[1], s, s.amax(), torch.maximum)
            if weighted:
                assert isinstance(rule, RiskPairs)
                weighted_sum += (s * rule.weight(rows, s.dtype)).sum(dtype=weighted_sum.dtype)
            logits = _negative_logits(s.div_(tau), rows, rule)
            negative_lse[rows] = torch.logsumexp(logits, dim=1)
        everyone = torch.arange(n, device=z.device)
        positive = (z * z[rule.partner(everyone)]).sum(1) / tau
        ctx.save_for_backward(z, tau, negative_lse, low, high, ties)
        ctx.rule, ctx.extremes, ctx.weighted = rule, extremes, weighted
        return positive, negative_lse, low, high, weighted_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        with torch.autocast(grads[0].device.type, enabled=False):
            dz, dtau = _gradients(ctx, *grads)
        return dz, dtau, None, None, None


def _gradients(
    ctx: Any, g_positive: Tensor, g_lse: Tensor, g_low: Tensor, g_high: Tensor, g_weighted: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Gradients of z (N, D) and, if it is asked for, of the temperature (0-d)."""
    z, tau, negative_lse, *_ = ctx.saved_tensors
    rule: ViewPairs = ctx.rule
    # A row whose negatives all weigh 0 has lse = -inf and no gradient: exp(-inf - inf) = 0.
    lse = torch.where(negative_lse == -torch.inf, torch.inf, negative_lse)
    dz = torch.zeros_like(z)
    moment = z.new_zeros(())  # sum of dL/ds s
    for rows in block_rows(z.shape[0], z.shape[1], z.device):
        s = z[rows] @ z.T
        extra = _alignment_gradient(ctx, s, rows, g_low, g_high, g_weighted)
        logits = s.div_(tau)
        a = _negative_logits(logits.clone(), rows, rule).sub_(lse[rows, None]).exp_().mul_(g_lse[rows, None])
        a.scatter_(1, rule.partner(rows)[:, None], g_positive[rows, None])
        if ctx.needs_input_grad[1]:
            moment += (a * logits).sum()
        a.div_(tau)
        if extra is not None:
            a += extra
        dz[rows] += a @ z
        dz += a.T @ z[rows]
    return dz, (-moment / tau if ctx.needs_input_grad[1] else None)


def _negative_logits(logits: Tensor, rows: Tensor, rule: ViewPairs) -> Tensor:
    """Turn s (R, N) into log(omega) + s in place, -inf where the column is no negative."""
    log_weight = rule.log_weight(rows, logits.dtype)
    if log_weight is not None:
        logits += log_weight
    return logits.scatter_(1, rule.same_sample(rows), -torch.inf)


def _merge(best: Tensor, ties: Tensor, s: Tensor, candidate: Tensor, reduce: Reduce) -> tuple[Tensor, Tensor]:
    """An extreme of S and how many entries share it, after one more block ``s`` whose extreme is ``candidate``."""
    count = (s == candidate).sum().to(ties.dtype)
    extreme = reduce(best, candidate)
    count = torch.where(extreme != best, count, torch.where(candidate == best, ties + count, ties))
    return extreme, count


def _alignment_gradient(
    ctx: Any, s: Tensor, rows: Tensor, g_low: Tensor, g_high: Tensor, g_weighted: Tensor
) -> Tensor | None:
    """What min S, max S and sum S W add to dL/dS of a block (None: nothing); ties share a gradient evenly."""
    _, _, _, low, high, ties = ctx.saved_tensors
    extra = None
    if ctx.extremes:
        extra = (s == low) * (g_low / ties[0]) + (s == high) * (g_high / ties[1])
    if ctx.weighted:
        part = ctx.rule.weight(rows, s.dtype) * g_weighted.to(s.dtype)
        extra = part if extra is None else extra + part
    return extra
