"""The gradient of a tile of S, for rows with at most one positive.

    G_ik = omega 2^(x - maximum) (c_i + c_k)            fixed maximum
         | omega (c_i 2^(x - row_max_i) + c_k 2^(x - row_max_k))            running maximum
         + constant + per_s S_ik + per_w W_ik            alignment

with x the exponents of the forward and c the gains of the negatives (:mod:`.backward_prepare`); the terms of c_i are
absent where the rows' statistics have no gradients, those of c_k where the columns' have none.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import (
    ALIGNMENT_CONSTANT,
    ALIGNMENT_PER_S,
    ALIGNMENT_PER_W,
    GAIN_NEGATIVE,
    GAIN_ROW_MAX,
)
from .primitives import is_excluded, is_special, load_vector
from .weight import exponents, fixed_maximum, negative_weight, risk_weight, times_weight


@triton.jit
def load_gains(gains, rows, n_pad):
    """Gain of the negatives and row_max of some rows; 0 without gains."""
    if gains is None:
        none = tl.zeros(rows.shape, dtype=tl.float32)
        return none, none
    else:
        return load_vector(gains, GAIN_NEGATIVE, rows, n_pad), load_vector(gains, GAIN_ROW_MAX, rows, n_pad)


@triton.jit
def negative_gradients(
    x,  # [BLOCK_M, BLOCK_N]; less the maximum where it is fixed
    omega,
    row_gain,  # [BLOCK_M]
    row_max,
    col_gains,  # [GAINS, m_pad], or None
    cols,
    m_pad,
    RULE: tl.constexpr,
    FIXED_MAXIMUM: tl.constexpr,
    ROWS: tl.constexpr,  # whether the rows' statistics have gradients
):
    """The negatives' part of G."""
    # Code after a return in a constant branch is compiled too, hence if and else.
    if FIXED_MAXIMUM:
        e = times_weight(tl.exp2(x), omega, RULE)
        if col_gains is None:
            return e * row_gain[:, None]
        else:
            gain = load_vector(col_gains, GAIN_NEGATIVE, cols, m_pad)
            if ROWS:
                return e * (row_gain[:, None] + gain[None, :])
            else:
                return e * gain[None, :]
    elif col_gains is None:
        e = times_weight(tl.exp2(x - row_max[:, None]), omega, RULE)
        return e * row_gain[:, None]
    else:
        col_max = load_vector(col_gains, GAIN_ROW_MAX, cols, m_pad)
        g = times_weight(tl.exp2(x - col_max[None, :]), omega, RULE)
        g = g * load_vector(col_gains, GAIN_NEGATIVE, cols, m_pad)[None, :]
        if ROWS:
            e = times_weight(tl.exp2(x - row_max[:, None]), omega, RULE)
            return g + e * row_gain[:, None]
        else:
            return g


@triton.jit
def pair_gradients(
    t,  # [BLOCK_M, BLOCK_N] products, divided by the norms of the columns
    row,
    col,
    rows,
    cols,
    row_vectors,  # [lines, n_pad]
    col_vectors,  # [lines, m_pad]
    inverse,  # [BLOCK_M] 1 / norm of the rows
    row_gain,  # [BLOCK_M]
    row_max,
    col_gains,  # [GAINS, m_pad], or None
    numbers,  # [NUMBERS]
    scales,  # [SCALES]
    scale,
    alpha,
    m,
    n_pad,
    m_pad,
    shift_0,
    shift_1,
    period,
    RULE: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    FIXED_MAXIMUM: tl.constexpr,
    ROWS: tl.constexpr,  # whether the rows' statistics have gradients
):
    """G of a tile."""
    w = risk_weight(row_vectors, col_vectors, rows, cols, n_pad, m_pad, numbers, alpha, RULE)
    omega = negative_weight(w, numbers, RULE)
    maximum = 0.0 * scale
    if FIXED_MAXIMUM:
        maximum = fixed_maximum(scale, RULE)
    x = exponents(t, omega, (inverse * scale)[:, None], maximum, RULE, FIXED_MAXIMUM)
    if is_special(row, col, m, shift_0, shift_1, period, rows.shape[0], cols.shape[0]):
        keep = (cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period)
        x = tl.where(keep, x, -float("inf"))
        w = tl.where(keep, w, 0.0)
    g = negative_gradients(x, omega, row_gain, row_max, col_gains, cols, m_pad, RULE, FIXED_MAXIMUM, ROWS)
    if ALIGNMENT != "":
        per_s = tl.load(scales + ALIGNMENT_PER_S) * inverse
        g += t * per_s[:, None] + (w * tl.load(scales + ALIGNMENT_PER_W) + tl.load(scales + ALIGNMENT_CONSTANT))
    return g
