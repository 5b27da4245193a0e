"""The rule of CLEF in a tile: W from O(N) vectors.

    t_ik = |x_i - x_k|^q, cut at 1 - alpha; the neutral value where a risk is NaN        D = t + alpha
    M_ik = exp(-f_i f_k)        W = M D  |  fallback + M (D - fallback)  |  D

with x the risks scaled so that t = (1 - alpha) Deltahat. W is computed in two more places, each for its own kind of
loop: in ``ecgloss/pairs/weight_matrix.py`` (torch) and in ``csrc/rules.h`` (C++).
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

from .memory_layout import ALL_EQUAL, FALLBACK, MISSING, NEUTRAL, RISK
from .primitives import LOG2E, load_vector

LEAST_RELIABILITY = math.exp(-1)  # min M: f <= 1
ROOT_LOG2E = tl.constexpr(1.2011224087864498)
LEAST_WEIGHT = tl.constexpr(1e-30)  # a smaller W counts as 0: 1 / W times any gain must be a number of fp32


@triton.jit
def missing_vector(f):
    """The line MISSING of missing fractions f: f sqrt(log2 e), so that :func:`reliability` is one exp2."""
    return f.to(tl.float32) * ROOT_LOG2E


@triton.jit
def reliability(row_vectors, col_vectors, rows, cols, n_pad, m_pad):
    """M of a tile."""
    f = load_vector(row_vectors, MISSING, rows, n_pad)
    g = load_vector(col_vectors, MISSING, cols, m_pad)
    return tl.exp2(-f[:, None] * g[None, :])


@triton.jit
def risk_distance(row_vectors, col_vectors, rows, cols, n_pad, m_pad, RULE: tl.constexpr):
    """t of a tile, before it is cut."""
    t = 0.0
    RISKS: tl.constexpr = RULE.risks  # triton 3.6 does not take RULE.risks itself for a constant
    for dimension in tl.static_range(RISKS):
        x = load_vector(row_vectors, RISK + dimension, rows, n_pad)
        y = load_vector(col_vectors, RISK + dimension, cols, m_pad)
        difference = x[:, None] - y[None, :]
        if RULE.power == 2:
            t += difference * difference
        else:
            t += tl.abs(difference)
    return t


@triton.jit
def risk_weight(row_vectors, col_vectors, rows, cols, n_pad, m_pad, numbers, alpha, RULE: tl.constexpr):
    """W of a tile before exclusions (of a sample with itself it is not 0 here); 1 for the uniform rule."""
    # Code after a return in a constant branch is compiled too, hence if and else.
    if RULE.norm == "uniform":
        return tl.full([rows.shape[0], cols.shape[0]], 1.0, tl.float32)
    else:
        t = risk_distance(row_vectors, col_vectors, rows, cols, n_pad, m_pad, RULE)
        if RULE.clip:
            t = tl.where(t > 1 - alpha, 1 - alpha, t)
        if RULE.unknown:
            t = tl.where(t == t, t, tl.load(numbers + NEUTRAL))
        w = t + alpha
        if RULE.reliability == "none":
            return w
        m = reliability(row_vectors, col_vectors, rows, cols, n_pad, m_pad)
        if RULE.reliability == "multiply":
            return w * m
        fallback = tl.load(numbers + FALLBACK)
        return fallback + m * (w - fallback)


@triton.jit
def negative_weight(w, numbers, RULE: tl.constexpr):
    """The W of the negatives' omega; where every W is 0, 1: the limit of W / mean W is 1."""
    if RULE.norm == "mean":
        return w + tl.load(numbers + ALL_EQUAL)
    return w


@triton.jit
def fixed_maximum(scale, RULE: tl.constexpr):
    """The upper bound of the exponents x, in powers of two: S <= 1, and W <= 1 in the exponent of softmax weights."""
    if RULE.norm == "softmax":
        return scale + LOG2E
    return scale


@triton.jit
def exponents(t, w, scale, maximum, RULE: tl.constexpr, FIXED_MAXIMUM: tl.constexpr):
    """x = t scale - maximum + log2 of the part of omega that is in the exponent.

    omega e^(S / tau) is 2^(x + maximum), up to the row's normaliser and to the factor of :func:`times_weight`, for
    ``scale`` the factor of t in S / tau log2 e.
    """
    x = t * scale - maximum
    if RULE.norm == "softmax":
        return x + w * LOG2E
    if RULE.norm == "uniform" or FIXED_MAXIMUM:
        return x
    return tl.where(w > LEAST_WEIGHT, x, -float("inf"))  # a pair of weight 0 must not be the maximum


@triton.jit
def times_weight(e, w, RULE: tl.constexpr):
    """omega from e = 2^x: times W, unless W is in the exponent."""
    if RULE.norm == "none" or RULE.norm == "mean":
        return e * w
    return e
