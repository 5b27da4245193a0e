"""The definition: S and everything after it materialised, gradients by plain autograd. The oracle, and small batches.

S = q k^T, s = S / tau, omega, w and W from the rule, T = 1 - W; nothing is rearranged.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ecgloss._transforms import is_watched
from ecgloss.engine.normalise import normalise, without_autocast
from ecgloss.engine.stats import PairStats, may_be_empty, stretch_and_start
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
    return PairStats(statistics, alignment=(scaled - target).square().mean())


def embedding_statistics(
    first: Tensor,
    second: Tensor | None,
    k: Tensor | None,
    tau: Tensor,
    rule: Rule,
    alignment: str | None,
    term_weights: tuple[float, float],
) -> PairStats:
    """Statistics of embeddings that are not normalised, rows of ``first`` and then of ``second``, with the loss."""
    with without_autocast(first.device.type):
        unit, columns = unit_sides(first, second, k)
        stats = pair_stats(unit, columns, tau.to(unit), rule, alignment=alignment)
        if rule.layout.positive is None:
            return stats
        return PairStats(stats.rows, stats.alignment, stats.contrastive(), term_weights, stats.loss(*term_weights))


def unit_sides(first: Tensor, second: Tensor | None, k: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Unit rows, those of ``first`` and then of ``second``, and unit columns."""
    rows = first if second is None else torch.cat([first, second])
    return normalise(rows), None if k is None else normalise(k)


def columns_of(layout: Layout, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    """All rows (N,), the columns excluded for each (N, E), and its positive (N, 1) where the layout has one."""
    if is_watched():
        return _new_columns(layout, device)
    return _known_columns(layout, device)


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
    empty = torch.isneginf(x).all(1)
    lse = torch.logsumexp(torch.where(empty[:, None], 0.0, x), dim=1)
    return torch.where(empty, -torch.inf, lse)
