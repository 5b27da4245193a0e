"""Statistics of rows with any number of positives: SupCon, CMSC, y-Aware InfoNCE, PhysioCLR.

    total_i          = sum over the negatives of 2^(x_ik - maximum)                 x = S_ik / tau log2 e
    positive_total_i = sum over the positives of w_ik 2^(x_ik - positive_maximum)
    positive_sum_i   = sum w_ik S_ik        positive_count_i = sum w_ik

Both maxima run: a row's positives may lie far below its negatives. Programs and partials as in the other forward.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import (
    COUNT,
    INVERSE,
    MASS,
    MAXIMUM,
    PAD,
    POSITIVE,
    POSITIVE_COUNT,
    POSITIVE_MASS,
    POSITIVE_MAXIMUM,
    POSITIVE_SUM,
    POSITIVE_TOTAL,
    STATISTICS,
    TOP,
    TOTAL,
)
from .merge import load_parts, merge_parts
from .relation import classify, log_gaussian
from .tile import (
    LN2,
    exponent_scale,
    first_tile,
    is_excluded,
    is_special,
    load_rows,
    load_temperature,
    load_vector,
    products,
)

LINES = tl.constexpr(STATISTICS)


@triton.jit
def add_exponentials(total, maximum, x):
    """A running sum of 2^x about a running maximum."""
    higher = tl.maximum(maximum, tl.max(x, 1))
    finite = tl.where(higher == -float("inf"), 0.0, higher)
    return total * tl.exp2(maximum - finite) + tl.sum(tl.exp2(x - finite[:, None]), 1), higher


@triton.jit(do_not_specialize=["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits"])
def dense_forward(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    rows_side,  # [lines, n_pad]
    cols_side,  # [lines, m_pad]
    row_values,  # [n, width] fp32, or None
    col_values,  # [m, width]
    row_labels,  # [n] int64, or None
    col_labels,  # [m]
    partials,  # [splits, STATISTICS, n_pad]
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
    positive_total = total
    positive_maximum = maximum
    positive_sum = total
    positive_count = total

    end = tl.minimum(first_tile(split + 1, splits, m, BLOCK_N), m)
    for col in tl.range(first_tile(split, splits, m, BLOCK_N), end, BLOCK_N, num_stages=PREFETCH):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        p = products(a, b, u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K)
        s = p * (inverse[:, None] * load_vector(cols_side, INVERSE, cols, m_pad)[None, :])
        x = s * scale
        special = is_special(row, col, m, shift_0, shift_1, period, BLOCK_M, BLOCK_N)
        if RULE.kind == "gaussian":
            log_weight = log_gaussian(row_values, col_values, rows, cols, n, m, RULE)
            if special:
                keep = (cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period)
                log_weight = tl.where(keep, log_weight, -float("inf"))
                x = tl.where(keep, x, -float("inf"))
                s = tl.where(keep, s, 0.0)
            total, maximum = add_exponentials(total, maximum, x)
            positive_total, positive_maximum = add_exponentials(positive_total, positive_maximum, x + log_weight)
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
            higher = tl.maximum(maximum, tl.max(tl.where(negative, x, -float("inf")), 1))
            positive_higher = tl.maximum(positive_maximum, tl.max(tl.where(positive, x, -float("inf")), 1))
            top = tl.where(higher == -float("inf"), 0.0, higher)
            positive_top = tl.where(positive_higher == -float("inf"), 0.0, positive_higher)
            if RULE.overlap:
                e = tl.exp2(x - top[:, None])
                positive_e = tl.exp2(x - positive_top[:, None])
            else:  # a pair is one or the other: one exponential for both
                e = tl.exp2(x - tl.where(positive, positive_top[:, None], top[:, None]))
                positive_e = e
            total = total * tl.exp2(maximum - top) + tl.sum(tl.where(negative, e, 0.0), 1)
            positive_total = positive_total * tl.exp2(positive_maximum - positive_top)
            positive_total += tl.sum(tl.where(positive, positive_e, 0.0), 1)
            maximum, positive_maximum = higher, positive_higher
            positive_sum += tl.sum(tl.where(positive, s, 0.0), 1)
            positive_count += tl.sum(tl.where(positive, 1 + 0.0 * s, 0.0), 1)  # in the layout of s

    out = partials + split.to(tl.int64) * LINES * n_pad + rows
    tl.store(out + TOTAL * n_pad, total)
    tl.store(out + MAXIMUM * n_pad, maximum)
    tl.store(out + POSITIVE_TOTAL * n_pad, positive_total)
    tl.store(out + POSITIVE_MAXIMUM * n_pad, positive_maximum)
    tl.store(out + POSITIVE_SUM * n_pad, positive_sum)
    tl.store(out + POSITIVE_COUNT * n_pad, positive_count)


@triton.jit(do_not_specialize=["n", "n_blocks"])
def merge_dense(
    partials,  # [splits, STATISTICS, n_pad]
    side,  # [lines, n_pad]
    rows_out,  # [4, n]
    tau_pointer,
    tau,
    n,
    n_blocks,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The statistics from the parts of every row; one program per block of rows."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = rows < n
    tau = load_temperature(tau_pointer, tau)
    top, mass = merge_parts(partials, TOTAL, MAXIMUM, rows, mask, n_pad, SPLITS)
    tl.store(side + TOP * n_pad + rows, top, mask=mask)
    tl.store(side + MASS * n_pad + rows, mass, mask=mask)
    tl.store(rows_out + 3 * n + rows, (top + tl.log2(mass)) * LN2, mask=mask)
    top, mass = merge_parts(partials, POSITIVE_TOTAL, POSITIVE_MAXIMUM, rows, mask, n_pad, SPLITS)
    tl.store(side + POSITIVE * n_pad + rows, top, mask=mask)
    tl.store(side + POSITIVE_MASS * n_pad + rows, mass, mask=mask)
    tl.store(rows_out + n + rows, (top + tl.log2(mass)) * LN2, mask=mask)
    tl.store(rows_out + rows, load_parts(partials, POSITIVE_SUM, rows, mask, n_pad, SPLITS) / tau, mask=mask)
    count = load_parts(partials, POSITIVE_COUNT, rows, mask, n_pad, SPLITS)
    tl.store(side + COUNT * n_pad + rows, count, mask=mask)
    tl.store(rows_out + 2 * n + rows, count, mask=mask)
