"""The definition: every N x M matrix materialised, gradients by plain autograd. Slow, large, and the oracle.

S = q k^T, s = S / tau, omega, w and W from the rule, T = 1 - W; nothing is rearranged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecgloss.engine.stats import PairStats, stretch_and_start
from ecgloss.pairs import Rule, is_weighted


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
    rows = torch.arange(rule.layout.n_rows, device=q.device)
    similarities = q @ (q if k is None else k).T  # (N, M)
    logits = similarities / tau
    weight, log_omega = _weights(rule, rows, logits.detach())
    positive_lse, negative_lse = _weighted_lse(logits, torch.log(weight)), _weighted_lse(logits, log_omega)
    statistics = ((weight * logits).sum(1), positive_lse, weight.sum(1), negative_lse)
    if alignment is None:
        return PairStats(statistics)
    assert is_weighted(rule)
    stretch, start = stretch_and_start(alignment, similarities.min(), similarities.max())
    target = 1 - rule.weight(rows, q.dtype)
    return PairStats(statistics, alignment=(stretch * (similarities - start) - target).square().mean())


def _weights(rule: Rule, rows: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """w of the positives and log omega of the negatives, (N, M); 0 and -inf where a column is neither."""
    relations = rule.relations(rows, like.dtype)
    excluded = torch.zeros_like(like, dtype=torch.bool)
    excluded.scatter_(1, rule.layout.excluded_columns(rows), True)
    if relations.positive is not None:
        weight = relations.positive.masked_fill(excluded, 0.0)
    else:
        weight = torch.zeros_like(like)
        if rule.layout.positive is not None:
            weight.scatter_(1, rule.layout.positive_columns(rows)[:, None], 1.0)
    log_omega = torch.zeros_like(like) if relations.log_weight is None else relations.log_weight
    if relations.negative is not None:
        log_omega = log_omega.masked_fill(~relations.negative, -torch.inf)
    return weight, log_omega.masked_fill(excluded, -torch.inf)


def _weighted_lse(logits: Tensor, log_weight: Tensor) -> Tensor:
    """log sum_k exp(log_weight + s) of each row, (N,); for a row of nothing -inf with gradient 0, not 0 / 0."""
    nothing = torch.isneginf(log_weight)
    weighted = torch.where(nothing, -torch.inf, logits + log_weight)
    empty = nothing.all(dim=1)
    return torch.logsumexp(weighted.masked_fill(empty[:, None], 0.0), dim=1).masked_fill(empty, -torch.inf)
