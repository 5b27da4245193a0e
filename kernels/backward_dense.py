"""Gradient of rows with any number of positives, owned by rows.

    A_ik = c_i 2^(x - row_max_i) over the negatives + d_i w_ik 2^(x - positive_row_max_i) + f_i w_ik / tau
    G    = A + A^T; only A or A^T where only the rows or only the columns have gains

with the gains c, d, f of :mod:`.backward_prepare`. Where the maximum is fixed, both exponentials and those of A^T
are the same.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import (
    GAIN_NEGATIVE,
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
    products,
    program_tile,
    store_gradient,
)
from .relation import classify, cosines, load_features, log_gaussian


@triton.jit
def load_gain(gains, line: tl.constexpr, index, n_pad, AXIS: tl.constexpr):
    """One line of gains, of the rows as (BLOCK_M, 1) for AXIS 1, of the columns as (1, BLOCK_N) for AXIS 0."""
    return tl.expand_dims(load_vector(gains, line, index, n_pad), AXIS)


@triton.jit
def pair_gain(row_gains, col_gains, line: tl.constexpr, rows, cols, n_pad, m_pad):
    """The sum of a line of the gains of rows and columns, for every pair; of one of them where the other has none."""
    if col_gains is None:
        return load_gain(row_gains, line, rows, n_pad, 1)
    elif row_gains is None:
        return load_gain(col_gains, line, cols, m_pad, 0)
    else:
        return load_gain(row_gains, line, rows, n_pad, 1) + load_gain(col_gains, line, cols, m_pad, 0)


@triton.jit
def classified_gradients(
    x,
    positive,
    negative,
    row_gains,
    col_gains,
    rows,
    cols,
    n_pad,
    m_pad,
    RULE: tl.constexpr,
    FIXED_MAXIMUM: tl.constexpr,
):
    """G of a tile; ``positive`` and ``negative`` are 0 or 1, ``x`` is less a fixed maximum."""
    linear = pair_gain(row_gains, col_gains, GAIN_POSITIVE_SUM, rows, cols, n_pad, m_pad)
    if FIXED_MAXIMUM:
        positive_gain = pair_gain(row_gains, col_gains, GAIN_POSITIVE, rows, cols, n_pad, m_pad)
        negative_gain = pair_gain(row_gains, col_gains, GAIN_NEGATIVE, rows, cols, n_pad, m_pad)
        if RULE.kind == "labels":  # every pair is one of both
            gain = tl.where(positive > 0, positive_gain, negative_gain)
            return tl.exp2(x) * gain + tl.where(positive > 0, linear, 0.0)
        return tl.exp2(x) * (positive * positive_gain + negative * negative_gain) + positive * linear
    else:
        g = positive * linear
        if row_gains is not None:
            g += exponentials_of_one_side(x, positive, negative, row_gains, rows, n_pad, 1, RULE)
        if col_gains is not None:
            g += exponentials_of_one_side(x, positive, negative, col_gains, cols, m_pad, 0, RULE)
        return g


@triton.jit
def exponentials_of_one_side(x, positive, negative, gains, index, n_pad, AXIS: tl.constexpr, RULE: tl.constexpr):
    """The exponentials in A (AXIS 1) or A^T (AXIS 0) of a tile where maxima run."""
    row_max = load_gain(gains, GAIN_ROW_MAX, index, n_pad, AXIS)
    gain = load_gain(gains, GAIN_NEGATIVE, index, n_pad, AXIS)
    positive_row_max = load_gain(gains, GAIN_POSITIVE_ROW_MAX, index, n_pad, AXIS)
    positive_gain = load_gain(gains, GAIN_POSITIVE, index, n_pad, AXIS)
    is_positive, is_negative = positive > 0, negative > 0
    if RULE.overlap:
        e = tl.where(is_negative, tl.exp2(x - row_max) * gain, 0.0)
        return e + tl.where(is_positive, tl.exp2(x - positive_row_max) * positive_gain, 0.0)
    else:  # no pair is both: one exponential for either
        e = tl.exp2(x - tl.where(is_positive, positive_row_max, row_max)) * tl.where(is_positive, positive_gain, gain)
        return tl.where(is_positive | is_negative, e, 0.0)


@triton.jit
def gaussian_gradients(x, log_weight, row_gains, col_gains, rows, cols, n_pad, m_pad):
    """G of a tile where every pair is a negative, and a positive of weight 2^log_weight."""
    g = tl.exp2(log_weight) * pair_gain(row_gains, col_gains, GAIN_POSITIVE_SUM, rows, cols, n_pad, m_pad)
    if row_gains is not None:
        g += gaussian_exponentials(x, log_weight, row_gains, rows, n_pad, 1)
    if col_gains is not None:
        g += gaussian_exponentials(x, log_weight, col_gains, cols, m_pad, 0)
    return g


@triton.jit
def gaussian_exponentials(x, log_weight, gains, index, n_pad, AXIS: tl.constexpr):
    """The exponentials in A (AXIS 1) or A^T (AXIS 0)."""
    e = tl.exp2(x - load_gain(gains, GAIN_ROW_MAX, index, n_pad, AXIS))
    positive_e = tl.exp2(x - load_gain(gains, GAIN_POSITIVE_ROW_MAX, index, n_pad, AXIS) + log_weight)
    e *= load_gain(gains, GAIN_NEGATIVE, index, n_pad, AXIS)
    return e + positive_e * load_gain(gains, GAIN_POSITIVE, index, n_pad, AXIS)


@triton.jit(do_not_specialize=["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits"])
def backward_dense_kernel(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    row_vectors,  # [lines, n_pad]
    col_vectors,  # [lines, m_pad]
    row_values,  # metadata [n, width] fp32, planes of features [2 n_pad, width], or None
    col_values,  # the same of the columns
    row_labels,  # [n] int64, or None
    col_labels,  # [m]
    row_gains,  # [GAINS, n_pad], or None where the rows' statistics have no gradients
    col_gains,  # [GAINS, m_pad], or None where the columns' have none
    out,  # [splits, n_pad, D] fp32
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
    hi, lo = load_features(row_values, rows, n_pad, RULE)
    maximum = 0.0 * scale
    if FIXED_MAXIMUM:
        maximum = scale

    begin, end = column_range(split, splits, m, BLOCK_N)
    for col in range(begin, end, BLOCK_N):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        col_inverse = load_vector(col_vectors, INVERSE, cols, m_pad)
        t = products(a, b, u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K) * col_inverse[None, :]
        x = t * (inverse * scale)[:, None] - maximum
        if RULE.kind == "gaussian":
            log_weight = log_gaussian(row_values, col_values, rows, cols, n, m, RULE)
            g = gaussian_gradients(x, log_weight, row_gains, col_gains, rows, cols, n_pad, m_pad)
        else:
            cosine = t
            if RULE.kind == "features":
                cosine = cosines(hi, lo, row_values, col_values, rows, cols, n_pad, m_pad, RULE.width)
            positive, negative = classify(cosine, row_labels, col_labels, rows, cols, n, m, threshold, RULE)
            g = classified_gradients(
                x, positive, negative, row_gains, col_gains, rows, cols, n_pad, m_pad, RULE, FIXED_MAXIMUM
            )
        if is_special(row, col, m, shift_0, shift_1, period, BLOCK_M, BLOCK_N):
            g = tl.where((cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period), g, 0.0)
        gradient = add_gradient(gradient, g, b, col_inverse, u_cols, cols, chunk, PRECISION, D, BLOCK_K, BLOCK_D)

    store_gradient(out, gradient, split, chunk, rows, n_pad, D, BLOCK_D)
