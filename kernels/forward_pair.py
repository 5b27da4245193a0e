"""Sums over the columns of a tile of S, for rows with at most one positive.

    y = S - origin                           origin: that of the row ("minmax"), or 1 ("cosine")
    x = log2(omega e^(S / tau)) - maximum    up to the row's normaliser and to the factor of :func:`times_weight`

What is constant in a row is folded into one multiply-add. Sums stay in the lanes that hold the tile (:mod:`.lanes`)
until the last tile is done. A tile that holds excluded pairs or columns beyond the last (SPECIAL) is code of its own,
so that masks cost the others nothing.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .lanes import add_running, by_lane, lane_sums, no_lanes
from .primitives import LOG2E, is_excluded, is_special
from .weight import exponents, negative_weight, times_weight


@triton.jit
def no_sums(BLOCK_M: tl.constexpr):
    """Sums of no tiles: row_sum, row_max, e t, normaliser, y, y^2, y w, w, w^2 and the least y."""
    return sums_from(no_lanes(BLOCK_M))


@triton.jit
def sums_from(zeros):
    """Sums of no tiles from (BLOCK_M, LANES) zeros."""
    infinity = zeros + float("inf")
    return zeros, -infinity, zeros, zeros, zeros, zeros, zeros, zeros, zeros, infinity


@triton.jit
def add_pairs(
    sums,  # as no_sums
    t,  # [BLOCK_M, BLOCK_N] products, divided by the norms of the columns
    w,  # [BLOCK_M, BLOCK_N] W
    rows,
    cols,
    col,
    inverse,  # [BLOCK_M] 1 / norm of the rows
    row_origin,  # [BLOCK_M]
    numbers,  # [NUMBERS]
    scale,
    maximum,  # of the exponents; 0 where it runs
    m,
    shift_0,
    shift_1,
    period,
    square,
    normal_columns,
    RULE: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    FIXED_MAXIMUM: tl.constexpr,
    SPECIAL: tl.constexpr,
):
    """``sums`` with those of a tile."""
    row_sum, row_max, sum_t, normaliser, sum_y, sum_y2, sum_yw, sum_w, sum_w2, minimum = sums
    omega = negative_weight(w, numbers, RULE)
    normal_w = w
    # As in the backward: at small temperatures its exponentials must add up to the forward's sum.
    x = exponents(t, omega, (inverse * scale)[:, None], maximum, RULE, FIXED_MAXIMUM)
    y = t
    if ALIGNMENT != "":
        y = t * inverse[:, None] - row_origin[:, None]
    if SPECIAL:
        inside = (cols < m)[None, :]
        excluded = is_excluded(rows, cols, shift_0, shift_1, period)
        keep = inside & ~excluded
        x = tl.where(keep, x, -float("inf"))
        y = tl.where(inside, y, 0.0)
        w = tl.where(keep, w, 0.0)
        omega = tl.where(keep, omega, 0.0)
        # A sample compared with itself (square) has W = 0.
        normal_w = tl.where(excluded & (square != 0), 0.0, normal_w)
    if ALIGNMENT == "cosine":
        residual = y + w
        if SPECIAL:
            residual = tl.where(inside, residual, 0.0)
        sum_y2 += lane_sums(residual * residual)
    if ALIGNMENT == "minmax":
        sum_y += lane_sums(y)
        sum_y2 += lane_sums(y * y)
        sum_yw += lane_sums(y * w)
        sum_w += lane_sums(w)
        sum_w2 += lane_sums(w * w)
        minimum = tl.minimum(minimum, tl.min(by_lane(y), 2))
    if RULE.norm == "mean":
        normaliser += lane_sums(omega)
    if RULE.norm == "softmax":
        if col < normal_columns:
            e_w = tl.exp2(normal_w * LOG2E)
            if SPECIAL:
                e_w = tl.where((cols < normal_columns)[None, :], e_w, 0.0)
            normaliser += lane_sums(e_w)
    if FIXED_MAXIMUM:
        e = times_weight(tl.exp2(x), omega, RULE)
        row_sum += lane_sums(e)
        sum_t += lane_sums(e * t)
    else:
        factor = times_weight(tl.full(x.shape, 1.0, tl.float32), omega, RULE)
        row_sum, row_max, sum_t = add_running(row_sum, row_max, sum_t, x, factor, t)
    return row_sum, row_max, sum_t, normaliser, sum_y, sum_y2, sum_yw, sum_w, sum_w2, minimum


@triton.jit
def add_tile(
    sums,
    t,
    w,
    rows,
    cols,
    row,  # the first of the rows
    col,
    inverse,
    row_origin,
    numbers,
    scale,
    maximum,
    m,
    shift_0,
    shift_1,
    period,
    square,
    normal_columns,
    RULE: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    FIXED_MAXIMUM: tl.constexpr,
):
    """``sums`` with those of a tile, arguments as for :func:`add_pairs`; masks where the tile needs them."""
    special = is_special(row, col, m, shift_0, shift_1, period, t.shape[0], t.shape[1])
    if RULE.norm == "softmax":
        special = special | ((col < normal_columns) & (normal_columns < col + t.shape[1]))
    if special:
        sums = add_pairs(
            sums,
            t,
            w,
            rows,
            cols,
            col,
            inverse,
            row_origin,
            numbers,
            scale,
            maximum,
            m,
            shift_0,
            shift_1,
            period,
            square,
            normal_columns,
            RULE,
            ALIGNMENT,
            FIXED_MAXIMUM,
            SPECIAL=True,
        )
    else:
        sums = add_pairs(
            sums,
            t,
            w,
            rows,
            cols,
            col,
            inverse,
            row_origin,
            numbers,
            scale,
            maximum,
            m,
            shift_0,
            shift_1,
            period,
            square,
            normal_columns,
            RULE,
            ALIGNMENT,
            FIXED_MAXIMUM,
            SPECIAL=False,
        )
    return sums
