"""Altered copies of recordings: shifted, cropped, inverted, scaled, of another rate, or one lead of several.

Recordings whose beats follow each other at the same intervals are candidates (`ecgloss.data.beat_runs`). They are
copies if their leads are equal where both overlap, up to gain and sign (of a recording with fewer leads: if these are
linear combinations of the leads of the other), and if that is far from true when the one is moved by up to two seconds.
The second condition keeps recordings apart that are alike because their beats are regular: those fit nearly as well a
beat later.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.data.beat_runs import candidates
from ecgloss.data.thumbnail import LENGTH_S, RATE, SAMPLES, lead_counts, valid_samples

#: Largest share of the energy of a copy's leads that the other's leads do not explain; and of four leads or more that
#: are compared one by one, which are harder to explain.
LARGEST_REST, LARGEST_REST_OF_MANY = 0.025, 0.05
#: Largest ratio of that share to the least one after a move by a quarter to two seconds.
LARGEST_RATIO = 0.1
SHORTEST_S = 5.0  # stretch that both have in common
LATEST_S = 4.0  # how much later a copy may begin: what is left of ten seconds is too short to tell strangers apart
_EDGE_S = 0.5  # at the ends of it, which filters change
_STEP_S, _STEPS = 0.012, 4
_FINE_S = 0.008
_MOVES = range(RATE // 4, 2 * RATE + 1)  # samples
_SHORTEST_MOVED_S = 2.5
_RIDGE = 1e-4
_MANY = 4
_ROUNDING = 0.001  # rest of an exact copy: an exactly regular recording is never taken for one
_TRIED = 3  # of the moves, between samples too
_PAIRS = 256
_LEAST_ALIKE, _LEAST_ALIKE_LEAD = 0.7, 0.5  # correlation from which pairs are compared in full; of a single lead


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
    possible = np.abs(offset) <= LATEST_S
    if groups is not None:
        possible &= groups[first] != groups[second]
    first, second, offset = first[possible], second[possible], offset[possible]
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(first), _PAIRS):
        part = slice(start, start + _PAIRS)
        a, b, shift = first[part], second[part], offset[part]
        alike = _alike(thumbnails[a], right[b], shift)
        a, b = a[alike], b[alike]
        rest, moved = rests(thumbnails[a], right[b], shift[alike])
        same = (rest <= _largest_rest(thumbnails[a], right[b])) & (rest + _ROUNDING <= LARGEST_RATIO * moved)
        found.append(np.stack([a[same], b[same]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def rests(
    a: NDArray[np.int8], b: NDArray[np.int8], offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much of the one recording of each pair the other does not explain.

    rest = mean over leads x of min over c of |x - sum_k c_k y_k|^2 / |x|^2, on the common stretch, where the y_k are
    the leads of the recording that has more; if both have equally many, the sum has the lead in the same place alone.

    Args:
        a: (n, 8, 320) thumbnails.
        b: (n, 8, 320) those of the others.
        offset: (n,) how much later in seconds the same event is in ``a``, to within 0.04 s.

    Returns:
        (n,) the rest at the best offset, infinite where the common stretch is shorter than 5 s; and (n,) the least rest
        after a further move by a quarter to two seconds, for rests up to `LARGEST_REST_OF_MANY`, else 0.
    """
    fft = require("scipy.fft", "data")
    swap = lead_counts(a) > lead_counts(b)
    x = np.where(swap[:, None, None], b, a)
    y = np.where(swap[:, None, None], a, b)
    begin = np.where(swap, -offset, offset)
    ends = valid_samples(x) / RATE, valid_samples(y) / RATE
    spectrum = fft.rfft(y.astype(np.float32))
    x = x.astype(np.float32)
    direct = lead_counts(x) == lead_counts(y)

    grid = np.stack([_rest(x, spectrum, ends, direct, begin + k * _STEP_S) for k in range(-_STEPS, _STEPS + 1)])
    at = begin + _vertex(grid) * _STEP_S
    found = _rest(x, spectrum, ends, direct, at)
    moved = np.zeros(len(found))
    good = np.flatnonzero(found <= LARGEST_REST_OF_MANY)
    if len(good):
        parts = x[good], spectrum[good], (ends[0][good], ends[1][good]), direct[good]
        moves = np.array([sign * k / RATE for k in _MOVES for sign in (-1, 1)])
        every = np.stack([_rest(*parts, at[good] + move, _SHORTEST_MOVED_S) for move in moves])
        for best in np.argpartition(every, _TRIED, axis=0)[:_TRIED]:
            fine = [_rest(*parts, at[good] + moves[best] + k * _FINE_S, _SHORTEST_MOVED_S) for k in (-2, -1, 0, 1, 2)]
            vertex = at[good] + moves[best] + _vertex(np.stack(fine)) * _FINE_S
            every = np.concatenate([every, fine, [_rest(*parts, vertex, _SHORTEST_MOVED_S)]])
        moved[good] = every.min(axis=0)
    return found, moved


def _largest_rest(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float64]:
    """Largest rest of each pair of (n, 8, 320) thumbnails that makes it a copy."""
    many = (lead_counts(a) == lead_counts(b)) & (lead_counts(a) >= _MANY)
    return np.where(many, LARGEST_REST_OF_MANY, LARGEST_REST)


def _alike(a: NDArray[np.int8], b: NDArray[np.int8], offset: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pairs of (n, 8, 320) thumbnails are worth a full comparison: a quick one, without fits and windows."""
    fft = require("scipy.fft", "data")
    swap = lead_counts(a) > lead_counts(b)
    few, many = np.where(swap[:, None, None], b, a), np.where(swap[:, None, None], a, b)
    shift = np.where(swap, -offset, offset)
    ends = valid_samples(few) / RATE, valid_samples(many) / RATE
    common = np.minimum(ends[0], ends[1] + shift) - np.maximum(0.0, shift)
    share = common / np.maximum(np.sqrt(ends[0] * ends[1]), 1e-9)
    single = lead_counts(few) < lead_counts(many)
    x, y = few.astype(np.float32), many.astype(np.float32)
    x = np.where(single[:, None, None], x[:, :1], x)
    angle = (2j * np.pi / LENGTH_S * np.arange(SAMPLES // 2 + 1)).astype(np.complex64)
    near = np.exp(angle[:, None] * (np.arange(-_STEPS, _STEPS + 1, 2) * _STEP_S)).astype(np.complex64)
    cross = fft.rfft(x) * fft.rfft(y).conj() * np.exp(angle * shift[:, None].astype(np.float32))[:, None]
    products = np.real(cross @ near) * (2 / SAMPLES)
    energy = np.square(x).sum(axis=2), np.square(y).sum(axis=2)
    each = np.sqrt(np.maximum(energy[0] * energy[1], 1e-9))
    lead = (np.abs(products).max(axis=2) / each).max(axis=1)
    every = np.sqrt(np.maximum(energy[0].sum(axis=1) * energy[1].sum(axis=1), 1e-9))
    together = np.abs(products.sum(axis=1)).max(axis=1) / every
    alike = np.where(single, lead / _LEAST_ALIKE_LEAD, together / _LEAST_ALIKE) >= share
    return np.asarray((common >= SHORTEST_S) & alike)


def _vertex(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where (2 k + 1, n) values are least, in steps from the middle, by a parabola through the least of them, (n,)."""
    best = grid[1:-1].argmin(axis=0) + 1
    before, here, after = (np.take_along_axis(grid, (best + k)[None], axis=0)[0] for k in (-1, 0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        curvature = before - 2 * here + after
        vertex = np.where(curvature > 0, 0.5 * (before - after) / curvature, 0.0)
    return np.asarray(best - len(grid) // 2 + np.nan_to_num(vertex).clip(-1, 1))


def _rest(
    x: NDArray[np.float32],
    spectrum: NDArray[np.complex64],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    direct: NDArray[np.bool_],
    offset: NDArray[np.float64],
    shortest_s: float = SHORTEST_S,
) -> NDArray[np.float64]:
    """The rest of (n, 8, 320) leads after a fit of leads with (n, 8, 161) spectra, moved by (n,) seconds."""
    fft = require("scipy.fft", "data")
    turn = np.exp(-2j * np.pi / LENGTH_S * np.arange(spectrum.shape[2]) * offset[:, None])
    y = fft.irfft(spectrum * turn[:, None].astype(np.complex64), SAMPLES)
    begin, end = np.maximum(0.0, offset), np.minimum(ends[0], ends[1] + offset)
    time = np.arange(SAMPLES) / RATE
    inside = ((time >= begin[:, None] + _EDGE_S) & (time < end[:, None] - _EDGE_S)).astype(np.float32)[:, None]
    count = np.maximum(inside.sum(axis=2, keepdims=True), 1)
    x, y = ((z - (z * inside).sum(axis=2, keepdims=True) / count) * inside for z in (x, y))
    energy = np.square(x).sum(axis=2)
    fitted = np.square((x * y).sum(axis=2)) / (np.square(y).sum(axis=2) + 1e-3)
    if not direct.all():
        x_, y_ = x[~direct], y[~direct]
        gram = y_ @ y_.swapaxes(1, 2)
        size = np.trace(gram, axis1=1, axis2=2)[:, None, None]
        products = y_ @ x_.swapaxes(1, 2)
        ridge = np.eye(gram.shape[1]) * (_RIDGE * size + 1e-3)
        fitted[~direct] = (products * np.linalg.solve(gram + ridge, products)).sum(axis=1)
    varies = energy > 0
    rest = np.where(varies, 1 - fitted / np.where(varies, energy, 1), 0).sum(axis=1) / np.maximum(varies.sum(axis=1), 1)
    usable = varies.any(axis=1) & (end - begin >= shortest_s)
    return np.where(usable, np.maximum(rest, 0), np.inf).astype(np.float64)
