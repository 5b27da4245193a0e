"""One-to-one matching of detected beats with reference beats, and what is counted from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgloss.evaluate.weighting import Floats

TOLERANCE_S = 0.15  # of ANSI/AAMI EC57 and of CPSC 2020, inclusive
_ROUNDING = 1e-6  # of a sample: 0.15 s times a rate is not always a whole number in floating point


class Matching(NamedTuple):
    """Pairs of a one-to-one matching.

    Attributes:
        found: (m,) positions in the list of detected beats, ascending.
        reference: (m,) of each, the position in the list of reference beats.
    """

    found: NDArray[np.int64]
    reference: NDArray[np.int64]


@dataclass(frozen=True)
class BeatCounts:
    """How many beats of one kind were found, invented and missed.

    Attributes:
        true_positives: Reference beats with a detection of their own.
        false_positives: Detections without a reference beat of their own.
        false_negatives: Reference beats without a detection.

    Example:
        >>> counts = BeatCounts(3, 1, 0) + BeatCounts(0, 0, 2)
        >>> counts, round(counts.f1, 3), counts.precision, counts.sensitivity
        (BeatCounts(true_positives=3, false_positives=1, false_negatives=2), 0.667, 0.75, 0.6)
    """

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    def __add__(self, other: BeatCounts) -> BeatCounts:
        """Counts of both together."""
        return BeatCounts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    @property
    def f1(self) -> float:
        """``2 TP / (2 TP + FP + FN)``, NaN where nothing was there and nothing was found."""
        return _share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)

    @property
    def precision(self) -> float:
        """``TP / (TP + FP)``, NaN where nothing was found."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def sensitivity(self) -> float:
        """``TP / (TP + FN)``, NaN where nothing was there."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)


def match_beats(found: ArrayLike, reference: ArrayLike, tolerance: float) -> Matching:
    """Pair beats one to one: as many pairs as possible, and among these matchings the one with the nearest pairs.

    A beat takes part in one pair at most: a second detection near a reference beat is a false positive, and a detection
    between two reference beats serves one of them.

    Args:
        found: (n,) detected beats, in any unit and any order.
        reference: (m,) reference beats in the same unit.
        tolerance: Largest distance of a pair, inclusive.

    Returns:
        The pairs, positions in ``found`` and ``reference`` as given.

    Raises:
        ValueError: if a list is not one-dimensional or not finite, or the tolerance is negative.

    Example:
        >>> match_beats([90, 100, 300], [105, 361], 60)
        Matching(found=array([1]), reference=array([0]))
    """
    x, y = beat_times("found", found), beat_times("reference", reference)
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0; got {tolerance}")
    order_x, order_y = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    pairs = _best_pairs(x[order_x], y[order_y], tolerance + _ROUNDING)
    i, j = (np.array([pair[k] for pair in pairs], np.int64) for k in (0, 1))
    matched, partner = order_x[i], order_y[j]
    order = np.argsort(matched)
    return Matching(matched[order], partner[order])


def count_beats(found: ArrayLike, reference: ArrayLike, tolerance: float) -> BeatCounts:
    """Found, invented and missed beats by :func:`match_beats`, with the same arguments.

    Example:
        >>> count_beats([90, 100, 300], [105, 361], 60)
        BeatCounts(true_positives=1, false_positives=2, false_negatives=1)
    """
    pairs = len(match_beats(found, reference, tolerance).found)
    return BeatCounts(pairs, np.size(found) - pairs, np.size(reference) - pairs)


def beat_times(name: str, times: ArrayLike) -> Floats:
    """A list of beats as (n,) floats; any shape without entries is an empty list.

    Raises:
        ValueError: if it is not one-dimensional or not finite, naming it.

    Example:
        >>> beat_times("found", []).shape
        (0,)
    """
    x = np.asarray(times, np.float64)
    if not x.size:
        return np.zeros(0)
    if x.ndim != 1:
        raise ValueError(f"{name} must be a list of beats of shape (n,); got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name}: {int((~np.isfinite(x)).sum())} beats are NaN or infinite")
    return x


def _best_pairs(x: Floats, y: Floats, tolerance: float) -> list[tuple[int, int]]:
    """Pairs of positions of ascending beats.

    A best matching of points on a line has no crossing pairs, so that it is found as an alignment: ``best[j]`` is the
    value of the best matching of the references so far with detections before the j-th. Only detections in reach of a
    reference are looked at, which takes a time proportional to their number.
    """
    first, last = np.searchsorted(x, y - tolerance, "left"), np.searchsorted(x, y + tolerance, "right")
    one_more = (tolerance + 1) * (min(len(x), len(y)) + 1)  # a pair more is worth more than any distances saved
    pairs: list[tuple[int, int]] = []
    start = 0
    while start < len(y):  # references that share detections in reach are matched together
        stop = start + 1
        while stop < len(y) and first[stop] < last[start:stop].max():
            stop += 1
        if stop == start + 1 and first[start] < last[start]:
            near = int(first[start] + np.abs(x[first[start] : last[start]] - y[start]).argmin())
            pairs.append((near, start))
        elif stop > start + 1:
            pairs += _aligned(x, y, first, last, range(start, stop), one_more)
        start = stop
    return pairs


def _aligned(
    x: Floats, y: Floats, first: NDArray[np.int64], last: NDArray[np.int64], rows: range, one_more: float
) -> list[tuple[int, int]]:
    """The best pairs of some references, by dynamic programming over the detections in reach of each."""
    decisions: list[list[int]] = []
    offset, before = int(first[rows[0]]), [0.0]  # best[j] from `offset` on; beyond its end it stays as it is
    for k in rows:
        lo, hi = int(first[k]), int(last[k])
        best = [before[min(lo - offset, len(before) - 1)]]
        made = []
        for j in range(lo, hi):
            options = (
                best[-1],
                before[min(j + 1 - offset, len(before) - 1)],
                before[min(j - offset, len(before) - 1)] + one_more - abs(float(x[j] - y[k])),
            )
            best.append(max(options))
            made.append(options.index(best[-1]))
        decisions.append(made)
        offset, before = lo, best
    return _traced(decisions, first, last, rows)


_WITHOUT_DETECTION, _WITHOUT_REFERENCE, _PAIR = 0, 1, 2  # the options of `_aligned`


def _traced(
    decisions: list[list[int]], first: NDArray[np.int64], last: NDArray[np.int64], rows: range
) -> list[tuple[int, int]]:
    """Pairs from the decisions of :func:`_aligned`, from the last reference back."""
    pairs: list[tuple[int, int]] = []
    j = int(last[rows[-1]])
    for k, made in zip(reversed(rows), reversed(decisions)):
        lo, j = int(first[k]), min(j, int(last[k]))
        while j > lo and made[j - 1 - lo] == _WITHOUT_DETECTION:
            j -= 1
        if j > lo and made[j - 1 - lo] == _PAIR:
            j -= 1
            pairs.append((j, k))
    return pairs


def _share(part: int, whole: int) -> float:
    """The quotient, NaN for 0 / 0."""
    return part / whole if whole else float("nan")
