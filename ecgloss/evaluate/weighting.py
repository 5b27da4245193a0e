"""What metrics on weighted recordings are built from: checked inputs, tied ranks, ratios that may be undefined.

Weights are *counts*, (b, n): how often each of n recordings was drawn into each of b bootstrap resamples.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def columns(name_a: str, a: ArrayLike, name_b: str, b: ArrayLike) -> tuple[Floats, Floats]:
    """Two arrays of one shape, (n,) or (n, C), as finite floats (n, C).

    Raises:
        ValueError: if shapes differ or a value is not finite, naming the array.
    """
    left, right = (np.asarray(values, dtype=np.float64) for values in (a, b))
    if left.shape != right.shape or left.ndim not in (1, 2) or len(left) == 0:
        raise ValueError(
            f"{name_a} and {name_b}: need one shape (n,) or (n, C), n > 0, got {left.shape}, {right.shape}"
        )
    for name, values in ((name_a, left), (name_b, right)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: {int((~np.isfinite(values)).sum())} values are NaN or infinite")
    return left.reshape(len(left), -1), right.reshape(len(right), -1)


def vectors(predictions: ArrayLike, targets: ArrayLike) -> tuple[Floats, Floats]:
    """Predictions and targets, (n,) or (n, 1), as finite floats (n,).

    Raises:
        ValueError: as :func:`columns`, or if there are several columns.
    """
    p, y = columns("predictions", predictions, "targets", targets)
    if p.shape[1] != 1:
        raise ValueError(f"predictions and targets: need shape (n,), got {p.shape}")
    return p[:, 0], y[:, 0]


def check_binary(name: str, values: Floats) -> None:
    """Raise a ``ValueError`` unless all values are 0 or 1."""
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError(f"{name}: must be 0 or 1, got values such as {values[~np.isin(values, (0, 1))].flat[0]:g}")


def centred_ranks(counts: Floats, values: Floats) -> Floats:
    """Rank of every recording within each resample, ties sharing their mean rank, minus the mean rank, (b, n)."""
    order, starts = sort_with_ties(values)
    tied = np.add.reduceat(counts[:, order], starts, axis=1)
    rank = np.cumsum(tied, axis=1) - 0.5 * (tied - 1.0) - 0.5 * (tied.sum(axis=1, keepdims=True) + 1.0)
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    centred: Floats = rank[:, group]
    return centred


def sort_with_ties(values: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ascending order of (n,) values, and where each run of equal values starts in it."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    return order, np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1]))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient, NaN (without a warning) where the denominator is not positive."""
    out = np.full(np.shape(numerator), math.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def mean_of_defined(per_class: Floats) -> Floats:
    """Mean over the classes whose value is defined, (b, C) -> (b,); NaN where none is."""
    defined = np.isfinite(per_class)
    return ratio(np.where(defined, per_class, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
