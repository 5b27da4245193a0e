"""The gradient of a tile of S, for rows with at most one positive.

    G_ik = omega 2^(x - top) (c_i + c_k)                        c = g / (tau mass), with one top of all rows,
         or omega (c_i 2^(x - top_i) + c_k 2^(x - top_k)), where the maximum runs,
         + constant + slope S_ik + weight W_ik, of the squared error

with x the exponents of the forward.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import ALIGN_CONSTANT, ALIGN_SLOPE, ALIGN_WEIGHT, GAIN, GAIN_CENTRE, GAIN_TOP
from .tile import is_excluded, is_special, load_vector
from .weight import contrast_weight, exponents, fixed_maximum, risk_weight, weighted


@triton.jit
def load_gains(gains, rows, n_pad, WAYS: tl.constexpr):
    """Gains of the rows' own statistics, their tops and centres; 0 where only the columns' have gradients."""
    if WAYS == "columns":
        none = tl.zeros(rows.shape, dtype=tl.float32)
        return none, none, none
    else:
        gain = load_vector(gains, GAIN, rows, n_pad)
        return gain, load_vector(gains, GAIN_TOP, rows, n_pad), load_vector(gains, GAIN_CENTRE, rows, n_pad)


@triton.jit
def contrast(
    x,
    omega,
    row_gain,
    row_top,
    col_gains,
    cols,
    m_pad,
    maximum,
    RULE: tl.constexpr,
    FIXED: tl.constexpr,
    WAYS: tl.constexpr,
):
    """The negatives' part of G: that of the rows, of the columns, or of both; and the rows' exponentials."""
    if FIXED:
        e = weighted(tl.exp2(x - maximum), omega, RULE)
        if WAYS == "rows":
            return e * row_gain[:, None], e
        gain = load_vector(col_gains, GAIN, cols, m_pad)
        if WAYS == "columns":
            return e * gain[None, :], e
        return e * (row_gain[:, None] + gain[None, :]), e
    if WAYS == "rows":
        e = weighted(tl.exp2(x - row_top[:, None]), omega, RULE)
        return e * row_gain[:, None], e
    theirs = weighted(tl.exp2(x - load_vector(col_gains, GAIN_TOP, cols, m_pad)[None, :]), omega, RULE)
    theirs = theirs * load_vector(col_gains, GAIN, cols, m_pad)[None, :]
    if WAYS == "columns":
        return theirs, theirs
    e = weighted(tl.exp2(x - row_top[:, None]), omega, RULE)
    return theirs + e * row_gain[:, None], e


@triton.jit
def pair_gradients(
    s,  # [BLOCK_M, BLOCK_N]
    row,
    col,
    rows,
    cols,
    rows_side,  # [lines, n_pad]
    cols_side,  # [lines, m_pad]
    row_gain,  # [BLOCK_M]
    row_top,
    row_centre,
    col_gains,  # [GAINS, m_pad]
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
    ALIGN: tl.constexpr,
    FIXED: tl.constexpr,
    WAYS: tl.constexpr,
    MOMENTS: tl.constexpr,
):
    """G of a tile, and sum_k A_ik (S_ik - centre_i) of its rows without the squared error (0 unless MOMENTS)."""
    w = risk_weight(rows_side, cols_side, rows, cols, n_pad, m_pad, numbers, alpha, RULE)
    omega = contrast_weight(w, numbers, RULE)
    x = exponents(s, omega, scale, RULE, FIXED)
    if is_special(row, col, m, shift_0, shift_1, period, rows.shape[0], cols.shape[0]):
        keep = (cols < m)[None, :] & ~is_excluded(rows, cols, shift_0, shift_1, period)
        x = tl.where(keep, x, -float("inf"))
        w = tl.where(keep, w, 0.0)
    maximum = fixed_maximum(scale, RULE)
    g, e = contrast(x, omega, row_gain, row_top, col_gains, cols, m_pad, maximum, RULE, FIXED, WAYS)
    moment = tl.zeros([rows.shape[0]], dtype=tl.float32)
    if MOMENTS:
        moment = tl.sum(e * (s - row_centre[:, None]), 1) * row_gain
    if ALIGN:
        g += tl.load(scales + ALIGN_CONSTANT) + tl.load(scales + ALIGN_SLOPE) * s + tl.load(scales + ALIGN_WEIGHT) * w
    return g, moment
