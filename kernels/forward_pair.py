"""Sums over the columns of a tile of S, for rows with at most one positive.

    y = S - origin                           origin: that of the row ("minmax"), or 1 ("cosine")
    x = log2(omega e^(S / tau)) - maximum    up to the row's normaliser and to the factor of :func:`times_weight`

What is constant in a row is folded into one multiply-add. Sums stay in the lanes that hold the tile, (BLOCK_M, LANES) of
:mod:`.lanes`, until the last tile is done. A tile that holds excluded pairs or columns beyond the last
(SPECIAL) is code of its own, so that masks cost the others nothing.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .lanes import by_lane, lane_sums, no_lanes
from .primitives import LOG2E, is_excluded
from .weight import exponents, negative_weight, times_weight


@triton.jit
def no_sums(BLOCK_M: tl.constexpr):
    """Sums of no tiles: row_sum, row_max, e S, normaliser, y, y^2, y w, w, w^2 and the least y."""
    zeros = no_lanes(BLOCK_M)
    infinity = zeros + float("inf")
    return zeros, -infinity, zeros, zeros, zeros, zeros, zeros, zeros, zeros, infinity


@triton.jit
def add_exponentials(row_sum, row_max, sum_s, x, v, omega, RULE: tl.constexpr, FIXED_MAXIMUM: tl.constexpr):
    """row_sum 2^row_max and sum_s 2^row_max with a tile's e and e v; a maximum that is not fixed is that of a lane."""
    if FIXED_MAXIMUM:
        e = times_weight(tl.exp2(x), omega, RULE)
        return row_sum + lane_sums(e), row_max, sum_s + lane_sums(e * v)
    else:
        x = by_lane(x)
        higher = tl.maximum(row_max, tl.max(x, 2))
        finite = tl.where(higher == -float("inf"), 0.0, higher)
        e = times_weight(tl.exp2(x - finite[:, :, None]), by_lane(omega), RULE)
        rescale = tl.exp2(row_max - finite)
        return row_sum * rescale + tl.sum(e, 2), higher, sum_s * rescale + tl.sum(e * by_lane(v), 2)


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
    row_sum, row_max, sum_s, normaliser, sum_y, sum_y2, sum_yw, sum_w, sum_w2, minimum = sums
    omega = negative_weight(w, numbers, RULE)
    normal_w = w
    if ALIGNMENT == "":
        y = t * inverse[:, None]
        x = exponents(t, omega, (inverse * scale)[:, None], maximum, RULE, FIXED_MAXIMUM)
    else:
        y = t * inverse[:, None] - row_origin[:, None]
        x = exponents(y, omega, scale, (maximum - row_origin * scale)[:, None], RULE, FIXED_MAXIMUM)
    v = y
    if ALIGNMENT == "" and RULE.norm == "uniform":
        v = x  # one multiplication less
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
    row_sum, row_max, sum_s = add_exponentials(row_sum, row_max, sum_s, x, v, omega, RULE, FIXED_MAXIMUM)
    return row_sum, row_max, sum_s, normaliser, sum_y, sum_y2, sum_yw, sum_w, sum_w2, minimum


@triton.jit
def weighted_s(row_sum, sum_s, row_origin, scale, maximum, RULE: tl.constexpr, ALIGNMENT: tl.constexpr):
    """sum_k e_ik S_ik of the rows from the sums of e_ik and of e_ik v_ik, v as in :func:`add_pairs`."""
    if ALIGNMENT != "":
        return sum_s + row_origin * row_sum
    if RULE.norm == "uniform":
        return (sum_s + maximum * row_sum) / scale
    return sum_s
