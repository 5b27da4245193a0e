"""The gradient of min S, which reaches only the pairs that attain it; ties share it evenly.

Pairs are tied where fp32 cannot tell them apart (5e-7: products of other tile shapes round differently). A program
owns a few rows and returns at once unless one of them holds the minimum, which is the case for a handful of rows.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import GAIN_LOW, INVERSE, LOW, LOWEST
from .tile import chunked_products, load_rows, load_vector

TIE = tl.constexpr(5e-7)


@triton.jit
def tied_pairs(u, side, rows, cols, n, n_pad, limit, PRECISION: tl.constexpr, D: tl.constexpr, BLOCK_K: tl.constexpr):
    """1 where S does not exceed the limit."""
    p = chunked_products(u, u, rows, cols, PRECISION, D, BLOCK_K)
    s = p * (load_vector(side, INVERSE, rows, n_pad)[:, None] * load_vector(side, INVERSE, cols, n_pad)[None, :])
    real = (rows < n)[:, None] & (cols < n)[None, :]
    return tl.where(real & (s <= limit), 1.0, 0.0)


@triton.jit
def holds_tie(side, index, n, n_pad, limit):
    """Whether some of these rows attain the minimum."""
    low = tl.load(side + LOW * n_pad + index, mask=index < n, other=float("inf"))
    return tl.sum((low <= limit).to(tl.int32), 0) > 0


@triton.jit(do_not_specialize=["n", "n_pad"])
def count_ties(
    u,  # [n_pad, D]
    side,  # [lines, n_pad]
    numbers,
    counts,  # [n_pad // BLOCK]
    n,
    n_pad,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """How many pairs of a block of rows are tied."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    limit = tl.load(numbers + LOWEST) + TIE
    count = tl.zeros([BLOCK], dtype=tl.float32)
    if holds_tie(side, rows, n, n_pad, limit):
        for col in range(0, n, BLOCK):
            cols = col + tl.arange(0, BLOCK)
            if holds_tie(side, cols, n, n_pad, limit):
                count += tl.sum(tied_pairs(u, side, rows, cols, n, n_pad, limit, PRECISION, D, BLOCK_K), 1)
    tl.store(counts + tl.program_id(0), tl.sum(count, 0))


@triton.jit(do_not_specialize=["n", "n_pad"])
def add_low_gradient(
    u,  # [n_pad, D]
    side,  # [lines, n_pad]
    numbers,
    scales,
    counts,  # [n_pad // BLOCK]
    out,  # [n_pad, D] fp32, added to
    n,
    n_pad,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Twice dL/d(min S) / ties times z^ of the other row, for each tied pair: it counts as (i, k) and as (k, i)."""
    row = tl.program_id(0) * BLOCK
    rows = row + tl.arange(0, BLOCK)
    limit = tl.load(numbers + LOWEST) + TIE
    if holds_tie(side, rows, n, n_pad, limit):
        ties = tl.zeros([BLOCK], dtype=tl.float32)
        for start in range(0, n_pad // BLOCK, BLOCK):
            index = start + tl.arange(0, BLOCK)
            ties += tl.load(counts + index, mask=index < n_pad // BLOCK, other=0.0)
        gain = tl.load(scales + GAIN_LOW) / tl.maximum(tl.sum(ties, 0), 1.0)
        for first in range(0, D, BLOCK_K):
            target = out + rows.to(tl.int64)[:, None] * D + first + tl.arange(0, BLOCK_K)[None, :]
            t = tl.load(target)
            for col in range(0, n, BLOCK):
                cols = col + tl.arange(0, BLOCK)
                if holds_tie(side, cols, n, n_pad, limit):
                    tied = tied_pairs(u, side, rows, cols, n, n_pad, limit, PRECISION, D, BLOCK_K)
                    z = load_rows(u, cols, first, BLOCK_K, D).to(tl.float32)
                    z = z * (load_vector(side, INVERSE, cols, n_pad) * gain)[:, None]
                    t = tl.dot(tied, z, t, input_precision="ieee")
            tl.store(target, t)
