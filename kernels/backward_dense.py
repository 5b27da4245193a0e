"""Gradient of rows with any number of positives, owned by rows.

    A_ik = c_i 2^(x - row_max_i) over the negatives + d_i w_ik 2^(x - positive_row_max_i) + f_i w_ik / tau
    G    = A + A^T; only A or A^T where only the rows or only the columns have gains

with the gains c, d, f of :mod:`.backward_prepare`. The weighted gradient counts S from one origin per term: from the
maxima for both kinds of exponentials, from the batch's origin for the last term.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import (
    GAIN_NEGATIVE,
    GAIN_ORIGIN,
    GAIN_POSITIVE,
    GAIN_POSITIVE_ROW_MAX,
    GAIN_POSITIVE_SUM,
    GAIN_ROW_MAX,
    INVERSE,
    PAD,
)
from .primitives import (
    add_gradient,
    column_range,
    exponent_scale,
    is_excluded,
    is_special,
    load_rows,
    load_temperature,
    load_vector,
    program_tile,
    similarities,
    store_gradient,
)
from .relation import classify, log_gaussian


@triton.jit
def load_gain(gains, line: tl.constexpr, index, n_pad, AXIS: tl.constexpr):
    """One line of gains, of the rows as (BLOCK_M, 1) for AXIS 1, of the columns as (1, BLOCK_N) for AXIS 0."""
    return tl.expand_dims(load_vector(gains, line, index, n_pad), AXIS)


@triton.jit
def classified_gradient(
    x,
    positive,
    negative,
    gains,
    index,
    n_pad,
    origin,
    AXIS: tl.constexpr,
    OVERLAP: tl.constexpr,
    WEIGHTED: tl.constexpr,
):
    """A (AXIS 1) or A^T (AXIS 0) for positives of weight 1; and A (x - origin) with each term's own origin."""
    row_max = load_gain(gains, GAIN_ROW_MAX, index, n_pad, AXIS)
    gain = load_gain(gains, GAIN_NEGATIVE, index, n_pad, AXIS)
    positive_row_max = load_gain(gains, GAIN_POSITIVE_ROW_MAX, index, n_pad, AXIS)
    positive_gain = load_gain(gains, GAIN_POSITIVE, index, n_pad, AXIS)
    linear = tl.where(positive, load_gain(gains, GAIN_POSITIVE_SUM, index, n_pad, AXIS), 0.0)
    if OVERLAP:
        deviation = x - row_max
        e = tl.where(negative, tl.exp2(deviation) * gain, 0.0)
        positive_deviation = x - positive_row_max
        positive_e = tl.where(positive, tl.exp2(positive_deviation) * positive_gain, 0.0)
        weighted = e
        if WEIGHTED:
            weighted = e * deviation + positive_e * positive_deviation + linear * (x - origin)
        return e + positive_e + linear, weighted
    else:  # no pair is both: one exponential for either
        deviation = x - tl.where(positive, positive_row_max, row_max)
        e = tl.exp2(deviation) * tl.where(positive, positive_gain, gain)
        e = tl.where(positive | negative, e, 0.0)
        weighted = e
        if WEIGHTED:
            weighted = e * deviation + linear * (x - origin)
        return e + linear, weighted


@triton.jit
def gaussian_gradient(x, log_weight, keep, gains, index, n_pad, origin, AXIS: tl.constexpr, WEIGHTED: tl.constexpr):
    """As :func:`classified_gradient`, where every pair is a negative and a positive of some weight."""
    deviation = x - load_gain(gains, GAIN_ROW_MAX, index, n_pad, AXIS)
    e = tl.where(keep, tl.exp2(deviation) * load_gain(gains, GAIN_NEGATIVE, index, n_pad, AXIS), 0.0)
    positive_deviation = x - load_gain(gains, GAIN_POSITIVE_ROW_MAX, index, n_pad, AXIS)
    positive_e = tl.exp2(positive_deviation + log_weight) * load_gain(gains, GAIN_POSITIVE, index, n_pad, AXIS)
    linear = tl.exp2(log_weight) * load_gain(gains, GAIN_POSITIVE_SUM, index, n_pad, AXIS)
    weighted = e
    if WEIGHTED:
        weighted = e * deviation + positive_e * positive_deviation + linear * (x - origin)
    return e + positive_e + linear, weighted


@triton.jit(do_not_specialize=["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits"])
def backward_dense_kernel(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    row_vectors,  # [lines, n_pad]
    col_vectors,  # [lines, m_pad]
    row_values,  # [n, width] fp32, or None
    col_values,  # [m, width]
    row_labels,  # [n] int64, or None
    col_labels,  # [m]
    row_gains,  # [GAINS, n_pad], or None where the rows' statistics have no gradients
    col_gains,  # [GAINS, m_pad], or None where the columns' have none
    scales,  # [SCALES]
    out,  # [splits, n_pad, D] fp32
    weighted_gradient,  # [splits, n_pad] sum_k A_ik (S_ik - origin_ik), or None
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
    BLOCK_D: tl.constexpr,
):
    """One program per block of rows, block of D and part of the columns."""
    n_pad, m_pad = n_blocks * PAD, m_blocks * PAD
    CHUNKS: tl.constexpr = D // BLOCK_D
    split, chunk, row = program_tile(splits, CHUNKS, BLOCK_M)
    rows = row + tl.arange(0, BLOCK_M)
    tau = load_temperature(tau_pointer, tau)
    scale = exponent_scale(tau)
    inverse = load_vector(row_vectors, INVERSE, rows, n_pad)
    a = load_rows(u_rows, rows, 0, BLOCK_K, D)
    gradient = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    weighted_sum = tl.zeros([BLOCK_M], dtype=tl.float32)
    origin = scale * tl.load(scales + GAIN_ORIGIN)

    begin, end = column_range(split, splits, m, BLOCK_N)
    for col in range(begin, end, BLOCK_N):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        s, col_inverse = similarities(
            a, b, u_rows, u_cols, rows, cols, inverse, col_vectors, m_pad, PRECISION, D, BLOCK_K
        )
        x = s * scale
        g = tl.zeros([BLOCK_M, BLOCK_N], dtype=tl.float32)
        special = is_special(row, col, m, shift_0, shift_1, period, BLOCK_M, BLOCK_N)
        if RULE.kind == "gaussian":
            log_weight = log_gaussian(row_values, col_values, rows, cols, n, m, RULE)
            keep = log_weight == log_weight
            if special:
                keep = (cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period)
                log_weight = tl.where(keep, log_weight, -float("inf"))
            if row_gains is not None:
                pair, part = gaussian_gradient(
                    x, log_weight, keep, row_gains, rows, n_pad, origin, 1, weighted_gradient is not None
                )
                g += pair
                if weighted_gradient is not None:
                    weighted_sum += tl.sum(part, 1)
            if col_gains is not None:
                pair, _ = gaussian_gradient(x, log_weight, keep, col_gains, cols, m_pad, origin, 0, False)
                g += pair
        else:
            positive, negative = classify(
                row_values, col_values, row_labels, col_labels, rows, cols, n, m, threshold, RULE
            )
            if special:
                keep = (cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period)
                positive = positive & keep
                negative = negative & keep
            if row_gains is not None:
                pair, part = classified_gradient(
                    x,
                    positive,
                    negative,
                    row_gains,
                    rows,
                    n_pad,
                    origin,
                    1,
                    RULE.overlap,
                    weighted_gradient is not None,
                )
                g += pair
                if weighted_gradient is not None:
                    weighted_sum += tl.sum(part, 1)
            if col_gains is not None:
                pair, _ = classified_gradient(
                    x, positive, negative, col_gains, cols, m_pad, origin, 0, RULE.overlap, False
                )
                g += pair
        gradient = add_gradient(gradient, g, b, col_inverse, u_cols, cols, chunk, PRECISION, D, BLOCK_K, BLOCK_D)

    store_gradient(out, gradient, split, chunk, rows, n_pad, D, BLOCK_D)
    if weighted_gradient is not None:
        if chunk == 0:
            tl.store(weighted_gradient + split * n_pad + rows, weighted_sum / scale)
