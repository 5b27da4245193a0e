"""The metrics of a probe. :data:`METRICS` is the only list of them: the rest of the package asks it.

To add a metric, write its function here and append it to :data:`METRICS`. Every probe of its kinds of task then
computes it, result files hold it under its name, tables and figures show it under its title.

A bootstrap resample is a row of *counts*: how often each recording was drawn. A recording drawn twice has weight two.
Each metric below is therefore written once, with counts as weights, for many resamples at a time: counts (b, n),
predictions and targets (n,) or (n, C) -> values (b,), without gathering or sorting anything per resample. A value that
a resample does not define (one outcome only, constant ranks) is NaN. The plain value is that of the one resample in
which all counts are one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ecgloss.evaluate.probe_data import CLASSIFICATION, REGRESSION
from ecgloss.evaluate.weighting import (
    Floats,
    centred_ranks,
    check_binary,
    columns,
    mean_of_defined,
    ratio,
    sort_with_ties,
    vectors,
)


@dataclass(frozen=True)
class Metric:
    """A metric, and all that the rest of the package needs to know about it.

    Attributes:
        name: Its key in results, e.g. ``"auroc"``.
        title: Its name in tables and figures, e.g. ``"AUROC"``.
        kinds: The kinds of task it applies to, among "multilabel", "multiclass" and "regression".
        function: (predictions, targets) -> float. For classification, predictions and targets are (n, C), for
            regression (n, 1).
        weighted: The same for a block of bootstrap resamples, (counts, predictions, targets) -> (b,); None:
            ``function`` is called once per resample, which is slower.
        needs_decisions: Its predictions are 0/1 decisions instead of scores (classification only).
        larger_is_better: Whether the larger of two values is the better one.
        chance: The value that guessing gives, drawn as a dashed line; None draws no line.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    function: Callable[..., float]
    weighted: Callable[..., Floats] | None = None
    needs_decisions: bool = False
    larger_is_better: bool = True
    chance: float | None = None

    @property
    def sign(self) -> float:
        """1 or -1: values times the sign are larger where they are better."""
        return 1.0 if self.larger_is_better else -1.0

    def best(self, values: Sequence[float]) -> int:
        """Position of the best value, the first of equals.

        Example:
            >>> METRICS["mae"].best([0.5, 0.25, 0.25]), METRICS["auroc"].best([0.5, 0.25, 0.25])
            (1, 0)
        """
        return int(np.argmax(self.sign * np.asarray(values)))


def macro_auroc(scores: ArrayLike, targets: ArrayLike) -> float:
    """Area under the ROC curve, averaged over classes; tied scores count one half.

    Args:
        scores: (n, C) or (n,), higher means more likely.
        targets: Same shape, 0 or 1.

    Returns:
        Mean over the classes that have both outcomes (the others are left out), NaN if there is none.

    Raises:
        ValueError: if shapes differ, scores are not finite, or targets are not 0/1.

    Example:
        >>> macro_auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.75
    """
    return _unweighted(_weighted_macro_auroc, scores, targets)


def _weighted_macro_auroc(counts: Floats, scores: ArrayLike, targets: ArrayLike) -> Floats:
    """Mann-Whitney statistic per class: the share of (positive, negative) pairs in the right order."""
    s, y = columns("scores", scores, "targets", targets)
    check_binary("targets", y)
    per_class = np.empty((len(counts), s.shape[1]))
    for c in range(s.shape[1]):
        order, starts = sort_with_ties(s[:, c])
        drawn = counts[:, order]
        positive = np.add.reduceat(drawn * y[order, c], starts, axis=1)
        negative = np.add.reduceat(drawn, starts, axis=1) - positive
        below = np.cumsum(negative, axis=1) - negative
        wins = (positive * (below + 0.5 * negative)).sum(axis=1)
        per_class[:, c] = ratio(wins, positive.sum(axis=1) * negative.sum(axis=1))
    return mean_of_defined(per_class)


def macro_f1(predictions: ArrayLike, targets: ArrayLike) -> float:
    """F1 score averaged over classes.

    Args:
        predictions: (n, C) or (n,), 0 or 1.
        targets: Same shape, 0 or 1.

    Returns:
        Mean over the classes with a positive target or a positive prediction, NaN if there is none.

    Raises:
        ValueError: if shapes differ or a value is not 0/1.

    Example:
        >>> round(macro_f1([1, 1, 0, 0], [1, 0, 0, 1]), 3)
        0.5
    """
    return _unweighted(_weighted_macro_f1, predictions, targets)


def _weighted_macro_f1(counts: Floats, predictions: ArrayLike, targets: ArrayLike) -> Floats:
    """2 TP / (2 TP + FP + FN) per class."""
    p, y = columns("predictions", predictions, "targets", targets)
    check_binary("predictions", p)
    check_binary("targets", y)
    return mean_of_defined(ratio(2.0 * (counts @ (p * y)), counts @ p + counts @ y))


def mean_absolute_error(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Mean absolute error, in the unit of the targets.

    Args:
        predictions: (n,) finite values.
        targets: (n,) finite values.

    Example:
        >>> mean_absolute_error([1.0, 4.0], [2.0, 2.0])
        1.5
    """
    return _unweighted(_weighted_mean_absolute_error, predictions, targets)


def _weighted_mean_absolute_error(counts: Floats, predictions: ArrayLike, targets: ArrayLike) -> Floats:
    """Weighted mean of the absolute errors."""
    p, y = vectors(predictions, targets)
    return ratio(counts @ np.abs(p - y), counts.sum(axis=1))


def r2(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Coefficient of determination, NaN where the targets are constant.

    Args:
        predictions: (n,) finite values.
        targets: (n,) finite values.

    Example:
        >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
        1.0
    """
    return _unweighted(_weighted_r2, predictions, targets)


def _weighted_r2(counts: Floats, predictions: ArrayLike, targets: ArrayLike) -> Floats:
    """1 - residual sum of squares / total sum of squares."""
    p, y = vectors(predictions, targets)
    mean = (counts @ y) / counts.sum(axis=1)
    total = np.einsum("bn,bn->b", counts, (y - mean[:, None]) ** 2)
    low = np.where(counts > 0, y, math.inf).min(axis=1)
    high = np.where(counts > 0, y, -math.inf).max(axis=1)
    total[low == high] = 0.0  # all drawn targets are equal: what is left is the rounding error of the mean
    return 1.0 - ratio(counts @ (p - y) ** 2, total)


def spearman(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Spearman's rank correlation with mid-ranks for ties, NaN where either side is constant.

    Args:
        predictions: (n,) finite values.
        targets: (n,) finite values.

    Example:
        >>> round(spearman([1.0, 2.0, 9.0], [10.0, 20.0, 30.0]), 6)
        1.0
    """
    return _unweighted(_weighted_spearman, predictions, targets)


def _weighted_spearman(counts: Floats, predictions: ArrayLike, targets: ArrayLike) -> Floats:
    """Pearson correlation of the ranks within each resample."""
    p, y = (centred_ranks(counts, values) for values in vectors(predictions, targets))
    power = np.einsum("bn,bn->b", counts, p * p) * np.einsum("bn,bn->b", counts, y * y)
    return ratio(np.einsum("bn,bn->b", counts, p * y), np.sqrt(power))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("auroc", "AUROC", CLASSIFICATION, macro_auroc, _weighted_macro_auroc, chance=0.5),
        Metric("f1", "F1", CLASSIFICATION, macro_f1, _weighted_macro_f1, needs_decisions=True),
        Metric(
            "mae",
            "MAE",
            (REGRESSION,),
            mean_absolute_error,
            _weighted_mean_absolute_error,
            larger_is_better=False,
        ),
        Metric("r2", "R²", (REGRESSION,), r2, _weighted_r2),
        Metric("spearman", "Spearman ρ", (REGRESSION,), spearman, _weighted_spearman),
    )
}
"""All metrics by name, in the order of tables. The first one of a kind of task is its main metric."""


def metrics_of(kind: str) -> list[Metric]:
    """The metrics of a kind of task, in the order of tables.

    Example:
        >>> [metric.name for metric in metrics_of("regression")]
        ['mae', 'r2', 'spearman']
    """
    return [metric for metric in METRICS.values() if kind in metric.kinds]


def main_metric(kind: str) -> Metric:
    """The metric of scores by which a probe chooses its penalty and by which encoders are compared.

    Example:
        >>> main_metric("multiclass").name, main_metric("regression").name
        ('auroc', 'mae')
    """
    return next(metric for metric in metrics_of(kind) if not metric.needs_decisions)


def _unweighted(weighted: Callable[..., Floats], predictions: ArrayLike, targets: ArrayLike) -> float:
    """The value on the recordings as they are: the resample in which each was drawn once."""
    ones = np.ones((1, len(np.atleast_1d(np.asarray(targets)))))
    return float(weighted(ones, predictions, targets)[0])
