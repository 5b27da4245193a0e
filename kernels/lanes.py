"""Sums over the columns of a tile, kept in the lanes that hold it.

A tile of a matrix product is spread over a warp so that :data:`LANES` threads share a row, each with two of every eight
columns. Sums are (BLOCK_M, LANES) until the last tile is done: a sum over all columns of each tile would exchange
numbers between threads every time. On other chips the numbers are the same and the exchanges are the compiler's.
"""

from __future__ import annotations

import triton
import triton.language as tl

LANES = tl.constexpr(4)


@triton.jit
def no_lanes(BLOCK_M: tl.constexpr):
    """Sums of nothing."""
    return tl.zeros([BLOCK_M, LANES], dtype=tl.float32)


@triton.jit
def by_lane(values):
    """A tile as (BLOCK_M, LANES, columns of a lane)."""
    groups: tl.constexpr = values.shape[1] // (2 * LANES)
    values = tl.permute(tl.reshape(values, [values.shape[0], groups, LANES, 2]), [0, 2, 1, 3])
    return tl.reshape(values, [values.shape[0], LANES, 2 * groups])


@triton.jit
def lane_sums(values):
    """(BLOCK_M, LANES): the sum of the columns in each lane."""
    return tl.sum(by_lane(values), 2)


@triton.jit
def add_running(sums, maxima, weighted, x, factor, v):
    """Online softmax: ``sums`` 2^``maxima`` and ``weighted`` 2^``maxima`` with a tile's e = factor 2^x and e v."""
    x = by_lane(x)
    higher = tl.maximum(maxima, tl.max(x, 2))
    finite = tl.where(higher == -float("inf"), 0.0, higher)
    e = tl.exp2(x - finite[:, :, None]) * by_lane(factor)
    rescale = tl.exp2(maxima - finite)
    return sums * rescale + tl.sum(e, 2), higher, weighted * rescale + tl.sum(e * by_lane(v), 2)


@triton.jit
def merge_lanes(sums, maxima, weighted):
    """(BLOCK_M,): sum 2^maximum, maximum and weighted 2^maximum over the lanes; -infinity where there is no maximum."""
    maximum = tl.max(maxima, 1)
    rescale = tl.exp2(maxima - tl.where(maximum == -float("inf"), 0.0, maximum)[:, None])
    return tl.sum(sums * rescale, 1), maximum, tl.sum(weighted * rescale, 1)
