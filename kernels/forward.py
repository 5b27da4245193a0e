"""Statistics of rows with at most one positive: NT-Xent, InfoNCE, MoCo, CLEF.

    row_sum_i = sum over the negatives of omega_ik 2^(x_ik - row_max_i)    x = S / tau log2 e (+ W log2 e: "softmax")

For the alignment "cosine" also sum_k (S_ik - 1 + W_ik)^2; for "minmax", whose scale is known only at the end, the sums
of Y, Y^2, YW, W, W^2 and min Y, with Y = S - row_origin_i.

A program owns BLOCK_M rows and one of ``splits`` parts of the columns, and stores its sums in partials (splits,
PARTIALS, N), which :mod:`ecgloss.kernels.forward_merge` adds up. One exponential per pair, one more for its reliability
and one for softmax weights. Budget on sm90 with D = 256 in half precision, 128 x 64 tiles, eight warps, three stages:
64 KiB of shared memory for the rows and 96 KiB for three tiles of columns; 32 accumulators per thread.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forward_pair import add_tile, no_sums
from .lanes import merge_lanes
from .memory_layout import (
    INVERSE,
    PAD,
    PARTIAL_MAX,
    PARTIAL_MINIMUM,
    PARTIAL_NORMALISER,
    PARTIAL_S,
    PARTIAL_SUM,
    PARTIAL_W,
    PARTIAL_W2,
    PARTIAL_Y,
    PARTIAL_Y2,
    PARTIAL_YW,
    PARTIALS,
    ROW_ORIGIN,
)
from .primitives import (
    column_range,
    exponent_scale,
    load_rows,
    load_temperature,
    load_vector,
    products,
    program_tile,
)
from .weight import fixed_maximum, risk_weight

LINES = tl.constexpr(PARTIALS)
RUNTIME = ["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits", "square", "normal_columns"]


@triton.jit(do_not_specialize=RUNTIME)
def forward_kernel(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    row_vectors,  # [lines, n_pad]
    col_vectors,  # [lines, m_pad]
    numbers,  # [NUMBERS]
    partials,  # [splits, PARTIALS, n_pad]
    tau_pointer,  # 0-d, or None
    tau,
    alpha,
    n,
    m,
    n_blocks,
    m_blocks,
    shift_0,
    shift_1,
    period,
    splits,
    square,
    normal_columns,  # columns that softmax weights are normalised over: one view of the samples
    RULE: tl.constexpr,
    ALIGNMENT: tl.constexpr,  # "" | "cosine" | "minmax"
    FIXED_MAXIMUM: tl.constexpr,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PREFETCH: tl.constexpr,  # tiles ahead of which the vectors of the columns are loaded; None: with the tile
):
    """One program per block of rows and part of the columns."""
    n_pad, m_pad = n_blocks * PAD, m_blocks * PAD
    split, _chunk, row = program_tile(splits, 1, BLOCK_M)
    rows = row + tl.arange(0, BLOCK_M)
    tau = load_temperature(tau_pointer, tau)
    scale = exponent_scale(tau)
    inverse = load_vector(row_vectors, INVERSE, rows, n_pad)
    a = load_rows(u_rows, rows, 0, BLOCK_K, D)

    row_origin = load_origin(row_vectors, rows, n_pad, inverse, ALIGNMENT)
    maximum = 0.0 * scale
    if FIXED_MAXIMUM:
        maximum = fixed_maximum(scale, RULE)
    sums = no_sums(BLOCK_M)

    begin, end = column_range(split, splits, m, BLOCK_N)
    for col in tl.range(begin, end, BLOCK_N, num_stages=PREFETCH):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        t = products(a, b, u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K)
        t *= load_vector(col_vectors, INVERSE, cols, m_pad)[None, :]
        w = risk_weight(row_vectors, col_vectors, rows, cols, n_pad, m_pad, numbers, alpha, RULE)
        if ALIGNMENT == "minmax" or RULE.norm == "mean" or RULE.norm == "softmax":
            w += 0.0 * t  # W in the layout of S: if summed by itself, it would be computed again in another layout
        sums = add_tile(
            sums,
            t,
            w,
            rows,
            cols,
            row,
            col,
            inverse,
            row_origin,
            numbers,
            scale,
            maximum,
            m,
            shift_0,
            shift_1,
            period,
            square,
            normal_columns,
            RULE,
            ALIGNMENT,
            FIXED_MAXIMUM,
        )

    store_totals(partials, split, rows, n_pad, row_totals(sums, maximum, FIXED_MAXIMUM), inverse, ALIGNMENT)


@triton.jit
def load_origin(row_vectors, rows, n_pad, inverse, ALIGNMENT: tl.constexpr):
    """The value from which S of some rows is counted; for "cosine" 1."""
    if ALIGNMENT == "minmax":
        return load_vector(row_vectors, ROW_ORIGIN, rows, n_pad)
    if ALIGNMENT == "cosine":
        return 0.0 * inverse + 1
    return 0.0 * inverse


@triton.jit
def row_totals(sums, maximum, FIXED_MAXIMUM: tl.constexpr):
    """The sums over all lanes, (BLOCK_M,) each, in the order of ``sums``."""
    row_sum, row_max, sum_t, normaliser, sum_y, sum_y2, sum_yw, sum_w, sum_w2, minimum = sums
    if FIXED_MAXIMUM:
        row_sum, sum_t = tl.sum(row_sum, 1), tl.sum(sum_t, 1)
        row_max = 0.0 * row_sum + maximum
    else:
        row_sum, row_max, sum_t = merge_lanes(row_sum, row_max, sum_t)
    sum_y, sum_y2, sum_yw = tl.sum(sum_y, 1), tl.sum(sum_y2, 1), tl.sum(sum_yw, 1)
    sum_w, sum_w2 = tl.sum(sum_w, 1), tl.sum(sum_w2, 1)
    return row_sum, row_max, sum_t, tl.sum(normaliser, 1), sum_y, sum_y2, sum_yw, sum_w, sum_w2, tl.min(minimum, 1)


@triton.jit
def store_totals(partials, split, rows, n_pad, totals, inverse, ALIGNMENT: tl.constexpr):
    """The sums over one part of the columns of some rows, from those of :func:`row_totals`."""
    row_sum, row_max, sum_t, normaliser, sum_y, sum_y2, sum_yw, sum_w, sum_w2, minimum = totals
    out = partials + split.to(tl.int64) * LINES * n_pad + rows
    tl.store(out + PARTIAL_SUM * n_pad, row_sum)
    tl.store(out + PARTIAL_MAX * n_pad, row_max)
    tl.store(out + PARTIAL_S * n_pad, sum_t * inverse)
    tl.store(out + PARTIAL_NORMALISER * n_pad, normaliser)
    if ALIGNMENT != "":
        tl.store(out + PARTIAL_Y2 * n_pad, sum_y2)
    if ALIGNMENT == "minmax":
        tl.store(out + PARTIAL_Y * n_pad, sum_y)
        tl.store(out + PARTIAL_YW * n_pad, sum_yw)
        tl.store(out + PARTIAL_W * n_pad, sum_w)
        tl.store(out + PARTIAL_W2 * n_pad, sum_w2)
        tl.store(out + PARTIAL_MINIMUM * n_pad, minimum)
