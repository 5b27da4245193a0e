"""The C++ kernels: rules in the words of csrc/, and pair_stats through one op per pass."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ecgloss.engine import ops
from ecgloss.engine.stats import PairStats
from ecgloss.pairs import WEIGHT_NORMS, FeaturePairs, GaussianPairs, LabelPairs, Layout, RiskPairs, Rule, UniformPairs

SIMILARITIES = (None, "cosine", "minmax")  # numbered as in csrc/problem.h


class Description(NamedTuple):
    """A rule as the ops take it; tensors that do not apply are None.

    Attributes:
        words: Kind, norm, whether q = 1, clip, overlap, number of samples, values per sample.
        number: alpha of risks, or the threshold of features.
        values: fp64, risks (samples, K), features (N, F) or metadata (N, K).
        column_values: fp64, the same of the columns of a rectangular problem (risks hold them in ``values``).
        known: (samples,) fp64.
        missing: (samples,) fp64.
        numbers: (4,) fp64, of risks: scale, neutral, fallback, all_equal.
        row_labels: (N,) int64.
        column_labels: (M,) int64.
    """

    words: list[int]
    number: float = 0.0
    values: Tensor | None = None
    column_values: Tensor | None = None
    known: Tensor | None = None
    missing: Tensor | None = None
    numbers: Tensor | None = None
    row_labels: Tensor | None = None
    column_labels: Tensor | None = None


def pair_stats(
    q: Tensor, k: Tensor | None, temperature: float | Tensor, rule: Rule, *, similarity: str | None
) -> PairStats:
    """Statistics of embeddings that are not normalised; otherwise as :func:`ecgloss.engine.reference.pair_stats`."""
    tau = temperature if isinstance(temperature, Tensor) else torch.full((), temperature, dtype=torch.float64)
    words, number, *side = describe(rule)
    positive_sum, positive_lse, positive_count, negative_lse, error, _, _ = ops.pair_stats(
        q, k, tau, *side, words, number, layout_words(rule.layout), SIMILARITIES.index(similarity)
    )
    return PairStats(
        positive_sum, positive_lse, positive_count, negative_lse, None if similarity is None else error
    )


def layout_words(layout: Layout) -> list[int]:
    """A layout as integers."""
    positive = -1 if layout.positive is None else layout.positive
    return [int(layout.square), positive, *layout.excluded]


def describe(rule: Rule) -> Description:
    """A rule as the ops take it.

    Raises:
        TypeError: for a rule without C++ kernels.
    """
    if isinstance(rule, UniformPairs):
        return Description([0, 0, 0, 0, 0, 0, 0])
    if isinstance(rule, RiskPairs):
        return _risk(rule)
    if isinstance(rule, LabelPairs):
        return Description([2, 0, 0, 0, 0, 0, 0], row_labels=rule.row_labels, column_labels=rule.column_labels)
    if isinstance(rule, FeaturePairs):
        return Description(
            [3, 0, 0, 0, int(rule.overlap), 0, rule.rows.shape[1]],
            number=rule.threshold,
            values=rule.rows.double(),
            column_values=None if rule.layout.square else rule.columns.double(),
            row_labels=rule.row_labels,
            column_labels=rule.column_labels,
        )
    if isinstance(rule, GaussianPairs):
        columns = None if rule.layout.square else rule.columns.double()
        return Description([4, 0, 0, 0, 0, 0, rule.rows.shape[1]], values=rule.rows.double(), column_values=columns)
    raise TypeError(f"backend 'cpp' knows the rules of ecgloss.pairs; got {type(rule).__name__}")


def _risk(rule: RiskPairs) -> Description:
    w = rule.weights
    fallback = torch.zeros_like(w.scale) if w.fallback is None else w.fallback
    norm = WEIGHT_NORMS.index(rule.norm)
    return Description(
        [1, norm, int(w.power == 1), int(w.clip), 0, w.n_samples, w.risk.shape[1]],
        number=w.alpha,
        values=w.risk,
        known=w.known,
        missing=w.missing,
        numbers=torch.stack([w.scale, w.neutral, fallback, w.all_equal]),
    )
