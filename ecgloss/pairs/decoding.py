"""A rule from its encoding: the inverse of ``rule.encode``, for passes that know a rule by its numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

from ecgloss.pairs.encoding import Kind, RuleCode, RuleNumbers, Side
from ecgloss.pairs.layout import Layout
from ecgloss.pairs.risk import WEIGHT_NORMS, RiskPairs
from ecgloss.pairs.risk_weights import RiskWeights
from ecgloss.pairs.rules import FeaturePairs, GaussianPairs, LabelPairs, Rule, UniformPairs


def decode(code: RuleCode, numbers: RuleNumbers, side: Side, layout: Layout) -> Rule:
    """The rule that :class:`~ecgloss.pairs.encoding.Encoding` and layout describe.

    Example:
        >>> import torch
        >>> rule = UniformPairs(Layout.two_views(3))
        >>> decode(*rule.encode(torch.float32), rule.layout) == rule
        True
    """
    kind, values, labels = Kind(code.kind), side.values, side.row_labels
    columns = values if side.column_values is None else side.column_values
    column_labels = labels if side.column_labels is None else side.column_labels
    if kind == Kind.UNIFORM:
        return UniformPairs(layout)
    if kind == Kind.LABELS:
        assert labels is not None
        assert column_labels is not None
        return LabelPairs(layout, labels, column_labels)
    assert values is not None
    assert columns is not None
    if kind == Kind.FEATURES:
        overlap = bool(code.overlap)
        return FeaturePairs(layout, values, columns, numbers.threshold, labels, column_labels, overlap)
    if kind == Kind.GAUSSIAN:
        return GaussianPairs(layout, values, columns)
    reliability = None if side.missing is None else "revert" if code.revert else "multiply"
    weights = RiskWeights(
        values,
        side.missing,
        numbers.alpha,
        code.power,
        numbers.fixed_scale or None,
        reliability,
        "zero" if code.unknown_is_zero else "neutral",
    )
    return RiskPairs(layout, weights, WEIGHT_NORMS[code.norm])


def decode_layout(numbers: Sequence[int], n_rows: int, n_columns: int) -> Layout:
    """The layout that :func:`~ecgloss.pairs.encoding.encode_layout` has turned into ``numbers``.

    Example:
        >>> decode_layout([1, 3, 0, 3], 6, 6) == Layout.two_views(3)
        True
    """
    square, positive, *excluded = numbers
    return Layout(n_rows, n_columns, bool(square), tuple(excluded), None if positive < 0 else positive)
