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
        words: Kind; norm, q = 1, unknown risk is zero, revert (of risks); overlap (of features); samples; values per
            sample or row.
        numbers: alpha and fixed scale (0: none) of risks; threshold of features.
        values: fp64, risks (samples, K), features (N, F) or metadata (N, K).
        column_values: fp64, features or metadata of the columns of a rectangular problem.
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


def pair_stats(
    q: Tensor,
    q2: Tensor | None,
    k: Tensor | None,
    temperature: float | Tensor,
    rule: Rule,
    similarity: str | None,
    term_weights: tuple[float, float],
) -> PairStats:
    """Statistics of embeddings that are not normalised, rows of q and then of q2."""
    tau = temperature if isinstance(temperature, Tensor) else _constant(temperature)
    words, numbers, *side = describe(rule)
    loss, entropy, error, rows, _, _ = ops.run(
        q, q2, k, tau, *side, words, numbers, layout_words(rule.layout), SIMILARITIES.index(similarity), term_weights
    )
    asked = None if similarity is None else error
    if rule.layout.positive is None:
        return PairStats(rows, asked)
    return PairStats(rows, asked, entropy, term_weights, loss)


def _constant(x: float) -> Tensor:
    """x as a 0-d tensor, the same one every time: nobody writes to it."""
    if torch.compiler.is_compiling():
        return torch.full((), x, dtype=torch.float64)
    if x not in _CONSTANTS:
        if len(_CONSTANTS) > 100:  # a schedule's values are used once each
            _CONSTANTS.clear()
        _CONSTANTS[x] = torch.full((), x, dtype=torch.float64)
    return _CONSTANTS[x]


_CONSTANTS: dict[float, Tensor] = {}


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
            values=rule.rows.double(),
            column_values=None if rule.layout.square else rule.columns.double(),
            row_labels=rule.row_labels,
            column_labels=None if rule.layout.square else rule.column_labels,
        )
    if isinstance(rule, GaussianPairs):
        return Description(
            [4, 0, 0, 0, 0, 0, 0, rule.rows.shape[1]],
            [0.0, 0.0, 0.0],
            values=rule.rows.double(),
            column_values=None if rule.layout.square else rule.columns.double(),
        )
    raise TypeError(f"backend 'cpp' knows the rules of ecgloss.pairs; got {type(rule).__name__}")


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
