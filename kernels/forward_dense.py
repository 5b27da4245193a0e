"""Statistics of rows with any number of positives: SupCon, CMSC, y-Aware InfoNCE, PhysioCLR.

    row_sum_i          = sum over the negatives of 2^(x_ik - row_max_i)                 x = S_ik / tau log2 e
    positive_row_sum_i = sum over the positives of w_ik 2^(x_ik - positive_row_max_i)
    positive_sum_i     = sum w_ik S_ik        positive_count_i = sum w_ik

and, for the gradient of the temperature, the sums of S times each exponential. Where tau is too small for a fixed
maximum, and for a Gaussian kernel, whose weights may be as small as they like, both maxima run: a row's positives may
lie far below its negatives. Programs and partials are those of
:mod:`.forward`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .lanes import add_running, lane_sums, merge_lanes, no_lanes
from .memory_layout import (
    INVERSE,
    PAD,
    PARTIAL_MAX,
    PARTIAL_POSITIVE_COUNT,
    PARTIAL_POSITIVE_E_S,
    PARTIAL_POSITIVE_MAX,
    PARTIAL_POSITIVE_S,
    PARTIAL_POSITIVE_SUM,
    PARTIAL_S,
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
    products,
    program_tile,
)
from .relation import classify, cosines, load_features, log_gaussian

LINES = tl.constexpr(PARTIALS)


@triton.jit
def no_sums(BLOCK_M: tl.constexpr):
    """Sums of no tiles: row_sum, row_max and e t of the negatives, the same of the positives, w t, w."""
    zeros = no_lanes(BLOCK_M)
    none = zeros - float("inf")
    return zeros, none, zeros, zeros, none, zeros, zeros, zeros


@triton.jit
def add_classified(sums, x, t, positive, negative, FIXED_MAXIMUM: tl.constexpr):
    """``sums`` with those of a tile; ``positive`` and ``negative`` are 0 or 1, ``x`` is less a fixed maximum."""
    row_sum, row_max, sum_t, positive_row_sum, positive_row_max, positive_e_t, positive_t, count = sums
    if FIXED_MAXIMUM:
        e = tl.exp2(x)
        negative_e = e * negative
        positive_e = e * positive
        row_sum += lane_sums(negative_e)
        sum_t += lane_sums(negative_e * t)
        positive_row_sum += lane_sums(positive_e)
        positive_e_t += lane_sums(positive_e * t)
    else:
        masked = tl.where(negative > 0, x, -float("inf"))
        row_sum, row_max, sum_t = add_running(row_sum, row_max, sum_t, masked, negative, t)
        masked = tl.where(positive > 0, x, -float("inf"))
        positive_row_sum, positive_row_max, positive_e_t = add_running(
            positive_row_sum, positive_row_max, positive_e_t, masked, positive, t
        )
    positive_t += lane_sums(positive * t)
    count += lane_sums(positive + 0.0 * t)  # in the layout of t
    return row_sum, row_max, sum_t, positive_row_sum, positive_row_max, positive_e_t, positive_t, count


@triton.jit
def add_gaussian(sums, x, t, log_weight, keep):
    """``sums`` with those of a tile whose pairs are negatives, if kept, and positives of weight 2^log_weight."""
    row_sum, row_max, sum_t, positive_row_sum, positive_row_max, positive_e_t, positive_t, count = sums
    weight = tl.exp2(log_weight)
    ones = tl.full(x.shape, 1.0, tl.float32)
    masked = tl.where(keep, x, -float("inf"))
    row_sum, row_max, sum_t = add_running(row_sum, row_max, sum_t, masked, ones, t)
    positive_row_sum, positive_row_max, positive_e_t = add_running(
        positive_row_sum, positive_row_max, positive_e_t, x + log_weight, ones, t
    )
    positive_t += lane_sums(weight * t)
    count += lane_sums(weight)
    return row_sum, row_max, sum_t, positive_row_sum, positive_row_max, positive_e_t, positive_t, count


@triton.jit(do_not_specialize=["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits"])
def forward_dense_kernel(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    row_vectors,  # [lines, n_pad]
    col_vectors,  # [lines, m_pad]
    row_values,  # metadata [n, width] fp32, planes of features [2 n_pad, width], or None
    col_values,  # the same of the columns
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
    hi, lo = load_features(row_values, rows, n_pad, RULE)
    maximum = 0.0 * scale
    if FIXED_MAXIMUM:
        maximum = scale
    sums = no_sums(BLOCK_M)

    begin, end = column_range(split, splits, m, BLOCK_N)
    for col in tl.range(begin, end, BLOCK_N, num_stages=PREFETCH):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        t = products(a, b, u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K)
        t *= load_vector(col_vectors, INVERSE, cols, m_pad)[None, :]
        x = t * (inverse * scale)[:, None] - maximum
        special = is_special(row, col, m, shift_0, shift_1, period, BLOCK_M, BLOCK_N)
        if RULE.kind == "gaussian":
            log_weight = log_gaussian(row_values, col_values, rows, cols, n, m, RULE)
            if special:
                keep = (cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period)
                log_weight = tl.where(keep, log_weight, -float("inf"))
                sums = add_gaussian(sums, x, t, log_weight, keep)
            else:
                sums = add_gaussian(sums, x, t, log_weight, log_weight == log_weight)
        else:
            cosine = t
            if RULE.kind == "features":
                cosine = cosines(hi, lo, row_values, col_values, rows, cols, n_pad, m_pad, RULE.width)
            positive, negative = classify(cosine, row_labels, col_labels, rows, cols, n, m, threshold, RULE)
            if special:
                keep = (cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period)
                positive = tl.where(keep, positive, 0.0)
                negative = tl.where(keep, negative, 0.0)
            sums = add_classified(sums, x, t, positive, negative, FIXED_MAXIMUM)

    row_sum, row_max, sum_t, positive_row_sum, positive_row_max, positive_e_t, positive_t, count = sums
    count = tl.sum(count, 1)
    if FIXED_MAXIMUM:
        row_sum, sum_t = tl.sum(row_sum, 1), tl.sum(sum_t, 1)
        positive_row_sum, positive_e_t = tl.sum(positive_row_sum, 1), tl.sum(positive_e_t, 1)
        row_max = 0.0 * inverse + maximum
        positive_row_max = row_max
    else:
        row_sum, row_max, sum_t = merge_lanes(row_sum, row_max, sum_t)
        positive_row_sum, positive_row_max, positive_e_t = merge_lanes(positive_row_sum, positive_row_max, positive_e_t)
    out = partials + split.to(tl.int64) * LINES * n_pad + rows
    tl.store(out + PARTIAL_SUM * n_pad, row_sum)
    tl.store(out + PARTIAL_MAX * n_pad, row_max)
    tl.store(out + PARTIAL_POSITIVE_SUM * n_pad, positive_row_sum)
    tl.store(out + PARTIAL_POSITIVE_MAX * n_pad, positive_row_max)
    tl.store(out + PARTIAL_S * n_pad, sum_t * inverse)
    tl.store(out + PARTIAL_POSITIVE_E_S * n_pad, positive_e_t * inverse)
    tl.store(out + PARTIAL_POSITIVE_S * n_pad, tl.sum(positive_t, 1) * inverse)
    tl.store(out + PARTIAL_POSITIVE_COUNT * n_pad, count)
