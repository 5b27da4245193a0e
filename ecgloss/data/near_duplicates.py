"""Altered copies of recordings: shifted, cropped, inverted, scaled, of another rate, or one lead of several.

Recordings whose beats follow each other at the same intervals are candidates (`ecgloss.data.beat_runs`). They are
copies if the leads of the one are linear combinations of those of the other where both overlap, and if that is far from
true when the one is moved by up to two seconds. The second condition keeps recordings apart that are alike because
their beats are regular: those fit nearly as well a beat later.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.data.beat_runs import candidates
from ecgloss.data.thumbnail import LENGTH_S, RATE, SAMPLES, lead_counts, valid_samples

#: Largest share of the energy of a copy's leads that is no combination of the other's leads.
LARGEST_REST = 0.025
#: Largest ratio of that share to the least one after a move by a quarter to two seconds.
LARGEST_RATIO = 0.1
SHORTEST_S = 5.0  # stretch that both have in common
_EDGE_S = 0.5  # at the ends of it, which filters change
_STEP_S, _STEPS = 0.012, 4
_MOVES = range(RATE // 4, 2 * RATE + 1)  # samples
_SHORTEST_MOVED_S = 2.5
_RIDGE = 1e-4
_PAIRS = 256


def near_duplicates(
    thumbnails: NDArray[np.int8], others: NDArray[np.int8] | None = None, groups: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Pairs of recordings of which one is an altered copy of the other.

    Args:
        thumbnails: (n, 8, 320) as :func:`ecgloss.data.thumbnail.thumbnail` makes them; they may be mapped from a file.
        others: (m, 8, 320) those to compare with; None: each other.
        groups: (n,) without ``others``: pairs within a group are left out.

    Returns:
        (k, 2) rows of ``thumbnails`` and of ``others``; without these the smaller one first.

    Example:
        >>> near_duplicates(np.zeros((3, 8, 320), np.int8)).shape
        (0, 2)
    """
    right = thumbnails if others is None else others
    first, second, offset = candidates(thumbnails, others)
    if groups is not None:
        apart = groups[first] != groups[second]
        first, second, offset = first[apart], second[apart], offset[apart]
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(first), _PAIRS):
        a, b = first[start : start + _PAIRS], second[start : start + _PAIRS]
        rest, moved = rests(thumbnails[a], right[b], offset[start : start + _PAIRS])
        same = (rest <= LARGEST_REST) & (rest <= LARGEST_RATIO * moved)
        found.append(np.stack([a[same], b[same]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def rests(
    a: NDArray[np.int8], b: NDArray[np.int8], offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much of the one recording of each pair the other does not explain.

    rest = mean over leads x of min over c of |x - sum_k c_k y_k|^2 / |x|^2, on the common stretch, where the y_k are the
    leads of the recording that has more.

    Args:
        a: (n, 8, 320) thumbnails.
        b: (n, 8, 320) those of the others.
        offset: (n,) how much later in seconds the same event is in ``a``, to within 0.04 s.

    Returns:
        (n,) the rest at the best offset, infinite where the common stretch is shorter than 5 s; and (n,) the least rest
        after a further move by a quarter to two seconds, for rests up to `LARGEST_REST`, else 0.
    """
    fft = require("scipy.fft", "data")
    swap = lead_counts(a) > lead_counts(b)
    x = np.where(swap[:, None, None], b, a)
    y = np.where(swap[:, None, None], a, b)
    begin = np.where(swap, -offset, offset)
    ends = valid_samples(x) / RATE, valid_samples(y) / RATE
    spectrum = fft.rfft(y.astype(np.float32))
    x = x.astype(np.float32)

    grid = np.stack([_rest(x, spectrum, ends, begin + k * _STEP_S) for k in range(-_STEPS, _STEPS + 1)])
    best = grid[1:-1].argmin(axis=0) + 1
    before, here, after = (np.take_along_axis(grid, (best + k)[None], axis=0)[0] for k in (-1, 0, 1))
    curvature = before - 2 * here + after
    with np.errstate(invalid="ignore", divide="ignore"):
        vertex = np.where(curvature > 0, 0.5 * (before - after) / curvature, 0.0)
    at = begin + (best - _STEPS + np.nan_to_num(vertex).clip(-1, 1)) * _STEP_S
    found = _rest(x, spectrum, ends, at)
    moved = np.zeros(len(found))
    good = np.flatnonzero(found <= LARGEST_REST)
    if len(good):
        parts = x[good], spectrum[good], (ends[0][good], ends[1][good])
        every = [_rest(*parts, at[good] + sign * k / RATE, _SHORTEST_MOVED_S) for k in _MOVES for sign in (-1, 1)]
        moved[good] = np.min(every, axis=0)
    return found, moved


def _rest(
    x: NDArray[np.float32],
    spectrum: NDArray[np.complex64],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    offset: NDArray[np.float64],
    shortest_s: float = SHORTEST_S,
) -> NDArray[np.float64]:
    """The rest of (n, 8, 320) leads after a fit of leads with (n, 8, 161) spectra that are moved by (n,) seconds."""
    fft = require("scipy.fft", "data")
    turn = np.exp(-2j * np.pi / LENGTH_S * np.arange(spectrum.shape[2]) * offset[:, None])
    y = fft.irfft(spectrum * turn[:, None].astype(np.complex64), SAMPLES)
    begin, end = np.maximum(0.0, offset), np.minimum(ends[0], ends[1] + offset)
    time = np.arange(SAMPLES) / RATE
    inside = ((time >= begin[:, None] + _EDGE_S) & (time < end[:, None] - _EDGE_S)).astype(np.float32)[:, None]
    count = np.maximum(inside.sum(axis=2, keepdims=True), 1)
    x, y = ((z - (z * inside).sum(axis=2, keepdims=True) / count) * inside for z in (x, y))
    energy = np.square(x).sum(axis=2)
    gram = y @ y.swapaxes(1, 2)
    size = np.trace(gram, axis1=1, axis2=2)[:, None, None]
    products = y @ x.swapaxes(1, 2)
    fitted = (products * np.linalg.solve(gram + np.eye(gram.shape[1]) * (_RIDGE * size + 1e-3), products)).sum(axis=1)
    varies = energy > 0
    rest = np.where(varies, 1 - fitted / np.where(varies, energy, 1), 0).sum(axis=1) / np.maximum(varies.sum(axis=1), 1)
    usable = varies.any(axis=1) & (end - begin >= shortest_s)
    return np.where(usable, np.maximum(rest, 0), np.inf).astype(np.float64)
