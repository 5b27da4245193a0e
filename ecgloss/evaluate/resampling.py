"""Bootstrap intervals of metrics, over patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from ecgloss.evaluate.metrics import METRICS
from ecgloss.evaluate.weighting import Floats

MetricFunction = Callable[..., float]

_BLOCK_ELEMENTS = 4_000_000  # about 32 MB of counts


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

    def to_json(self) -> dict[str, float | None]:
        """Plain values for JSON, which knows no NaN: None instead.

        Example:
            >>> Estimate(0.5, float("nan"), 0.6).to_json()
            {'value': 0.5, 'low': None, 'high': 0.6}
        """
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


def bootstrap(
    metric: MetricFunction,
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
        metric: Function of the arrays returning a float. Those of :data:`~ecgloss.evaluate.metrics.METRICS` are
            evaluated for many resamples at once, any other is called once per resample.
        arrays: Arrays with n rows each.
        n_boot: Number of resamples.
        seed: Seed of the resampling; the same seed, n and groups give the same resamples.
        groups: (n,) patient ids of any sortable type; ``None`` resamples rows.
        level: Coverage, between 0 and 1.

    Raises:
        ValueError: if there is no row, lengths differ, or ``n_boot`` or ``level`` is out of range.

    Example:
        >>> from ecgloss.evaluate import mean_absolute_error
        >>> errors = np.linspace(0.0, 2.0, 200)
        >>> print(bootstrap(mean_absolute_error, errors, np.zeros(200), seed=1))
        1.000 [0.921, 1.084]
    """
    n = _check_bootstrap(arrays, n_boot, level, groups)
    value = float(metric(*arrays))
    draws = [_evaluate(metric, counts, arrays) for counts in _resamples(n, groups, n_boot, seed)]
    return _percentiles(value, np.concatenate(draws), level)


def paired_difference(
    metric: MetricFunction,
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
        >>> from ecgloss.evaluate import macro_auroc
        >>> y = np.array([0, 1] * 50)
        >>> print(paired_difference(macro_auroc, y * 1.0, y * 2.0, y))
        0.000 [0.000, 0.000]
    """
    n = _check_bootstrap((a, b, targets), n_boot, level, groups)
    value = float(metric(a, targets)) - float(metric(b, targets))
    draws = [
        _evaluate(metric, counts, (a, targets)) - _evaluate(metric, counts, (b, targets))
        for counts in _resamples(n, groups, n_boot, seed)
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


def _resamples(n: int, groups: ArrayLike | None, n_boot: int, seed: int) -> Iterator[Floats]:
    """Blocks of resamples as counts (b, n): how often each recording occurs in each resample."""
    rng = np.random.default_rng(seed)
    group_of = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    n_groups = int(group_of.max()) + 1
    rows = max(1, _BLOCK_ELEMENTS // n)
    for start in range(0, n_boot, rows):
        b = min(rows, n_boot - start)
        drawn = rng.integers(n_groups, size=(b, n_groups)) + n_groups * np.arange(b)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=b * n_groups).reshape(b, n_groups)
        yield counts[:, group_of].astype(np.float64)


def _evaluate(metric: MetricFunction, counts: Floats, arrays: tuple[ArrayLike, ...]) -> Floats:
    """The metric in each resample of a block, (b,)."""
    weighted = next((known.weighted for known in METRICS.values() if known.function is metric), None)
    if weighted is not None:
        return weighted(counts, *arrays)
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
