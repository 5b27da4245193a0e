"""Metrics with patient-level bootstrap intervals.

A bootstrap resample is a row of *counts* (how often each recording was drawn), and a recording drawn twice is
a recording of weight two. Each metric is therefore written once, with counts, for many resamples at a time; a
thousand resamples are a few array operations, and the plain value is the one resample with all counts one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ecgloss.evaluate import _counted
from ecgloss.evaluate._counted import Floats

Metric = Callable[..., float]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: The metric on the data as they are.
        low: Lower end of the interval, NaN where the bootstrap cannot tell.
        high: Upper end of the interval, NaN where the bootstrap cannot tell.

    Example:
        >>> print(Estimate(0.8123, 0.774, 0.8459))
        0.812 [0.774, 0.846]
        >>> print(Estimate(float("nan"), float("nan"), float("nan")))
        n/a
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "n/a"
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{self.value:.3f} [n/a]"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


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
    return float(_counted.macro_auroc(_ones(targets), scores, targets)[0])


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
    return float(_counted.macro_f1(_ones(targets), predictions, targets)[0])


def mean_absolute_error(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Mean absolute error, in the unit of the targets.

    Args:
        predictions: (n,) finite values.
        targets: (n,) finite values.

    Example:
        >>> mean_absolute_error([1.0, 4.0], [2.0, 2.0])
        1.5
    """
    return float(_counted.mean_absolute_error(_ones(targets), predictions, targets)[0])


def r2(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Coefficient of determination, NaN where the targets are constant.

    Args:
        predictions: (n,) finite values.
        targets: (n,) finite values.

    Example:
        >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
        1.0
    """
    return float(_counted.r2(_ones(targets), predictions, targets)[0])


def spearman(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Spearman's rank correlation with mid-ranks for ties, NaN where either side is constant.

    Args:
        predictions: (n,) finite values.
        targets: (n,) finite values.

    Example:
        >>> round(spearman([1.0, 2.0, 9.0], [10.0, 20.0, 30.0]), 6)
        1.0
    """
    return float(_counted.spearman(_ones(targets), predictions, targets)[0])


def bootstrap(
    metric: Metric,
    *arrays: ArrayLike,
    n_boot: int = 1000,
    seed: int = 0,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Percentile bootstrap interval of a metric (Efron and Tibshirani 1993, chapter 13).

    Patients are resampled when ``groups`` is given, together with all their recordings: recordings of one
    patient are not independent, and resampling them one by one would make the interval too narrow. In a
    resample that misses an outcome of a class, the macro AUROC averages the other classes. Where more than
    ``1 - level`` of the resamples have no value at all (a class with two positives, say), the interval is NaN
    instead of a spuriously narrow one.

    Args:
        metric: Function of the arrays returning a float. Those of this module are evaluated for all resamples
            at once, any other is called once per resample.
        arrays: Arrays with n rows each.
        n_boot: Number of resamples.
        seed: Seed of the resampling; the same seed, n and groups give the same resamples.
        groups: (n,) patient ids of any sortable type; ``None`` resamples rows.
        level: Coverage, between 0 and 1.

    Raises:
        ValueError: if there is no row, lengths differ, or ``n_boot`` or ``level`` is out of range.

    Example:
        >>> errors = np.linspace(0.0, 2.0, 200)
        >>> print(bootstrap(mean_absolute_error, errors, np.zeros(200), seed=1))
        1.000 [0.921, 1.084]
    """
    n = _check_bootstrap(arrays, n_boot, level, groups)
    value = float(metric(*arrays))
    draws = [_evaluate(metric, counts, arrays) for counts in _counted.resamples(n, groups, n_boot, seed)]
    return _percentiles(value, np.concatenate(draws), level)


def paired_difference(
    metric: Metric,
    a: ArrayLike,
    b: ArrayLike,
    targets: ArrayLike,
    *,
    n_boot: int = 1000,
    seed: int = 0,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """``metric(a, targets) - metric(b, targets)`` with an interval from resamples shared by both models.

    Sharing the resamples cancels the difficulty of the drawn patients, so this interval is the one to read
    when two models were scored on the same recordings; two overlapping single intervals show nothing.

    Args:
        metric: Function of (scores, targets) returning a float.
        a: Scores of the first model, n rows.
        b: Scores of the second model, same recordings in the same order.
        targets: n rows.
        n_boot: Number of resamples.
        seed: Seed of the resampling.
        groups: (n,) patient ids; ``None`` resamples rows.
        level: Coverage, between 0 and 1.

    Raises:
        ValueError: as :func:`bootstrap`.

    Example:
        >>> y = np.array([0, 1] * 50)
        >>> print(paired_difference(macro_auroc, y * 1.0, y * 2.0, y))
        0.000 [0.000, 0.000]
    """
    n = _check_bootstrap((a, b, targets), n_boot, level, groups)
    value = float(metric(a, targets)) - float(metric(b, targets))
    draws = [
        _evaluate(metric, counts, (a, targets)) - _evaluate(metric, counts, (b, targets))
        for counts in _counted.resamples(n, groups, n_boot, seed)
    ]
    return _percentiles(value, np.concatenate(draws), level)


def _check_bootstrap(arrays: tuple[ArrayLike, ...], n_boot: int, level: float, groups: ArrayLike | None) -> int:
    """Checks shared by both bootstraps; returns the number of rows."""
    if not arrays:
        raise ValueError("bootstrap: no array to resample")
    lengths = [len(np.asarray(array)) for array in (*arrays, *(() if groups is None else (groups,)))]
    if len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(f"bootstrap: arrays (and groups) need one common length > 0, got {lengths}")
    if groups is not None and np.ndim(groups) != 1:
        raise ValueError(f"groups: need shape (n,), got {np.shape(groups)}")
    if n_boot < 1:
        raise ValueError(f"n_boot: at least 1 resample is needed, got {n_boot}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: must lie between 0 and 1, got {level}")
    return lengths[0]


def _evaluate(metric: Metric, counts: Floats, arrays: tuple[ArrayLike, ...]) -> Floats:
    """The metric in each resample of a block, (b,)."""
    if metric in _COUNTED:
        return _COUNTED[metric](counts, *arrays)
    rows = np.arange(counts.shape[1])
    picks = [np.repeat(rows, row.astype(np.int64)) for row in counts]
    return np.array([metric(*(np.asarray(array)[pick] for array in arrays)) for pick in picks], dtype=np.float64)


def _percentiles(value: float, draws: Floats, level: float) -> Estimate:
    """Percentile interval of the defined draws."""
    defined = draws[np.isfinite(draws)]
    if math.isnan(value) or len(defined) == 0 or len(defined) < level * len(draws):
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


def _ones(targets: ArrayLike) -> Floats:
    """The one resample that is the data themselves."""
    return np.ones((1, len(np.atleast_1d(np.asarray(targets)))))


_COUNTED: dict[Metric, Callable[..., Floats]] = {
    macro_auroc: _counted.macro_auroc,
    macro_f1: _counted.macro_f1,
    mean_absolute_error: _counted.mean_absolute_error,
    r2: _counted.r2,
    spearman: _counted.spearman,
}
