"""pair_stats in plain torch, one block of rows at a time: every device, no compiler, no triton.

The forward leaves O(N) numbers behind (the rows' log-sum-exp); the backward recomputes each block of S and with
A = dL/dS adds ``A k`` to the gradient of the block's rows q and ``A^T q_rows`` to that of all columns k, which are the
rows themselves when the layout is square. A block has M D / 4 entries (at least 1 MiB), so memory stays O((N + M) D)
and no N x M tensor exists.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ecgloss.engine import reference
from ecgloss.engine.alignment import alignment_from_sums
from ecgloss.engine.higher_order import differentiable_gradients, needs_graph
from ecgloss.engine.normalise import without_autocast
from ecgloss.engine.stats import PairStats, without_empty
from ecgloss.pairs import Layout, Relations, Rule, is_weighted
from ecgloss.pairs.weight_matrix import wide_dtype

MIN_BLOCK = 32  # rows
MIN_ENTRIES = 2**18  # of a block of S, 1 MiB: fits in a core's cache
Reduce = Callable[[Tensor, Tensor], Tensor]


def pair_stats(q: Tensor, k: Tensor | None, tau: Tensor, rule: Rule, *, alignment: str | None) -> PairStats:
    """Statistics of normalised embeddings; arguments as in :func:`ecgloss.engine.reference.pair_stats`."""
    if is_weighted(rule):
        rule.prepare()
    if alignment is None:
        return PairStats(_RowStatistics.apply(q, k, tau, _Held(rule), None, None)[:4])
    columns = q if k is None else k
    origin = (q.detach().mean(0) @ columns.detach().mean(0)).to(wide_dtype(q.device))
    statistics = _RowStatistics.apply(q, k, tau, _Held(rule), alignment, origin)
    low, high, *sums = statistics[4:]
    pairs = rule.layout.n_rows * rule.layout.n_columns
    error = alignment_from_sums(alignment, tuple(sums), origin, low, high, pairs)
    return PairStats(statistics[:4], alignment=error.to(q.dtype))


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
    """The (N,) statistics in the order of PairStats; then, where the alignment is asked for, 0-d each: min S, max S
    (for "minmax"), sum Y, Y^2, Y W, W and W^2 with Y = S - origin.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor | None,
        tau: Tensor,
        held: _Held,
        alignment: str | None,
        origin: Tensor | None,
    ) -> tuple[Tensor, ...]:
        rule = held.rule
        columns = q if k is None else k
        positive_sum, positive_lse, positive_count = _single_positive(q, columns, tau, rule.layout)
        negative_lse = torch.empty_like(positive_sum)
        low, high = q.new_full((), torch.inf), q.new_full((), -torch.inf)
        ties = q.new_zeros(2)  # how many entries equal min S and max S
        sums = torch.zeros(5, dtype=wide_dtype(q.device), device=q.device)
        for rows in block_rows(rule.layout, q.shape[1], q.device):
            s = q[rows] @ columns.T
            if alignment == "minmax":
                low, ties[0] = _merge(low, ties[0], s, s.amin(), torch.minimum)
                high, ties[1] = _merge(high, ties[1], s, s.amax(), torch.maximum)
            if origin is not None:
                sums += _alignment_sums(s, rule, rows, origin)
            logits = s.div_(tau)
            relations = rule.relations(rows, s.dtype)
            weight = _positive_weight(relations, rows, rule.layout)
            if weight is not None:
                positive_sum[rows] = (weight * logits).sum(1)
                positive_count[rows] = weight.sum(1)
                positive_lse[rows] = torch.logsumexp(weight.log_().add_(logits), dim=1)
            negative_lse[rows] = torch.logsumexp(_negative_logits(logits, relations, rows, rule.layout), dim=1)
        side = rule.encode(q.dtype).side  # read again by the rule: autograd is to notice where they were overwritten
        ctx.save_for_backward(q, columns, tau, positive_lse, negative_lse, low, high, ties, origin, *side)
        ctx.square, ctx.rule, ctx.alignment = k is None, rule, alignment
        ctx.mark_non_differentiable(positive_count)
        return positive_sum, positive_lse, positive_count, negative_lse, low, high, *sums.unbind()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, columns, tau, positive_lse, negative_lse, low, high, ties, origin, *_ = ctx.saved_tensors
        with without_autocast(q.device.type):
            if needs_graph(*grads):
                definition = functools.partial(_definition, rule=ctx.rule, alignment=ctx.alignment, origin=origin)
                inputs = q, None if ctx.square else columns, tau
                gradients = differentiable_gradients(definition, inputs, ctx.needs_input_grad[:3], grads)
            else:
                saved = _Saved(q, columns, tau, positive_lse, negative_lse, low, high, ties, origin)
                gradients = _gradients(ctx, saved, *grads)
        return *gradients, None, None, None


class _Saved(NamedTuple):
    """What the forward leaves behind, unpacked once."""

    q: Tensor
    columns: Tensor
    tau: Tensor
    positive_lse: Tensor
    negative_lse: Tensor
    low: Tensor
    high: Tensor
    ties: Tensor
    origin: Tensor


def _definition(
    q: Tensor, k: Tensor | None, tau: Tensor, rule: Rule, alignment: str | None, origin: Tensor | None
) -> tuple[Tensor, ...]:
    """What :class:`_RowStatistics` returns, of all rows at once in plain torch."""
    stats = reference.pair_stats(q, k, tau, rule, alignment=None)
    s = q @ (q if k is None else k).T
    if origin is None:
        return *stats.rows, s.new_zeros(()), s.new_zeros(())
    sums = _alignment_sums(s, rule, torch.arange(s.shape[0], device=s.device), origin)
    return *stats.rows, s.amin(), s.amax(), *sums.unbind()


def _gradients(
    ctx: Any, saved: _Saved, g_sum: Tensor, g_positive: Tensor, _: Tensor, g_negative: Tensor, *g_alignment: Tensor
) -> list[Tensor | None]:
    """Gradients of q (N, D), of k (M, D) and of the temperature (0-d), as far as they are asked for."""
    q, columns, tau, positive_lse, negative_lse, *_unused = saved
    layout: Layout = ctx.rule.layout
    wants_q, wants_k, wants_tau = ctx.needs_input_grad[:3]
    wants_k = wants_q if ctx.square else wants_k
    positive_lse, negative_lse = without_empty(positive_lse), without_empty(negative_lse)
    dq = torch.zeros_like(q)
    dk = dq if ctx.square else torch.zeros_like(columns)
    moment = q.new_zeros(())  # sum of dL/ds s
    for rows in block_rows(layout, q.shape[1], q.device):
        s = q[rows] @ columns.T
        extra = None if ctx.alignment is None else _alignment_gradient(ctx, saved, s, rows, *g_alignment)
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
    return [dq if wants_q else None, None if ctx.square or not wants_k else dk, -moment / tau if wants_tau else None]


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


def _merge(best: Tensor, ties: Tensor, s: Tensor, candidate: Tensor, reduce: Reduce) -> tuple[Tensor, Tensor]:
    """An extreme of S and how many entries share it, after one more block ``s`` whose extreme is ``candidate``."""
    count = (s == candidate).sum().to(ties.dtype)
    extreme = reduce(best, candidate)
    count = torch.where(extreme != best, count, torch.where(candidate == best, ties + count, ties))
    return extreme, count


def _alignment_sums(s: Tensor, rule: Rule, rows: Tensor, origin: Tensor) -> Tensor:
    """sum Y, Y^2, Y W, W and W^2 of a block, (5,) in the dtype of ``origin``."""
    assert is_weighted(rule)
    y, w = s - origin.to(s.dtype), rule.weight(rows, s.dtype)
    wide = origin.dtype
    of_y = y.sum(dtype=wide), (y * y).sum(dtype=wide), (y * w).sum(dtype=wide)
    return torch.stack([*of_y, w.sum(dtype=wide), (w * w).sum(dtype=wide)])


def _alignment_gradient(
    ctx: Any,
    saved: _Saved,
    s: Tensor,
    rows: Tensor,
    g_low: Tensor,
    g_high: Tensor,
    g_y: Tensor,
    g_y2: Tensor,
    g_yw: Tensor,
    *_: Tensor,
) -> Tensor:
    """What the alignment term adds to dL/dS of a block: g_y + 2 g_y2 Y + g_yw W, and the extremes' (ties share)."""
    *_unused, low, high, ties, origin = saved
    gradient: Tensor = ctx.rule.weight(rows, s.dtype) * g_yw.to(s.dtype)
    # In wide numbers: for nearly parallel rows g_y and 2 g_y2 origin nearly cancel.
    gradient += (2 * g_y2).to(s.dtype) * (s - origin.to(s.dtype)) + g_y.to(s.dtype)
    if ctx.alignment == "minmax":
        gradient += (s == low) * (g_low / ties[0]) + (s == high) * (g_high / ties[1])
    return gradient
