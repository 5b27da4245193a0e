"""Statistics of rows with at most one positive: NT-Xent, InfoNCE, MoCo, CLEF.

    total_i = sum over the negatives of w_ik 2^(x_ik - maximum)        x = S_ik / tau log2 e, + W log2 e for "softmax"
    error_i = sum (S_ik - 1 + W_ik)^2 for "cosine"; for "minmax", whose scale is not known before the end, moments of
              X = S - base_i: sums of X, X^2, X W, W, W^2, and the least X

A program owns BLOCK_M rows and one of ``splits`` parts of the columns, and leaves its sums in partials (splits,
STATISTICS, N); :mod:`ecgloss.kernels.merge` adds them up. One exponential per pair, one more for its reliability and
for softmax weights. Budget on sm90 with D = 256 in half precision, 128 x 64 tiles, eight warps and three stages: the
rows 64 KiB and three tiles of columns 96 KiB of shared memory; 32 accumulators per thread.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import (
    BASE,
    DEVIATION,
    DEVIATION_SQUARED,
    DEVIATION_WEIGHTED,
    INVERSE,
    LEAST,
    MAXIMUM,
    NORMALISER,
    PAD,
    STATISTICS,
    TOTAL,
    WEIGHT,
    WEIGHT_SQUARED,
)
from .tile import (
    LOG2E,
    exponent_scale,
    first_tile,
    is_excluded,
    is_special,
    load_rows,
    load_temperature,
    load_vector,
    products,
)
from .weight import (
    align_weight,
    contrast_weight,
    exponents,
    fixed_maximum,
    mark_excluded,
    risk_weight,
    weighted,
)

LINES = tl.constexpr(STATISTICS)
RUNTIME = ["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits", "square", "normal_columns"]


@triton.jit(do_not_specialize=RUNTIME)
def forward(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    rows_side,  # [lines, n_pad]
    cols_side,  # [lines, m_pad]
    numbers,  # [NUMBERS]
    partials,  # [splits, STATISTICS, n_pad]
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
    normal_columns,  # over which softmax weights are normalised: one view of the samples
    RULE: tl.constexpr,
    ALIGN: tl.constexpr,  # "" | "cosine" | "minmax"
    FIXED: tl.constexpr,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PREFETCH: tl.constexpr,  # tiles of columns whose vectors are loaded ahead, as their rows are; None: as they come
):
    """One program per block of rows and part of the columns."""
    n_pad, m_pad = n_blocks * PAD, m_blocks * PAD
    split = tl.program_id(0) % splits
    row = tl.program_id(0) // splits * BLOCK_M
    rows = row + tl.arange(0, BLOCK_M)
    tau = load_temperature(tau_pointer, tau)
    scale = exponent_scale(tau)
    inverse = load_vector(rows_side, INVERSE, rows, n_pad)
    a = load_rows(u_rows, rows, 0, BLOCK_K, D)

    total = tl.zeros([BLOCK_M], dtype=tl.float32)
    maximum = total - float("inf")
    if FIXED:
        maximum = total + fixed_maximum(scale, RULE)
    normaliser = total
    sum_x2 = total
    if ALIGN == "minmax":
        base = load_vector(rows_side, BASE, rows, n_pad)
        sum_x = total
        sum_xw = total
        sum_w = total
        sum_w2 = total
        least = total + float("inf")

    end = tl.minimum(first_tile(split + 1, splits, m, BLOCK_N), m)
    for col in tl.range(first_tile(split, splits, m, BLOCK_N), end, BLOCK_N, num_stages=PREFETCH):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        p = products(a, b, u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K)
        s = p * (inverse[:, None] * load_vector(cols_side, INVERSE, cols, m_pad)[None, :])
        w = risk_weight(rows_side, cols_side, rows, cols, n_pad, m_pad, numbers, alpha, RULE)
        if ALIGN == "minmax" or RULE.norm == "mean" or RULE.norm == "softmax":
            w += 0.0 * s  # W that is summed by itself would be computed twice: in S's layout and in one of its own
        if is_special(row, col, m, shift_0, shift_1, period, BLOCK_M, BLOCK_N):
            inside = (cols < m)[None, :]
            excluded = is_excluded(rows, cols, shift_0, shift_1, period)
            if RULE.norm == "softmax":  # a sample that meets itself has W = 0, a pair of two samples has not
                known = inside & excluded & (square == 0)
                normaliser += tl.sum(tl.where(known, tl.exp2(w * LOG2E) - 1, 0.0), 1)
            if RULE.norm == "uniform":
                s = tl.where(inside & ~excluded, s, -float("inf"))
            w = mark_excluded(w, inside & ~excluded, RULE)
            if ALIGN == "minmax":
                s = tl.where(inside, s, base[:, None])
        if ALIGN == "cosine":
            error = s - 1 + align_weight(w, RULE)
            if col + BLOCK_N > m:
                error = tl.where((cols < m)[None, :], error, 0.0)
            sum_x2 += tl.sum(error * error, 1)
        if ALIGN == "minmax":
            deviation = s - base[:, None]
            given = align_weight(w, RULE)
            sum_x += tl.sum(deviation, 1)
            sum_x2 += tl.sum(deviation * deviation, 1)
            sum_xw += tl.sum(deviation * given, 1)
            sum_w += tl.sum(given, 1)
            sum_w2 += tl.sum(given * given, 1)
            least = tl.minimum(least, tl.min(deviation, 1))
        omega = contrast_weight(w, numbers, RULE)
        if RULE.norm == "mean":
            normaliser += tl.sum(omega, 1)
        if RULE.norm == "softmax":
            if col < normal_columns:
                power = tl.exp2(align_weight(w, RULE) * LOG2E)
                if col + BLOCK_N > normal_columns:
                    power = tl.where((cols < normal_columns)[None, :], power, 0.0)
                normaliser += tl.sum(power, 1)
        x = exponents(s, omega, scale, RULE, FIXED)
        if FIXED:
            total += tl.sum(weighted(tl.exp2(x - maximum[:, None]), omega, RULE), 1)
        else:
            higher = tl.maximum(maximum, tl.max(x, 1))
            finite = tl.where(higher == -float("inf"), 0.0, higher)
            e = weighted(tl.exp2(x - finite[:, None]), omega, RULE)
            total = total * tl.exp2(maximum - finite) + tl.sum(e, 1)
            maximum = higher

    out = partials + split.to(tl.int64) * LINES * n_pad + rows
    tl.store(out + TOTAL * n_pad, total)
    tl.store(out + MAXIMUM * n_pad, maximum)
    tl.store(out + NORMALISER * n_pad, normaliser)
    if ALIGN != "":
        tl.store(out + DEVIATION_SQUARED * n_pad, sum_x2)
    if ALIGN == "minmax":
        tl.store(out + DEVIATION * n_pad, sum_x)
        tl.store(out + DEVIATION_WEIGHTED * n_pad, sum_xw)
        tl.store(out + WEIGHT * n_pad, sum_w)
        tl.store(out + WEIGHT_SQUARED * n_pad, sum_w2)
        tl.store(out + LEAST * n_pad, least)
