"""The metrics for a block of bootstrap resamples.

Counts (b, n), predictions and targets (n,) or (n, C) -> values (b,). ``counts[i, j]`` says how often
recording j was drawn into resample i, so nothing is ever gathered or sorted per resample. A value that a
resample does not define (one outcome only, constant ranks) is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_BLOCK_ELEMENTS = 4_000_000  # about 32 MB of counts


def resamples(n: int, groups: ArrayLike | None, n_boot: int, seed: int) -> Iterator[Floats]:
    """Blocks (b, n) of counts: how often each recording occurs in each resample."""
    rng = np.random.default_rng(seed)
    group_of = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    n_groups = int(group_of.max()) + 1
    rows = max(1, _BLOCK_ELEMENTS // n)
    for start in range(0, n_boot, rows):
        b = min(rows, n_boot - start)
        drawn = rng.integers(n_groups, size=(b, n_groups)) + n_groups * np.arange(b)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=b * n_groups).reshape(b, n_groups)
        yield counts[:, group_of].astype(np.float64)


def macro_auroc(counts: Floats, scores: ArrayLike, targets: ArrayLike) -> Floats:
    """Mann-Whitney statistic per class: the share of (positive, negative) pairs in the right order."""
    s, y = _pair("scores", scores, "targets", targets)
    _check_binary("targets", y)
    per_class = np.empty((len(counts), s.shape[1]))
    for c in range(s.shape[1]):
        order, starts = _ties(s[:, c])
        drawn = counts[:, order]
        positive = np.add.reduceat(drawn * y[order, c], starts, axis=1)
        negative = np.add.reduceat(drawn, starts, axis=1) - positive
        below = np.cumsum(negative, axis=1) - negative
        wins = (positive * (below + 0.5 * negative)).sum(axis=1)
        per_class[:, c] = _ratio(wins, positive.sum(axis=1) * negative.sum(axis=1))
    return _mean_defined(per_class)


def macro_f1(counts: Floats, predictions: ArrayLike, targets: ArrayLike) -> Floats:
    """2 TP / (2 TP + FP + FN) per class."""
    p, y = _pair("predictions", predictions, "targets", targets)
    _check_binary("predictions", p)
    _check_binary("targets", y)
    return _mean_defined(_ratio(2.0 * (counts @ (p * y)), counts @ p + counts @ y))


def mean_absolute_error(counts: Floats, predictions: ArrayLike, targets: ArrayLike) -> Floats:
    """Weighted mean of the absolute errors."""
    p, y = _vectors(predictions, targets)
    return _ratio(counts @ np.abs(p - y), counts.sum(axis=1))


def r2(counts: Floats, predictions: ArrayLike, targets: ArrayLike) -> Floats:
    """1 - residual sum of squares / total sum of squares."""
    p, y = _vectors(predictions, targets)
    mean = (counts @ y) / counts.sum(axis=1)
    total = np.einsum("bn,bn->b", counts, (y - mean[:, None]) ** 2)
    low = np.where(counts > 0, y, math.inf).min(axis=1)
    high = np.where(counts > 0, y, -math.inf).max(axis=1)
    total[low == high] = 0.0  # rounding of the mean must not pass for spread
    return 1.0 - _ratio(counts @ (p - y) ** 2, total)


def spearman(counts: Floats, predictions: ArrayLike, targets: ArrayLike) -> Floats:
    """Pearson correlation of the mid-ranks each resample gives its recordings."""
    p, y = (_centred_ranks(counts, values) for values in _vectors(predictions, targets))
    power = np.einsum("bn,bn->b", counts, p * p) * np.einsum("bn,bn->b", counts, y * y)
    return _ratio(np.einsum("bn,bn->b", counts, p * y), np.sqrt(power))


def _centred_ranks(counts: Floats, values: Floats) -> Floats:
    """Mid-rank of every recording within each resample, minus the mean rank, (b, n)."""
    order, starts = _ties(values)
    tied = np.add.reduceat(counts[:, order], starts, axis=1)
    rank = np.cumsum(tied, axis=1) - 0.5 * (tied - 1.0) - 0.5 * (tied.sum(axis=1, keepdims=True) + 1.0)
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    centred: Floats = rank[:, group]
    return centred


def _ties(values: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ascending order, and where in it each run of equal values starts."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    return order, np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1]))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient that is NaN, silently, where there is nothing to divide by."""
    out = np.full(np.shape(numerator), math.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _mean_defined(per_class: Floats) -> Floats:
    """Mean over the classes that are defined, NaN where none is."""
    defined = np.isfinite(per_class)
    return _ratio(np.where(defined, per_class, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def _pair(name_a: str, a: ArrayLike, name_b: str, b: ArrayLike) -> tuple[Floats, Floats]:
    """Two finite float arrays of one shape (n, C)."""
    left, right = (np.asarray(values, dtype=np.float64) for values in (a, b))
    if left.shape != right.shape or left.ndim not in (1, 2) or len(left) == 0:
        raise ValueError(
            f"{name_a} and {name_b}: need one shape (n,) or (n, C), n > 0, got {left.shape}, {right.shape}"
        )
    for name, values in ((name_a, left), (name_b, right)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: {int((~np.isfinite(values)).sum())} values are NaN or infinite")
    return left.reshape(len(left), -1), right.reshape(len(right), -1)


def _vectors(predictions: ArrayLike, targets: ArrayLike) -> tuple[Floats, Floats]:
    """Two finite vectors of one length."""
    p, y = _pair("predictions", predictions, "targets", targets)
    if p.shape[1] != 1:
        raise ValueError(f"predictions and targets: need shape (n,), got {p.shape}")
    return p[:, 0], y[:, 0]


def _check_binary(name: str, values: NDArray[Any]) -> None:
    """Only 0 and 1 are outcomes."""
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError(f"{name}: must be 0 or 1, got values such as {values[~np.isin(values, (0, 1))].flat[0]:g}")
