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

from .memory_layout import (
    INVERSE,
    PAD,
    PARTIAL_MAX,
    PARTIAL_MINIMUM,
    PARTIAL_NORMALISER,
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
    LOG2E,
    column_range,
    exponent_scale,
    is_excluded,
    is_special,
    load_rows,
    load_temperature,
    load_vector,
    program_tile,
    similarities,
)
from .weight import (
    exponents,
    fixed_maximum,
    mark_excluded,
    negative_weight,
    risk_weight,
    target_weight,
    times_weight,
)

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

    row_sum = tl.zeros([BLOCK_M], dtype=tl.float32)
    row_max = row_sum - float("inf")
    if FIXED_MAXIMUM:
        row_max = row_sum + fixed_maximum(scale, RULE)
    normaliser = row_sum
    sum_y2 = row_sum
    if ALIGNMENT == "minmax":
        row_origin = load_vector(row_vectors, ROW_ORIGIN, rows, n_pad)
        sum_y = row_sum
        sum_yw = row_sum
        sum_w = row_sum
        sum_w2 = row_sum
        minimum = row_sum + float("inf")

    begin, end = column_range(split, splits, m, BLOCK_N)
    for col in tl.range(begin, end, BLOCK_N, num_stages=PREFETCH):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        s, _ = similarities(a, b, u_rows, u_cols, rows, cols, inverse, col_vectors, m_pad, PRECISION, D, BLOCK_K)
        w = risk_weight(row_vectors, col_vectors, rows, cols, n_pad, m_pad, numbers, alpha, RULE)
        if ALIGNMENT == "minmax" or RULE.norm == "mean" or RULE.norm == "softmax":
            w += 0.0 * s  # W in the layout of S: if summed by itself, it would be computed again in another layout
        if is_special(row, col, m, shift_0, shift_1, period, BLOCK_M, BLOCK_N):
            inside = (cols < m)[None, :]
            excluded = is_excluded(rows, cols, shift_0, shift_1, period)
            if RULE.norm == "softmax":  # e^W of an excluded pair: 1 of a sample with itself (square), else e^W
                weighs = inside & excluded & (square == 0)
                normaliser += tl.sum(tl.where(weighs, tl.exp2(w * LOG2E) - 1, 0.0), 1)
            if RULE.norm == "uniform":
                s = tl.where(inside & ~excluded, s, -float("inf"))
            w = mark_excluded(w, inside & ~excluded, RULE)
            if ALIGNMENT == "minmax":
                s = tl.where(inside, s, row_origin[:, None])
        if ALIGNMENT == "cosine":
            residual = s - 1 + target_weight(w, RULE)
            if col + BLOCK_N > m:
                residual = tl.where((cols < m)[None, :], residual, 0.0)
            sum_y2 += tl.sum(residual * residual, 1)
        if ALIGNMENT == "minmax":
            y = s - row_origin[:, None]
            target = target_weight(w, RULE)
            sum_y += tl.sum(y, 1)
            sum_y2 += tl.sum(y * y, 1)
            sum_yw += tl.sum(y * target, 1)
            sum_w += tl.sum(target, 1)
            sum_w2 += tl.sum(target * target, 1)
            minimum = tl.minimum(minimum, tl.min(y, 1))
        omega = negative_weight(w, numbers, RULE)
        if RULE.norm == "mean":
            normaliser += tl.sum(omega, 1)
        if RULE.norm == "softmax":
            if col < normal_columns:
                e_w = tl.exp2(target_weight(w, RULE) * LOG2E)
                if col + BLOCK_N > normal_columns:
                    e_w = tl.where((cols < normal_columns)[None, :], e_w, 0.0)
                normaliser += tl.sum(e_w, 1)
        x = exponents(s, omega, scale, RULE, FIXED_MAXIMUM)
        if FIXED_MAXIMUM:
            row_sum += tl.sum(times_weight(tl.exp2(x - row_max[:, None]), omega, RULE), 1)
        else:
            higher = tl.maximum(row_max, tl.max(x, 1))
            finite_max = tl.where(higher == -float("inf"), 0.0, higher)
            e = times_weight(tl.exp2(x - finite_max[:, None]), omega, RULE)
            row_sum = row_sum * tl.exp2(row_max - finite_max) + tl.sum(e, 1)
            row_max = higher

    out = partials + split.to(tl.int64) * LINES * n_pad + rows
    tl.store(out + PARTIAL_SUM * n_pad, row_sum)
    tl.store(out + PARTIAL_MAX * n_pad, row_max)
    tl.store(out + PARTIAL_NORMALISER * n_pad, normaliser)
    if ALIGNMENT != "":
        tl.store(out + PARTIAL_Y2 * n_pad, sum_y2)
    if ALIGNMENT == "minmax":
        tl.store(out + PARTIAL_Y * n_pad, sum_y)
        tl.store(out + PARTIAL_YW * n_pad, sum_yw)
        tl.store(out + PARTIAL_W * n_pad, sum_w)
        tl.store(out + PARTIAL_W2 * n_pad, sum_w2)
        tl.store(out + PARTIAL_MINIMUM * n_pad, minimum)
