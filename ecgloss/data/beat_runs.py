"""Recordings whose beats follow each other at the same intervals: which of many may be copies of each other.

The intervals of a few seconds are the same in every lead, at every rate, gain and polarity, and wherever a copy begins.
Each run of them is a point; nearest points are found in k-d trees. Their number is bounded, so that the work grows with
n log n, whatever the recordings are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.data.thumbnail import RATE, SAMPLES, lead_counts, valid_samples

RUN_S, FEWEST = 4.5, 3  # length of a run, and how many intervals it has at least
NEIGHBOURS = 16  # nearest runs of each run
_NEAR_S, _ALIGNED_S = 0.02, 0.04  # largest difference of intervals of a run, and of any two beats of candidates
_FINER = 8
_MOST_BEATS = 32
_WIDTHS_S, _APART_S, _EDGE_S, _LEAST = (0.14, 0.08), 0.4, 0.15, 0.3
_BLOCK, _QUERIES = 256, 65_536


class Candidates(NamedTuple):
    """Pairs of recordings, each once per offset.

    Attributes:
        first: (k,) rows of the one side.
        second: (k,) rows of the other.
        offset: (k,) how much later in seconds the same event is in the first.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    offset: NDArray[np.float64]


class _Beats(NamedTuple):
    """Beats of some leads: ``row`` (n,) of the recording, ``times`` (n, beats) in s, NaN after the last."""

    row: NDArray[np.int64]
    times: NDArray[np.float32]


class _Runs(NamedTuple):
    """Runs of one number of intervals: ``beats`` (n,) which of the beats, ``first`` (n,) beat, ``intervals`` (n, m)."""

    beats: NDArray[np.int64]
    first: NDArray[np.int64]
    intervals: NDArray[np.float32]


def candidates(thumbnails: NDArray[np.int8], others: NDArray[np.int8] | None = None) -> Candidates:
    """Pairs of recordings with the same intervals between beats.

    Where all recordings have equally many leads, their beats are looked for in all leads together; where they have
    not, also in single leads.

    Args:
        thumbnails: (n, 8, 320) as :func:`ecgloss.data.thumbnail.thumbnail` makes them.
        others: (m, 8, 320) those to compare with; None: each other, the first before the second.

    Example:
        >>> candidates(np.zeros((3, 8, 320), np.int8)).first.tolist()
        []
    """
    own = _beats(thumbnails, together=True)
    found = [_matches(own, None if others is None else _beats(others, together=True), NEIGHBOURS)]
    right = thumbnails if others is None else others
    counts = [_leads(thumbnails), _leads(right)]
    present = np.concatenate(counts)
    if len(present) and present.min() < present.max():
        fewer = np.flatnonzero(counts[0] < present.max()) if others is None else np.arange(len(thumbnails))
        single = _beats(right, together=False)
        own = _beats(thumbnails, together=False, rows=fewer)
        found.append(_matches(own, single, 2 * NEIGHBOURS, within=others is None))
    first, second, offset = (np.concatenate(x) for x in zip(*found))
    if others is None:
        swap = first > second
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        offset = np.where(swap, -offset, offset)
    key = np.stack([first, second, np.rint(offset / _ALIGNED_S).astype(np.int64)], axis=1)
    _, once = np.unique(key, axis=0, return_index=True)
    return Candidates(first[once], second[once], offset[once])


def _leads(thumbnails: NDArray[np.int8]) -> NDArray[np.int64]:
    """How many leads vary in each, by blocks, since thumbnails may lie in a file."""
    parts = [lead_counts(thumbnails[start : start + _BLOCK]) for start in range(0, len(thumbnails), _BLOCK)]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _beats(thumbnails: NDArray[np.int8], *, together: bool, rows: NDArray[np.int64] | None = None) -> _Beats:
    """Beats of all leads of each recording together, or of each lead by itself."""
    chosen = np.arange(len(thumbnails)) if rows is None else rows
    row, times = [np.zeros(0, np.int64)], [np.zeros((0, _MOST_BEATS), np.float32)]
    for start in range(0, len(chosen), _BLOCK):
        block = chosen[start : start + _BLOCK]
        energy, ends = _slope_energy(thumbnails[block])
        if together:
            row.append(block)
            times.append(_peaks(energy.sum(axis=1), ends))
            continue
        varies = energy.any(axis=2)
        row.append(np.repeat(block, varies.sum(axis=1)))
        times.append(_peaks(energy[varies], np.repeat(ends, varies.sum(axis=1))))
    return _Beats(np.concatenate(row), np.concatenate(times))


def _slope_energy(thumbnails: NDArray[np.int8]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Smoothed squared slope of each lead, (n, 8, 2560) with mean 1 or zeros, and where the recordings end, (n,)."""
    fft, ndimage = require("scipy.fft", "data"), require("scipy.ndimage", "data")
    frequency = np.arange(SAMPLES // 2 + 1, dtype=np.float32)
    slope = fft.irfft(fft.rfft(thumbnails.astype(np.float32)) * (1j * frequency), SAMPLES * _FINER)
    energy = np.square(slope)
    energy /= np.maximum(energy.mean(axis=2, keepdims=True), 1e-12)
    for width in _WIDTHS_S:
        energy = ndimage.uniform_filter1d(energy, round(width * RATE * _FINER), axis=2)
    return energy.astype(np.float32), valid_samples(thumbnails) * _FINER


def _peaks(energy: NDArray[np.float32], ends: NDArray[np.int64]) -> NDArray[np.float32]:
    """Times of the peaks of (n, 2560) energies before their ends, (n, 32) in s, NaN after the last."""
    rate, samples = RATE * _FINER, energy.shape[1]
    times = np.full((len(energy), _MOST_BEATS), np.nan, np.float32)
    if not len(energy):
        return times
    ndimage = require("scipy.ndimage", "data")
    top = ndimage.maximum_filter1d(energy, round(_APART_S * rate), axis=1)
    high = np.partition(energy, round(0.97 * samples), axis=1)[:, round(0.97 * samples), None]
    peak = (energy == top) & (energy > _LEAST * high)
    edge = round(_EDGE_S * rate)
    peak[:, :edge] = False
    peak &= np.arange(samples) < ends[:, None] - edge
    row, at = np.nonzero(peak)
    before, here, after = energy[row, at - 1], energy[row, at], energy[row, at + 1]
    vertex = 0.5 * (before - after) / np.minimum(before - 2 * here + after, -1e-12)
    number = np.arange(len(row)) - np.searchsorted(row, row)
    kept = number < _MOST_BEATS
    times[row[kept], number[kept]] = ((at + vertex) / rate)[kept]
    return times


def _runs(times: NDArray[np.float32]) -> dict[int, _Runs]:
    """All runs of (n, beats) times that are followed by a further beat, by their number of intervals."""
    intervals = np.diff(times, axis=1)
    last = np.where(np.isfinite(times), times, -np.inf).max(axis=1, initial=-np.inf)
    found: dict[int, list[_Runs]] = {}
    for first in range(times.shape[1] - FEWEST):
        begin = times[:, first]
        size = (times[:, first + 1 :] <= begin[:, None] + RUN_S).sum(axis=1)
        whole = (begin + RUN_S <= last) & (size >= FEWEST)
        for m in np.unique(size[whole]).tolist():
            rows = np.flatnonzero(whole & (size == m))
            run = _Runs(rows, np.full(len(rows), first), intervals[rows, first : first + m])
            found.setdefault(m, []).append(run)
    return {m: _Runs(*(np.concatenate(x) for x in zip(*parts))) for m, parts in found.items()}


def _matches(own: _Beats, others: _Beats | None, neighbours: int, within: bool = False) -> Candidates:
    """Pairs whose runs are near and whose beats are all aligned.

    Args:
        own: Beats of the one side.
        others: Of the other side; None: the same.
        neighbours: How many of each run are looked at.
        within: Whether equal rows are the same recording.
    """
    tree = require("scipy.spatial", "data").cKDTree
    right = own if others is None else others
    here = _runs(own.times)
    there = here if others is None else _runs(right.times)
    found = [Candidates(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for m in sorted(here.keys() & there.keys()):
        theirs = there[m]
        search = tree(theirs.intervals)
        for start in range(0, len(here[m].beats), _QUERIES):
            part = slice(start, start + _QUERIES)
            mine = _Runs(here[m].beats[part], here[m].first[part], here[m].intervals[part])
            distance, near = search.query(mine.intervals, neighbours, p=np.inf, distance_upper_bound=_NEAR_S)
            query, place = np.nonzero(np.isfinite(distance))
            target = near[query, place]
            a, b = mine.beats[query], theirs.beats[target]
            shift = mine.first[query] - theirs.first[target]
            if others is None or within:
                strangers = own.row[a] != right.row[b]
                a, b, shift = a[strangers], b[strangers], shift[strangers]
            a, b, shift = np.unique(np.stack([a, b, shift]), axis=1)
            offset = _aligned(own.times[a], right.times[b], shift)
            kept = np.isfinite(offset)
            found.append(Candidates(own.row[a[kept]], right.row[b[kept]], offset[kept]))
    return Candidates(*(np.concatenate(x) for x in zip(*found)))


def _aligned(a: NDArray[np.float32], b: NDArray[np.float32], shift: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much later the beats of (n, beats) ``a`` are than those of ``b``, ``shift`` (n,) numbers before; NaN where
    one of them is not.
    """
    offset = np.full(len(a), np.nan)
    if len(a):
        k = np.arange(a.shape[1]) - shift[:, None]
        inside = (k >= 0) & (k < b.shape[1])
        difference = a - np.where(inside, np.take_along_axis(b, k.clip(0, b.shape[1] - 1), axis=1), np.nan)
        middle = np.nanmedian(difference, axis=1)
        good = np.nanmax(np.abs(difference - middle[:, None]), axis=1) <= _ALIGNED_S
        offset[good] = middle[good]
    return offset
