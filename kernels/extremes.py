"""The gradient of min S, which reaches only the pairs that attain it; ties share it evenly.

The forward knows which rows come near the minimum, but its products may have been rounded otherwise than those of the
tiles here, so that the minimum is looked for once more among those rows: a handful. Pairs are tied where fp32 cannot
tell them apart. A program owns a few rows and returns at once unless one of them comes near the minimum; it skips the
columns that do not, SPAN blocks at a time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import GAIN_LOW, INVERSE, LOW, LOWEST, PAD
from .tile import chunked_products, load_rows, load_vector

NEAR = tl.constexpr(2e-5)  # more than two ways of rounding S differ by
TIE = tl.constexpr(5e-7)
SUMMARY = tl.constexpr(256)  # blocks of rows at a time
SPAN = tl.constexpr(128)  # blocks of columns at a time


@triton.jit
def similarities(u, side, rows, cols, n, n_pad, PRECISION: tl.constexpr, D: tl.constexpr, BLOCK_K: tl.constexpr):
    """S of a tile, infinite outside."""
    p = chunked_products(u, u, rows, cols, PRECISION, D, BLOCK_K)
    s = p * (load_vector(side, INVERSE, rows, n_pad)[:, None] * load_vector(side, INVERSE, cols, n_pad)[None, :])
    return tl.where((rows < n)[:, None] & (cols < n)[None, :], s, float("inf"))


@triton.jit
def comes_near(side, index, n, n_pad, numbers):
    """Whether some of these rows may attain the minimum."""
    low = tl.load(side + LOW * n_pad + index, mask=index < n, other=float("inf"))
    return tl.sum((low <= tl.load(numbers + LOWEST) + NEAR).to(tl.int32), 0) > 0


@triton.jit
def near_blocks(side, first, n, n_pad, numbers, BLOCK: tl.constexpr):
    """Which of the SPAN blocks of columns from ``first`` on may attain the minimum."""
    index = first + tl.arange(0, SPAN)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    low = tl.load(side + LOW * n_pad + index, mask=index < n, other=float("inf"))
    return tl.min(low, 1) <= tl.load(numbers + LOWEST) + NEAR


@triton.jit
def next_block(near, block):
    """The first near block behind ``block``; SPAN if there is none."""
    index = tl.arange(0, SPAN)
    return tl.min(tl.where(near & (index > block), index, SPAN), 0)


@triton.jit
def least_of(lows, blocks):
    """The least S of all blocks of rows."""
    least = tl.zeros([SUMMARY], dtype=tl.float32) + float("inf")
    for start in range(0, blocks, SUMMARY):
        index = start + tl.arange(0, SUMMARY)
        least = tl.minimum(least, tl.load(lows + index, mask=index < blocks, other=float("inf")))
    return tl.min(least, 0)


@triton.jit
def total_of(counts, blocks):
    """How many pairs are tied."""
    count = tl.zeros([SUMMARY], dtype=tl.float32)
    for start in range(0, blocks, SUMMARY):
        index = start + tl.arange(0, SUMMARY)
        count += tl.load(counts + index, mask=index < blocks, other=0.0)
    return tl.maximum(tl.sum(count, 0), 1.0)


@triton.jit(do_not_specialize=["n", "n_blocks"])
def find_lows(
    u,  # [n_pad, D]
    side,  # [lines, n_pad]
    numbers,
    lows,  # [n_pad // BLOCK]
    n,
    n_blocks,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """The least S of every block of rows, as the next kernels compute it."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    low = tl.zeros([BLOCK], dtype=tl.float32) + float("inf")
    if comes_near(side, rows, n, n_pad, numbers):
        for first in range(0, n, SPAN * BLOCK):
            near = near_blocks(side, first, n, n_pad, numbers, BLOCK)
            block = next_block(near, -1)
            while block < SPAN:
                cols = first + block * BLOCK + tl.arange(0, BLOCK)
                low = tl.minimum(low, tl.min(similarities(u, side, rows, cols, n, n_pad, PRECISION, D, BLOCK_K), 1))
                block = next_block(near, block)
    tl.store(lows + tl.program_id(0), tl.min(low, 0))


@triton.jit(do_not_specialize=["n", "n_blocks"])
def count_ties(
    u,  # [n_pad, D]
    side,  # [lines, n_pad]
    numbers,
    lows,  # [n_pad // BLOCK]
    counts,  # [n_pad // BLOCK]
    n,
    n_blocks,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """How many pairs of every block of rows are tied."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    count = tl.zeros([BLOCK], dtype=tl.float32)
    if comes_near(side, rows, n, n_pad, numbers):
        limit = least_of(lows, n_pad // BLOCK) + TIE
        for first in range(0, n, SPAN * BLOCK):
            near = near_blocks(side, first, n, n_pad, numbers, BLOCK)
            block = next_block(near, -1)
            while block < SPAN:
                cols = first + block * BLOCK + tl.arange(0, BLOCK)
                s = similarities(u, side, rows, cols, n, n_pad, PRECISION, D, BLOCK_K)
                count += tl.sum(tl.where(s <= limit, 1.0, 0.0), 1)
                block = next_block(near, block)
    tl.store(counts + tl.program_id(0), tl.sum(count, 0))


@triton.jit(do_not_specialize=["n", "n_blocks"])
def add_low_gradient(
    u,  # [n_pad, D]
    side,  # [lines, n_pad]
    numbers,
    scales,
    lows,  # [n_pad // BLOCK]
    counts,  # [n_pad // BLOCK]
    out,  # [n_pad, D] fp32, added to
    n,
    n_blocks,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Twice dL/d(min S) / ties times z^ of the other row, for each tied pair: it counts as (i, k) and as (k, i).

    One program per block of rows and BLOCK_K columns of D.
    """
    n_pad = n_blocks * PAD
    CHUNKS: tl.constexpr = D // BLOCK_K
    rows = tl.program_id(0) // CHUNKS * BLOCK + tl.arange(0, BLOCK)
    width = tl.program_id(0) % CHUNKS * BLOCK_K
    if comes_near(side, rows, n, n_pad, numbers):
        limit = least_of(lows, n_pad // BLOCK) + TIE
        gain = tl.load(scales + GAIN_LOW) / total_of(counts, n_pad // BLOCK)
        target = out + rows.to(tl.int64)[:, None] * D + width + tl.arange(0, BLOCK_K)[None, :]
        t = tl.load(target)
        for first in range(0, n, SPAN * BLOCK):
            near = near_blocks(side, first, n, n_pad, numbers, BLOCK)
            block = next_block(near, -1)
            while block < SPAN:
                cols = first + block * BLOCK + tl.arange(0, BLOCK)
                s = similarities(u, side, rows, cols, n, n_pad, PRECISION, D, BLOCK_K)
                z = load_rows(u, cols, width, BLOCK_K, D).to(tl.float32)
                z = z * (load_vector(side, INVERSE, cols, n_pad) * gain)[:, None]
                t = tl.dot(tl.where(s <= limit, 1.0, 0.0), z, t, input_precision="ieee")
                block = next_block(near, block)
        tl.store(target, t)
