"""The definition: S and everything after it materialised, gradients by plain autograd. The oracle, and small batches.

S = q k^T, s = S / tau, omega, w and W from the rule, T = 1 - W; nothing is rearranged.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ecgloss.engine.stats import PairStats, may_be_empty, stretch_and_start, without_empty
from ecgloss.pairs import Layout, Rule, is_weighted


def pair_stats(q: Tensor, k: Tensor | None, tau: Tensor, rule: Rule, *, alignment: str | None) -> PairStats:
    """Statistics of normalised embeddings.

    Args:
        q: (N, D) normalised rows, fp32 or fp64.
        k: (M, D) normalised columns of the same dtype; None for a square layout, whose columns are the rows.
        tau: 0-d temperature of the same dtype.
        rule: What relates a row to a column.
        alignment: ``"cosine"`` or ``"minmax"`` to ask for the alignment term, else None.

    Returns:
        The statistics.
    """
    layout = rule.layout
    rows, excluded, positive = columns_of(layout, q.device)
    similarities = q @ (q if k is None else k).T  # (N, M)
    logits = similarities / tau
    relations = rule.relations(rows, q.dtype)

    negatives = logits if relations.log_weight is None else logits + relations.log_weight
    if relations.negative is not None:
        negatives = negatives.masked_fill(~relations.negative, -torch.inf)
    negatives = negatives.scatter(1, excluded, -torch.inf)
    negative_lse = logsumexp(negatives) if may_be_empty(layout, relations) else torch.logsumexp(negatives, dim=1)

    if relations.positive is not None:
        weight = relations.positive.scatter(1, excluded, 0.0)
        positives = (weight * logits).sum(1), logsumexp(logits + torch.log(weight)), weight.sum(1)
    elif positive is not None:
        single = logits.gather(1, positive)[:, 0]
        positives = single, single, torch.ones_like(single)
    else:
        none = torch.zeros_like(negative_lse)
        positives = none, torch.full_like(none, -torch.inf), none
    statistics = (*positives, negative_lse)
    if alignment is None:
        return PairStats(statistics)
    assert is_weighted(rule)
    scaled = similarities
    if alignment == "minmax":
        low, high = similarities.amin(), similarities.amax()
        stretch, start = stretch_and_start(alignment, low, high)
        scaled = stretch * (similarities - start)
    target = 1 - rule.weight(rows, q.dtype)
    return PairStats(statistics, alignment=torch.nn.functional.mse_loss(scaled, target))


def columns_of(layout: Layout, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    """All rows (N,), the columns excluded for each (N, E), and its positive (N, 1) where the layout has one."""
    return _new_columns(layout, device) if torch.compiler.is_compiling() else _known_columns(layout, device)


def _new_columns(layout: Layout, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    rows = torch.arange(layout.n_rows, device=device)
    positive = None if layout.positive is None else layout.positive_columns(rows)[:, None]
    return rows, layout.excluded_columns(rows), positive


@functools.lru_cache(maxsize=8)  # the layout is the same from batch to batch
def _known_columns(layout: Layout, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    with torch.inference_mode(False):  # inference tensors could not be saved for a backward pass later on
        return _new_columns(layout, device)


def logsumexp(x: Tensor) -> Tensor:
    """log sum_k e^x_k of each row, (N,); for a row of -inf alone -inf with gradient 0, where torch's has NaN."""
    lse: Tensor = _LogSumExp.apply(x)
    return lse


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        lse = torch.logsumexp(x, dim=1)
        ctx.save_for_backward(x, lse)
        return lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        x, lse = ctx.saved_tensors
        share: Tensor = (x - without_empty(lse)[:, None]).exp_().mul_(g[:, None])
        return share
