"""The gradient of min S (min-max alignment): it reaches only the pairs that attain it, tied pairs in equal shares.

The forward stored the minimum of every row, but its products may be rounded differently than those of the tiles here.
So the minimum is computed again, over the rows whose stored minimum is within NEAR of the least: a handful. Pairs are
tied within TIE, the resolution of S in fp32. A program owns BLOCK rows and returns at once if none of them is near the
minimum; of the columns it skips the blocks that are not, SPAN blocks at a time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import GAIN_MINIMUM, INVERSE, MINIMUM, PAD, ROW_MINIMUM
from .primitives import chunked_products, load_rows, load_vector

NEAR = tl.constexpr(2e-5)  # more than the rounding of S differs between kernels
TIE = tl.constexpr(5e-7)  # a few units in the last place of S in fp32
SUMMARY = tl.constexpr(256)  # blocks of rows per step of a sum
SPAN = tl.constexpr(128)  # blocks of columns per step of the search


@triton.jit
def bounded_similarities(
    u, row_vectors, rows, cols, n, n_pad, PRECISION: tl.constexpr, D: tl.constexpr, BLOCK_K: tl.constexpr
):
    """S of a tile, infinity outside of the n x n pairs."""
    p = chunked_products(u, u, rows, cols, PRECISION, D, BLOCK_K)
    inverse, col_inverse = (
        load_vector(row_vectors, INVERSE, rows, n_pad),
        load_vector(row_vectors, INVERSE, cols, n_pad),
    )
    s = p * (inverse[:, None] * col_inverse[None, :])
    return tl.where((rows < n)[:, None] & (cols < n)[None, :], s, float("inf"))


@triton.jit
def may_hold_minimum(row_vectors, index, n, n_pad, numbers):
    """Whether one of these rows may hold the minimum."""
    minimum = tl.load(row_vectors + ROW_MINIMUM * n_pad + index, mask=index < n, other=float("inf"))
    return tl.sum((minimum <= tl.load(numbers + MINIMUM) + NEAR).to(tl.int32), 0) > 0


@triton.jit
def near_blocks(row_vectors, first, n, n_pad, numbers, BLOCK: tl.constexpr):
    """Which of the SPAN blocks of columns from ``first`` on may hold the minimum."""
    index = first + tl.arange(0, SPAN)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    minimum = tl.load(row_vectors + ROW_MINIMUM * n_pad + index, mask=index < n, other=float("inf"))
    return tl.min(minimum, 1) <= tl.load(numbers + MINIMUM) + NEAR


@triton.jit
def next_block(near, block):
    """The first near block after ``block``; SPAN if there is none."""
    index = tl.arange(0, SPAN)
    return tl.min(tl.where(near & (index > block), index, SPAN), 0)


@triton.jit
def minimum_of(minima, blocks):
    """min S over all blocks of rows."""
    minimum = tl.zeros([SUMMARY], dtype=tl.float32) + float("inf")
    for start in range(0, blocks, SUMMARY):
        index = start + tl.arange(0, SUMMARY)
        minimum = tl.minimum(minimum, tl.load(minima + index, mask=index < blocks, other=float("inf")))
    return tl.min(minimum, 0)


@triton.jit
def count_of(counts, blocks):
    """The number of tied pairs, at least 1."""
    count = tl.zeros([SUMMARY], dtype=tl.float32)
    for start in range(0, blocks, SUMMARY):
        index = start + tl.arange(0, SUMMARY)
        count += tl.load(counts + index, mask=index < blocks, other=0.0)
    return tl.maximum(tl.sum(count, 0), 1.0)


@triton.jit(do_not_specialize=["n", "n_blocks"])
def find_minimum_kernel(
    u,  # [n_pad, D]
    row_vectors,  # [lines, n_pad]
    numbers,  # [NUMBERS]
    minima,  # [n_pad // BLOCK]
    n,
    n_blocks,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """min S of every block of rows, with the rounding of the next two kernels."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    minimum = tl.zeros([BLOCK], dtype=tl.float32) + float("inf")
    if may_hold_minimum(row_vectors, rows, n, n_pad, numbers):
        for first in range(0, n, SPAN * BLOCK):
            near = near_blocks(row_vectors, first, n, n_pad, numbers, BLOCK)
            block = next_block(near, -1)
            while block < SPAN:
                cols = first + block * BLOCK + tl.arange(0, BLOCK)
                minimum = tl.minimum(
                    minimum,
                    tl.min(bounded_similarities(u, row_vectors, rows, cols, n, n_pad, PRECISION, D, BLOCK_K), 1),
                )
                block = next_block(near, block)
    tl.store(minima + tl.program_id(0), tl.min(minimum, 0))


@triton.jit(do_not_specialize=["n", "n_blocks"])
def count_ties_kernel(
    u,  # [n_pad, D]
    row_vectors,  # [lines, n_pad]
    numbers,  # [NUMBERS]
    minima,  # [n_pad // BLOCK]
    counts,  # [n_pad // BLOCK]
    n,
    n_blocks,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """The number of tied pairs in every block of rows."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    count = tl.zeros([BLOCK], dtype=tl.float32)
    if may_hold_minimum(row_vectors, rows, n, n_pad, numbers):
        limit = minimum_of(minima, n_pad // BLOCK) + TIE
        for first in range(0, n, SPAN * BLOCK):
            near = near_blocks(row_vectors, first, n, n_pad, numbers, BLOCK)
            block = next_block(near, -1)
            while block < SPAN:
                cols = first + block * BLOCK + tl.arange(0, BLOCK)
                s = bounded_similarities(u, row_vectors, rows, cols, n, n_pad, PRECISION, D, BLOCK_K)
                count += tl.sum(tl.where(s <= limit, 1.0, 0.0), 1)
                block = next_block(near, block)
    tl.store(counts + tl.program_id(0), tl.sum(count, 0))


@triton.jit(do_not_specialize=["n", "n_blocks"])
def add_minimum_gradient_kernel(
    u,  # [n_pad, D]
    row_vectors,  # [lines, n_pad]
    numbers,  # [NUMBERS]
    scales,  # [SCALES]
    minima,  # [n_pad // BLOCK]
    counts,  # [n_pad // BLOCK]
    out,  # [n_pad, D] fp32, added to
    n,
    n_blocks,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Add 2 dL/d(min S) / ties z^_k to row i for each tied pair: it counts as (i, k) and as (k, i).

    One program per block of rows and BLOCK_K columns of D.
    """
    n_pad = n_blocks * PAD
    CHUNKS: tl.constexpr = D // BLOCK_K
    rows = tl.program_id(0) // CHUNKS * BLOCK + tl.arange(0, BLOCK)
    width = tl.program_id(0) % CHUNKS * BLOCK_K
    if may_hold_minimum(row_vectors, rows, n, n_pad, numbers):
        limit = minimum_of(minima, n_pad // BLOCK) + TIE
        gain = tl.load(scales + GAIN_MINIMUM) / count_of(counts, n_pad // BLOCK)
        target = out + rows.to(tl.int64)[:, None] * D + width + tl.arange(0, BLOCK_K)[None, :]
        t = tl.load(target)
        for first in range(0, n, SPAN * BLOCK):
            near = near_blocks(row_vectors, first, n, n_pad, numbers, BLOCK)
            block = next_block(near, -1)
            while block < SPAN:
                cols = first + block * BLOCK + tl.arange(0, BLOCK)
                s = bounded_similarities(u, row_vectors, rows, cols, n, n_pad, PRECISION, D, BLOCK_K)
                z = load_rows(u, cols, width, BLOCK_K, D).to(tl.float32)
                z = z * (load_vector(row_vectors, INVERSE, cols, n_pad) * gain)[:, None]
                t = tl.dot(tl.where(s <= limit, 1.0, 0.0), z, t, input_precision="ieee")
                block = next_block(near, block)
        tl.store(target, t)
