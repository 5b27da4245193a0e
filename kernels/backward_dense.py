"""Gradient of rows with any number of positives, owned by rows.

    A_ik = c_i 2^(x - top_i) over the negatives + d_i w_ik 2^(x - positive_top_i) + f_i w_ik / tau
    G    = A + A^T, A or A^T

as rows have gains of their own and columns have, or only one side has. S is counted from a centre for the temperature's
gradient (:mod:`.coefficients`): the maximum for either kind of exponentials, a typical S for the last term.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import GAIN, GAIN_ORIGIN, GAIN_POSITIVE, GAIN_POSITIVE_SUM, GAIN_POSITIVE_TOP, GAIN_TOP, INVERSE, PAD
from .relation import classify, log_gaussian
from .tile import (
    exponent_scale,
    first_tile,
    is_excluded,
    is_special,
    load_rows,
    load_temperature,
    load_vector,
    products,
)


@triton.jit
def load_gain(gains, line: tl.constexpr, index, n_pad, AXIS: tl.constexpr):
    """Gains of the rows where AXIS is 1, of the columns where it is 0, as a column or row of a tile."""
    return tl.expand_dims(load_vector(gains, line, index, n_pad), AXIS)


@triton.jit
def classified_gradient(
    x, positive, negative, gains, index, n_pad, origin, AXIS: tl.constexpr, OVERLAP: tl.constexpr, MOMENT: tl.constexpr
):
    """A where AXIS is 1, A^T where it is 0, of positives that weigh 1; and A (x - origin), each term from its own."""
    top = load_gain(gains, GAIN_TOP, index, n_pad, AXIS)
    gain = load_gain(gains, GAIN, index, n_pad, AXIS)
    positive_top = load_gain(gains, GAIN_POSITIVE_TOP, index, n_pad, AXIS)
    positive_gain = load_gain(gains, GAIN_POSITIVE, index, n_pad, AXIS)
    linear = tl.where(positive, load_gain(gains, GAIN_POSITIVE_SUM, index, n_pad, AXIS), 0.0)
    if OVERLAP:
        deviation = x - top
        e = tl.where(negative, tl.exp2(deviation) * gain, 0.0)
        positive_deviation = x - positive_top
        positive_e = tl.where(positive, tl.exp2(positive_deviation) * positive_gain, 0.0)
        moment = e
        if MOMENT:
            moment = e * deviation + positive_e * positive_deviation + linear * (x - origin)
        return e + positive_e + linear, moment
    else:  # a pair is one or the other: one exponential for both
        deviation = x - tl.where(positive, positive_top, top)
        e = tl.exp2(deviation) * tl.where(positive, positive_gain, gain)
        e = tl.where(positive | negative, e, 0.0)
        moment = e
        if MOMENT:
            moment = e * deviation + linear * (x - origin)
        return e + linear, moment


@triton.jit
def gaussian_gradient(x, log_weight, keep, gains, index, n_pad, origin, AXIS: tl.constexpr, MOMENT: tl.constexpr):
    """As :func:`classified_gradient`, where every pair is a negative, and a positive of some weight."""
    deviation = x - load_gain(gains, GAIN_TOP, index, n_pad, AXIS)
    e = tl.where(keep, tl.exp2(deviation) * load_gain(gains, GAIN, index, n_pad, AXIS), 0.0)
    positive_deviation = x - load_gain(gains, GAIN_POSITIVE_TOP, index, n_pad, AXIS)
    positive_e = tl.exp2(positive_deviation + log_weight) * load_gain(gains, GAIN_POSITIVE, index, n_pad, AXIS)
    linear = tl.exp2(log_weight) * load_gain(gains, GAIN_POSITIVE_SUM, index, n_pad, AXIS)
    moment = e
    if MOMENT:
        moment = e * deviation + positive_e * positive_deviation + linear * (x - origin)
    return e + positive_e + linear, moment


@triton.jit(do_not_specialize=["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits"])
def dense_backward(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    rows_side,  # [lines, n_pad]
    cols_side,  # [lines, m_pad]
    row_values,  # [n, width] fp32, or None
    col_values,  # [m, width]
    row_labels,  # [n] int64, or None
    col_labels,  # [m]
    row_gains,  # [GAINS, n_pad], or None
    col_gains,  # [GAINS, m_pad], or None
    scales,  # [SCALES]
    out,  # [splits, n_pad, D] fp32
    moments,  # [splits, n_pad] sum_k A_ik (S_ik - centre), or None
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
    split = tl.program_id(0) % splits
    chunk = tl.program_id(0) // splits % CHUNKS
    row = tl.program_id(0) // splits // CHUNKS * BLOCK_M
    rows = row + tl.arange(0, BLOCK_M)
    tau = load_temperature(tau_pointer, tau)
    scale = exponent_scale(tau)
    inverse = load_vector(rows_side, INVERSE, rows, n_pad)
    a = load_rows(u_rows, rows, 0, BLOCK_K, D)
    gradient = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    moment = tl.zeros([BLOCK_M], dtype=tl.float32)
    origin = scale * tl.load(scales + GAIN_ORIGIN)

    end = tl.minimum(first_tile(split + 1, splits, m, BLOCK_N), m)
    for col in range(first_tile(split, splits, m, BLOCK_N), end, BLOCK_N):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        p = products(a, b, u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K)
        other = load_vector(cols_side, INVERSE, cols, m_pad)
        s = p * (inverse[:, None] * other[None, :])
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
                mine, part = gaussian_gradient(
                    x, log_weight, keep, row_gains, rows, n_pad, origin, 1, moments is not None
                )
                g += mine
                if moments is not None:
                    moment += tl.sum(part, 1)
            if col_gains is not None:
                theirs, _ = gaussian_gradient(x, log_weight, keep, col_gains, cols, m_pad, origin, 0, False)
                g += theirs
        else:
            positive, negative = classify(
                row_values, col_values, row_labels, col_labels, rows, cols, n, m, threshold, RULE
            )
            if special:
                keep = (cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period)
                positive = positive & keep
                negative = negative & keep
            if row_gains is not None:
                mine, part = classified_gradient(
                    x, positive, negative, row_gains, rows, n_pad, origin, 1, RULE.overlap, moments is not None
                )
                g += mine
                if moments is not None:
                    moment += tl.sum(part, 1)
            if col_gains is not None:
                theirs, _ = classified_gradient(
                    x, positive, negative, col_gains, cols, m_pad, origin, 0, RULE.overlap, False
                )
                g += theirs
        g = (g * other[None, :]).to(u_cols.dtype.element_ty)
        if BLOCK_K != D or BLOCK_D != D:
            b = load_rows(u_cols, cols, chunk * BLOCK_D, BLOCK_D, D)
        gradient = tl.dot(g, b, gradient, input_precision=PRECISION)

    target = out + (split.to(tl.int64) * n_pad + rows.to(tl.int64)[:, None]) * D + chunk * BLOCK_D
    tl.store(target + tl.arange(0, BLOCK_D)[None, :], gradient)
    if moments is not None:
        if chunk == 0:
            tl.store(moments + split * n_pad + rows, moment / scale)
