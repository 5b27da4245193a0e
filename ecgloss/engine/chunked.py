"""pair_stats in plain torch, one block of rows at a time: every device, no compiler, no triton.

The forward leaves O(N) numbers behind (the rows' log-sum-exp); the backward recomputes each block of S and with
A = dL/dS adds ``A k`` to the gradient of the block's rows q and ``A^T q_rows`` to that of all columns k, which are the
rows themselves when the layout is square. A block has M D / 4 entries (at least 1 MiB), so memory stays O((N + M) D)
and no N x M tensor exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ecgloss.engine import alignment
from ecgloss.engine.stats import PairStats
from ecgloss.pair_weights import wide_dtype
from ecgloss.pairs import Layout, Relations, RiskPairs, Rule

MIN_BLOCK = 32  # rows
MIN_ENTRIES = 2**18  # of a block of S, 1 MiB: fits in a core's cache
Reduce = Callable[[Tensor, Tensor], Tensor]


def pair_stats(q: Tensor, k: Tensor | None, tau: Tensor, rule: Rule, *, similarity: str | None) -> PairStats:
    """Statistics of normalised embeddings; arguments as in :func:`ecgloss.engine.reference.pair_stats`."""
    extremes = similarity == "minmax"
    weighted = similarity is not None and isinstance(rule, RiskPairs) and not alignment.has_closed_form(rule)
    if isinstance(rule, RiskPairs):
        rule.weights.resolved  # noqa: B018  # here, because torch.compile allows no side effects inside
    statistics = _RowStatistics.apply(q, k, tau, _Held(rule), extremes, weighted)
    if similarity is None:
        return PairStats(statistics[:4])
    assert isinstance(rule, RiskPairs)
    low, high, weighted_sum = statistics[4:]
    error = alignment.mean_squared_error(q, rule, similarity, low, high, weighted_sum if weighted else None)
    return PairStats(statistics[:4], squared_error=error)


def block_rows(layout: Layout, width: int, device: torch.device) -> Iterator[Tensor]:
    """Row numbers in blocks of D / 4 rows, more where that is little work: a block costs a dozen calls of torch."""
    size = max(width // 4, MIN_BLOCK, MIN_ENTRIES // layout.n_columns)
    for start in range(0, layout.n_rows, size):
        yield torch.arange(start, min(start + size, layout.n_rows), device=device)


class _Held:
    """A rule that torch.compile passes on as it is: before torch 2.11, it would make a frozen dataclass anew."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule


class _RowStatistics(torch.autograd.Function):
    """The (N,) statistics in the order of PairStats, then min S, max S and sum S W (0-d; zeros unless asked for)."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor | None, tau: Tensor, held: _Held, extremes: bool, weighted: bool
    ) -> tuple[Tensor, ...]:
        rule = held.rule
        columns = q if k is None else k
        positive_sum, positive_lse, positive_count = _single_positive(q, columns, tau, rule.layout)
        negative_lse = torch.empty_like(positive_sum)
        low, high = q.new_full((), torch.inf), q.new_full((), -torch.inf)
        ties = q.new_zeros(2)  # how many entries equal min S and max S
        weighted_sum = torch.zeros((), dtype=wide_dtype(q.device), device=q.device)
        for rows in block_rows(rule.layout, q.shape[1], q.device):
            s = q[rows] @ columns.T
            if extremes:
                low, ties[0] = _merge(low, ties[0], s, s.amin(), torch.minimum)
                high, ties[1] = _merge(high, ties[1], s, s.amax(), torch.maximum)
            if weighted:
                assert isinstance(rule, RiskPairs)
                weighted_sum += (s * rule.weight(rows, s.dtype)).sum(dtype=weighted_sum.dtype)
            logits = s.div_(tau)
            relations = rule.relations(rows, s.dtype)
            weight = _positive_weight(relations, rows, rule.layout)
            if weight is not None:
                positive_sum[rows] = (weight * logits).sum(1)
                positive_count[rows] = weight.sum(1)
                positive_lse[rows] = torch.logsumexp(weight.log_().add_(logits), dim=1)
            negative_lse[rows] = torch.logsumexp(_negative_logits(logits, relations, rows, rule.layout), dim=1)
        ctx.save_for_backward(q, columns, tau, positive_lse, negative_lse, low, high, ties)
        ctx.square, ctx.rule, ctx.extremes, ctx.weighted = k is None, rule, extremes, weighted
        ctx.mark_non_differentiable(positive_count)
        return positive_sum, positive_lse, positive_count, negative_lse, low, high, weighted_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grads[0].device.type, enabled=False):
            return *_gradients(ctx, *grads), None, None, None


def _gradients(
    ctx: Any, g_sum: Tensor, g_positive: Tensor, _: Tensor, g_negative: Tensor, *g_alignment: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of q (N, D), of k (M, D) and of the temperature (0-d), as far as they are asked for."""
    q, columns, tau, positive_lse, negative_lse, *_unused = ctx.saved_tensors
    layout: Layout = ctx.rule.layout
    wants_q, wants_k, wants_tau = ctx.needs_input_grad[:3]
    wants_k = wants_q if ctx.square else wants_k
    positive_lse, negative_lse = _without_empty(positive_lse), _without_empty(negative_lse)
    dq = torch.zeros_like(q)
    dk = dq if ctx.square else torch.zeros_like(columns)
    moment = q.new_zeros(())  # sum of dL/ds s
    for rows in block_rows(layout, q.shape[1], q.device):
        s = q[rows] @ columns.T
        extra = _alignment_gradient(ctx, s, rows, *g_alignment)
        logits = s.div_(tau)
        relations = ctx.rule.relations(rows, s.dtype)
        a = _negative_logits(logits.clone(), relations, rows, layout)
        a.sub_(negative_lse[rows, None]).exp_().mul_(g_negative[rows, None])
        weight = _positive_weight(relations, rows, layout)
        if weight is not None:
            a.addcmul_(weight, g_sum[rows, None])
            share = weight.log_().add_(logits).sub_(positive_lse[rows, None]).exp_()
            a.addcmul_(share, g_positive[rows, None])
        elif layout.positive is not None:
            a.scatter_(1, layout.positive_columns(rows)[:, None], (g_sum + g_positive)[rows, None])
        if wants_tau:
            moment += (a * logits).sum()
        a.div_(tau)
        if extra is not None:
            a += extra
        if wants_q:
            dq[rows] += a @ columns
        if wants_k:
            dk += a.T @ q[rows]
    return dq if wants_q else None, None if ctx.square or not wants_k else dk, -moment / tau if wants_tau else None


def _single_positive(q: Tensor, columns: Tensor, tau: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """Sum, log-sum-exp and count of the layout's positives, (N,) each; those of no positives where it has none."""
    if layout.positive is None:
        empty = q.new_zeros(layout.n_rows)
        return empty, torch.full_like(empty, -torch.inf), torch.zeros_like(empty)
    everyone = torch.arange(layout.n_rows, device=q.device)
    positive = (q * columns[layout.positive_columns(everyone)]).sum(1) / tau
    return positive, positive.clone(), torch.ones_like(positive)


def _positive_weight(relations: Relations, rows: Tensor, layout: Layout) -> Tensor | None:
    """w of dense positives (R, M), 0 where a column is excluded; None where the rule has none."""
    if relations.positive is None:
        return None
    return relations.positive.scatter(1, layout.excluded_columns(rows), 0.0)


def _negative_logits(logits: Tensor, relations: Relations, rows: Tensor, layout: Layout) -> Tensor:
    """Turn s (R, M) into log(omega) + s in place, -inf where the column is no negative."""
    if relations.log_weight is not None:
        logits += relations.log_weight
    if relations.negative is not None:
        logits.masked_fill_(~relations.negative, -torch.inf)
    return logits.scatter_(1, layout.excluded_columns(rows), -torch.inf)


def _without_empty(lse: Tensor) -> Tensor:
    """inf for -inf: a row whose columns all weigh 0 has no gradient, exp(-inf - inf) = 0."""
    return torch.where(lse == -torch.inf, torch.inf, lse)


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
    *_, low, high, ties = ctx.saved_tensors
    extra = None
    if ctx.extremes:
        extra = (s == low) * (g_low / ties[0]) + (s == high) * (g_high / ties[1])
    if ctx.weighted:
        part = ctx.rule.weight(rows, s.dtype) * g_weighted.to(s.dtype)
        extra = part if extra is None else extra + part
    return extra
