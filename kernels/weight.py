"""The rule of CLEF in a tile: W from O(N) vectors.

    t_ik = |x_i - x_k|^q, cut at 1 - alpha; neutral where a risk is NaN        D = t + alpha
    M_ik = exp2(-y_i y_k)        W = M D  |  fallback + M (D - fallback)  |  D

with x the risks scaled so that t = (1 - alpha) Deltahat.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import BUMP, FALLBACK, MISSING, NEUTRAL, RISK
from .tile import LOG2E, load_vector

NOTHING = tl.constexpr(1e-30)  # 1 / W of what weighs more, times any gain, is a number of fp32


@triton.jit
def risk_weight(rows_side, cols_side, rows, cols, n_pad, m_pad, numbers, alpha, RULE: tl.constexpr):
    """W of a tile, as if no sample met itself; 1 for the uniform rule."""
    if RULE.norm == "uniform":
        return tl.full([rows.shape[0], cols.shape[0]], 1.0, tl.float32)
    t = tl.zeros([rows.shape[0], cols.shape[0]], dtype=tl.float32)
    RISKS: tl.constexpr = RULE.risks  # triton 3.6 takes a field of a constant for a number of the run
    for dimension in tl.static_range(RISKS):
        x = load_vector(rows_side, RISK + dimension, rows, n_pad)
        y = load_vector(cols_side, RISK + dimension, cols, m_pad)
        difference = x[:, None] - y[None, :]
        if RULE.power == 2:
            t += difference * difference
        else:
            t += tl.abs(difference)
    if RULE.clip:
        t = tl.where(t > 1 - alpha, 1 - alpha, t)
    if RULE.unknown:
        t = tl.where(t == t, t, tl.load(numbers + NEUTRAL))
    w = t + alpha
    if RULE.reliability == "none":
        return w
    f = load_vector(rows_side, MISSING, rows, n_pad)
    g = load_vector(cols_side, MISSING, cols, m_pad)
    reliability = tl.exp2(-f[:, None] * g[None, :])
    if RULE.reliability == "multiply":
        return w * reliability
    fallback = tl.load(numbers + FALLBACK)
    return fallback + reliability * (w - fallback)


@triton.jit
def mark_excluded(w, keep, RULE: tl.constexpr):
    """W with a value no weight has where a pair is excluded; what follows makes weight 0 of it."""
    if RULE.norm == "softmax":
        return tl.where(keep, w, -float("inf"))
    if RULE.norm == "mean":
        return tl.where(keep, w, -1.0)
    return tl.where(keep, w, 0.0)


@triton.jit
def align_weight(w, RULE: tl.constexpr):
    """W as the target T = 1 - W has it: 0 where a pair is excluded."""
    if RULE.norm == "none":
        return w
    return tl.maximum(w, 0.0)


@triton.jit
def contrast_weight(w, numbers, RULE: tl.constexpr):
    """W as the negatives see it: with alpha = 0 and equal risks, 0 / 0 has the limit 1."""
    if RULE.norm == "mean":
        return tl.maximum(w + tl.load(numbers + BUMP), 0.0)
    return w


@triton.jit
def fixed_maximum(scale, RULE: tl.constexpr):
    """What no exponent exceeds, in powers of two: S <= 1 and, in the exponent of softmax weights, W <= 1."""
    if RULE.norm == "softmax":
        return scale + LOG2E
    return scale


@triton.jit
def exponents(s, w, scale, RULE: tl.constexpr, FIXED: tl.constexpr):
    """x with omega e^s = 2^x up to a factor of the row and the W of :func:`weighted`."""
    x = s * scale
    if RULE.norm == "softmax":
        return x + w * LOG2E
    if RULE.norm == "uniform" or FIXED:
        return x
    return tl.where(w > NOTHING, x, -float("inf"))  # only what weighs anything can be the maximum


@triton.jit
def weighted(e, w, RULE: tl.constexpr):
    """2^x with the weight that :func:`exponents` has left out; what weighs next to nothing it has cut off."""
    if RULE.norm == "none" or RULE.norm == "mean":
        return e * w
    return e
