"""Rules in the words of the ops: lists of numbers and O(N) tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ecgloss.pairs import WEIGHT_NORMS, FeaturePairs, GaussianPairs, LabelPairs, Layout, RiskPairs, Rule, UniformPairs

SIMILARITIES = (None, "cosine", "minmax")  # numbered as in csrc/problem.h


class Description(NamedTuple):
    """A rule as the ops take it; tensors that do not apply are None.

    Attributes:
        words: Kind; norm, q = 1, unknown risk is zero, revert (of risks); overlap (of features); samples; values per
            sample or row.
        numbers: alpha and fixed scale (0: none) of risks; threshold of features.
        values: Risks (samples, K) in fp64, features (N, F) or metadata (N, K).
        column_values: Features or metadata of the columns of a rectangular problem.
        missing: (samples,) fp64.
        row_labels: (N,) int64.
        column_labels: (M,) int64.
    """

    words: list[int]
    numbers: list[float]
    values: Tensor | None = None
    column_values: Tensor | None = None
    missing: Tensor | None = None
    row_labels: Tensor | None = None
    column_labels: Tensor | None = None


def layout_words(layout: Layout) -> list[int]:
    """A layout as integers."""
    positive = -1 if layout.positive is None else layout.positive
    return [int(layout.square), positive, *layout.excluded]


def describe(rule: Rule, dtype: torch.dtype = torch.float64) -> Description:
    """A rule as the ops take it, features and metadata in ``dtype``.

    Raises:
        TypeError: for a rule without kernels.
    """
    if isinstance(rule, UniformPairs):
        return Description([0, 0, 0, 0, 0, 0, 0, 0], [0.0, 0.0, 0.0])
    if isinstance(rule, RiskPairs):
        return _risk(rule)
    if isinstance(rule, LabelPairs):
        return Description(
            [2, 0, 0, 0, 0, 0, 0, 0],
            [0.0, 0.0, 0.0],
            row_labels=rule.row_labels,
            column_labels=None if rule.layout.square else rule.column_labels,
        )
    if isinstance(rule, FeaturePairs):
        return Description(
            [3, 0, 0, 0, 0, int(rule.overlap), 0, rule.rows.shape[1]],
            [0.0, 0.0, rule.threshold],
            values=rule.rows.to(dtype),
            column_values=None if rule.layout.square else rule.columns.to(dtype),
            row_labels=rule.row_labels,
            column_labels=None if rule.layout.square else rule.column_labels,
        )
    if isinstance(rule, GaussianPairs):
        return Description(
            [4, 0, 0, 0, 0, 0, 0, rule.rows.shape[1]],
            [0.0, 0.0, 0.0],
            values=rule.rows.to(dtype),
            column_values=None if rule.layout.square else rule.columns.to(dtype),
        )
    raise TypeError(f"the kernels know the rules of ecgloss.pairs; got {type(rule).__name__}")


def _risk(rule: RiskPairs) -> Description:
    w = rule.weights
    samples, values = w.values.shape
    flags = [int(w.power == 1), int(w.nan_risk == "zero"), int(w.reliability == "revert")]
    return Description(
        [1, WEIGHT_NORMS.index(rule.norm), *flags, 0, samples, values],
        [w.alpha, 0.0 if w.fixed_scale is None else w.fixed_scale, 0.0],
        values=w.values,
        missing=w.missing,
    )
