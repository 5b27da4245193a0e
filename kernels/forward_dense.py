"""Statistics of rows with any number of positives: SupCon, CMSC, y-Aware InfoNCE, PhysioCLR.

    row_sum_i          = sum over the negatives of 2^(x_ik - row_max_i)                 x = S_ik / tau log2 e
    positive_row_sum_i = sum over the positives of w_ik 2^(x_ik - positive_row_max_i)
    positive_sum_i     = sum w_ik S_ik        positive_count_i = sum w_ik

Both maxima are running maxima: a row's positives may lie far below its negatives. Programs and partials are those of
:mod:`.forward`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import (
    INVERSE,
    PAD,
    PARTIAL_MAX,
    PARTIAL_POSITIVE_COUNT,
    PARTIAL_POSITIVE_MAX,
    PARTIAL_POSITIVE_S,
    PARTIAL_POSITIVE_SUM,
    PARTIAL_SUM,
    PARTIALS,
)
from .primitives import (
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
from .relation import classify, log_gaussian

LINES = tl.constexpr(PARTIALS)


@triton.jit
def add_exponentials(row_sum, row_max, x):
    """Add a tile's 2^x to an online softmax: row_sum 2^row_max."""
    higher = tl.maximum(row_max, tl.max(x, 1))
    finite_max = tl.where(higher == -float("inf"), 0.0, higher)
    return row_sum * tl.exp2(row_max - finite_max) + tl.sum(tl.exp2(x - finite_max[:, None]), 1), higher


@triton.jit(do_not_specialize=["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits"])
def forward_dense_kernel(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    row_vectors,  # [lines, n_pad]
    col_vectors,  # [lines, m_pad]
    row_values,  # [n, width] fp32, or None
    col_values,  # [m, width]
    row_labels,  # [n] int64, or None
    col_labels,  # [m]
    partials,  # [splits, PARTIALS, n_pad]
    tau_pointer,
    tau,
    threshold,
    n,
    m,
    n_blocks,
    m_blocks,
    shift_0,
    shift_1,
    period,
    splits,
    RULE: tl.constexpr,
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
    positive_row_sum = row_sum
    positive_row_max = row_max
    positive_sum = row_sum
    positive_count = row_sum

    begin, end = column_range(split, splits, m, BLOCK_N)
    for col in tl.range(begin, end, BLOCK_N, num_stages=PREFETCH):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        s, _ = similarities(a, b, u_rows, u_cols, rows, cols, inverse, col_vectors, m_pad, PRECISION, D, BLOCK_K)
        x = s * scale
        special = is_special(row, col, m, shift_0, shift_1, period, BLOCK_M, BLOCK_N)
        if RULE.kind == "gaussian":
            log_weight = log_gaussian(row_values, col_values, rows, cols, n, m, RULE)
            if special:
                keep = (cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period)
                log_weight = tl.where(keep, log_weight, -float("inf"))
                x = tl.where(keep, x, -float("inf"))
                s = tl.where(keep, s, 0.0)
            row_sum, row_max = add_exponentials(row_sum, row_max, x)
            positive_row_sum, positive_row_max = add_exponentials(positive_row_sum, positive_row_max, x + log_weight)
            weight = tl.exp2(log_weight)
            positive_sum += tl.sum(weight * s, 1)
            positive_count += tl.sum(weight, 1)
        else:
            positive, negative = classify(
                row_values, col_values, row_labels, col_labels, rows, cols, n, m, threshold, RULE
            )
            if special:
                keep = (cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period)
                positive = positive & keep
                negative = negative & keep
            higher = tl.maximum(row_max, tl.max(tl.where(negative, x, -float("inf")), 1))
            positive_higher = tl.maximum(positive_row_max, tl.max(tl.where(positive, x, -float("inf")), 1))
            finite_max = tl.where(higher == -float("inf"), 0.0, higher)
            positive_finite_max = tl.where(positive_higher == -float("inf"), 0.0, positive_higher)
            if RULE.overlap:
                e = tl.exp2(x - finite_max[:, None])
                positive_e = tl.exp2(x - positive_finite_max[:, None])
            else:  # no pair is both: one exponential for either
                e = tl.exp2(x - tl.where(positive, positive_finite_max[:, None], finite_max[:, None]))
                positive_e = e
            row_sum = row_sum * tl.exp2(row_max - finite_max) + tl.sum(tl.where(negative, e, 0.0), 1)
            positive_row_sum = positive_row_sum * tl.exp2(positive_row_max - positive_finite_max)
            positive_row_sum += tl.sum(tl.where(positive, positive_e, 0.0), 1)
            row_max, positive_row_max = higher, positive_higher
            positive_sum += tl.sum(tl.where(positive, s, 0.0), 1)
            positive_count += tl.sum(tl.where(positive, 1 + 0.0 * s, 0.0), 1)  # in the layout of s

    out = partials + split.to(tl.int64) * LINES * n_pad + rows
    tl.store(out + PARTIAL_SUM * n_pad, row_sum)
    tl.store(out + PARTIAL_MAX * n_pad, row_max)
    tl.store(out + PARTIAL_POSITIVE_SUM * n_pad, positive_row_sum)
    tl.store(out + PARTIAL_POSITIVE_MAX * n_pad, positive_row_max)
    tl.store(out + PARTIAL_POSITIVE_S * n_pad, positive_sum)
    tl.store(out + PARTIAL_POSITIVE_COUNT * n_pad, positive_count)
