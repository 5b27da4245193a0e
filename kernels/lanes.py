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
def merge_lanes(sums, maxima):
    """(BLOCK_M,): the sum of sums 2^maxima as sum 2^maximum, and that maximum; -infinity where there is none."""
    maximum = tl.max(maxima, 1)
    finite = tl.where(maximum == -float("inf"), 0.0, maximum)
    return tl.sum(sums * tl.exp2(maxima - finite[:, None]), 1), maximum
