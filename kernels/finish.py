"""From the parts of every row to the statistics of the batch, in one small program: a fixed order, so the same bits.

negative_lse_i = (log2 sum of the totals + maximum) log 2 - log(normaliser_i)
entropy        = mean_i log(1 + e^(negative_lse_i - positive_i))
error          = mean_ik (a (S_ik - m) - 1 + W_ik)^2        for "minmax" from the moments of S - base_i, in fp64
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import (
    BASE,
    DEVIATION,
    DEVIATION_SQUARED,
    DEVIATION_WEIGHTED,
    ERROR_BY_LOW,
    LEAST,
    LOW,
    LOWEST,
    LSE,
    MAXIMUM,
    NEGATIVE,
    NORM,
    NORMALISER,
    PAD,
    POSITIVE,
    START,
    STATISTICS,
    STRETCH,
    TOTAL,
    WEIGHT,
    WEIGHT_SQUARED,
)
from .prepare import NORM_EPSILON
from .tile import LN2, load_temperature

LINES = tl.constexpr(STATISTICS)
RANGE_EPSILON = tl.constexpr(1e-6)  # as in ecgloss.engine.stats
TINY = tl.constexpr(1.1754943508222875e-38)


@triton.jit
def load_parts(partials, line: tl.constexpr, rows, mask, n_pad, SPLITS: tl.constexpr):
    """Sum over the parts of a row."""
    total = tl.zeros(rows.shape, dtype=tl.float32)
    for split in tl.static_range(SPLITS):  # unrolled: no load waits for another
        offset = n_pad.to(tl.int64) * (split * LINES + line)
        total += tl.load(partials + offset + rows, mask=mask, other=0.0)
    return total


@triton.jit
def merge_parts(partials, total: tl.constexpr, maximum: tl.constexpr, rows, mask, n_pad, SPLITS: tl.constexpr):
    """log2 of the sum over the parts of a row, total 2^maximum each; -inf for nothing."""
    top = tl.zeros(rows.shape, dtype=tl.float32) - float("inf")
    for split in tl.static_range(SPLITS):
        offset = n_pad.to(tl.int64) * (split * LINES + maximum)
        top = tl.maximum(top, tl.load(partials + offset + rows, mask=mask, other=0.0))
    finite = tl.where(top == -float("inf"), 0.0, top)
    merged = tl.zeros(rows.shape, dtype=tl.float32)
    for split in tl.static_range(SPLITS):
        offset = n_pad.to(tl.int64) * (split * LINES)
        part = tl.load(partials + offset + total * n_pad + rows, mask=mask, other=0.0)
        merged += part * tl.exp2(tl.load(partials + offset + maximum * n_pad + rows, mask=mask, other=0.0) - finite)
    return finite + tl.log2(merged)


@triton.jit
def log_normaliser(partials, rows, mask, n_pad, n_compared, views, RULE: tl.constexpr, SPLITS: tl.constexpr):
    """log2 of what a row's weights are divided by."""
    if RULE.norm == "softmax":
        return tl.log2(load_parts(partials, NORMALISER, rows, mask, n_pad, SPLITS) * views)
    if RULE.norm == "mean":
        mean = load_parts(partials, NORMALISER, rows, mask, n_pad, SPLITS) / n_compared
        return tl.log2(tl.maximum(mean, TINY))
    return tl.zeros(rows.shape, dtype=tl.float32)


@triton.jit
def softplus(x):
    """log(1 + e^x) without overflow, to fp32 rounding for very negative x too."""
    e = tl.exp(-tl.abs(x))
    # log1p: exact where 1 + e rounds to 1, and corrects the rounding of 1 + e elsewhere
    y = 1 + e
    log1p = tl.where(y == 1, e, tl.log(y) * (e / (y - 1)))
    return tl.maximum(x, 0.0) + log1p


@triton.jit(do_not_specialize=["n", "m", "n_blocks", "n_compared", "views"])
def finish(
    partials,  # [splits, STATISTICS, n_pad]
    side,  # [lines, n_pad]
    rows_out,  # [4, n]
    loss_out,
    entropy_out,
    error_out,
    numbers,  # [NUMBERS]
    tau_pointer,
    tau,
    entropy_weight,
    error_weight,
    n,
    m,
    n_blocks,
    n_compared,
    views,
    RULE: tl.constexpr,
    ALIGN: tl.constexpr,
    POSITIVES: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A single program."""
    n_pad = n_blocks * PAD
    tau = load_temperature(tau_pointer, tau)
    entropy = tl.zeros([BLOCK], dtype=tl.float64)
    x2 = entropy
    if ALIGN == "minmax":  # sums of S - c, its square, its product with W, W and W^2; the extremes of S
        x = entropy
        xw = entropy
        w = entropy
        w2 = entropy
        low = tl.zeros([BLOCK], dtype=tl.float32) + float("inf")
        high = tl.zeros([BLOCK], dtype=tl.float32)
        c = tl.load(side + BASE * n_pad + 1).to(tl.float64)

    for start in range(0, n, BLOCK):
        rows = start + tl.arange(0, BLOCK)
        mask = rows < n
        lse = merge_parts(partials, TOTAL, MAXIMUM, rows, mask, n_pad, SPLITS)
        tl.store(side + LSE * n_pad + rows, lse, mask=mask)
        negative = (lse - log_normaliser(partials, rows, mask, n_pad, n_compared, views, RULE, SPLITS)) * LN2
        tl.store(side + NEGATIVE * n_pad + rows, negative, mask=mask)
        positive = tl.zeros([BLOCK], dtype=tl.float32)
        count = positive
        positive_lse = positive - float("inf")
        if POSITIVES:
            positive = tl.load(side + POSITIVE * n_pad + rows, mask=mask, other=0.0) / tau
            positive_lse = positive
            count += 1
        tl.store(rows_out + rows, positive, mask=mask)
        tl.store(rows_out + n + rows, positive_lse, mask=mask)
        tl.store(rows_out + 2 * n + rows, count, mask=mask)
        tl.store(rows_out + 3 * n + rows, negative, mask=mask)
        entropy += tl.where(mask, softplus(negative - positive), 0.0).to(tl.float64)
        if ALIGN != "":
            row_x2 = load_parts(partials, DEVIATION_SQUARED, rows, mask, n_pad, SPLITS).to(tl.float64)
        if ALIGN == "cosine":
            x2 += row_x2
        if ALIGN == "minmax":
            base = tl.load(side + BASE * n_pad + rows, mask=mask, other=0.0)
            d = base.to(tl.float64) - c
            row_x = load_parts(partials, DEVIATION, rows, mask, n_pad, SPLITS).to(tl.float64)
            row_w = load_parts(partials, WEIGHT, rows, mask, n_pad, SPLITS).to(tl.float64)
            row_xw = load_parts(partials, DEVIATION_WEIGHTED, rows, mask, n_pad, SPLITS).to(tl.float64)
            x += tl.where(mask, row_x + m * d, 0.0)
            x2 += tl.where(mask, row_x2 + 2 * d * row_x + m * d * d, 0.0)
            xw += tl.where(mask, row_xw + d * row_w, 0.0)
            w += row_w
            w2 += load_parts(partials, WEIGHT_SQUARED, rows, mask, n_pad, SPLITS).to(tl.float64)
            norm = tl.load(side + NORM * n_pad + rows, mask=mask, other=2.0 / NORM_EPSILON)
            high = tl.maximum(high, tl.where(norm * NORM_EPSILON < 1, 1.0, 0.0))  # S_ii, but for rows of zeros
            least = tl.zeros([BLOCK], dtype=tl.float32) + float("inf")
            for split in tl.static_range(SPLITS):
                offset = n_pad.to(tl.int64) * (split * LINES + LEAST)
                least = tl.minimum(least, tl.load(partials + offset + rows, mask=mask, other=0.0))
            tl.store(side + LOW * n_pad + rows, base + least, mask=mask)
            low = tl.minimum(low, tl.where(mask, base + least, float("inf")))

    mean_entropy = tl.sum(entropy, 0) / n
    mean_error = 0.0 * mean_entropy
    if ALIGN == "cosine":
        mean_error = tl.sum(x2, 0) / n / m
        tl.store(numbers + STRETCH, 1.0)
        tl.store(numbers + START, 0.0)
    if ALIGN == "minmax":
        pairs = n.to(tl.float64) * m
        origin = tl.min(low, 0).to(tl.float64)
        a = 1.0 / (tl.max(high, 0).to(tl.float64) - origin + RANGE_EPSILON)
        d = c - origin
        sum_x, sum_w = tl.sum(x, 0), tl.sum(w, 0)
        y = sum_x + pairs * d
        y2 = tl.sum(x2, 0) + 2 * d * sum_x + pairs * d * d
        yw = tl.sum(xw, 0) + d * sum_w
        mean_error = (a * a * y2 - 2 * a * y + pairs + 2 * a * yw - 2 * sum_w + tl.sum(w2, 0)) / pairs
        by_a = (2 * a * y2 - 2 * y + 2 * yw) / pairs
        by_origin = (2 * a * pairs - 2 * a * a * y - 2 * a * sum_w) / pairs
        tl.store(numbers + STRETCH, a.to(tl.float32))
        tl.store(numbers + START, origin.to(tl.float32))
        tl.store(numbers + LOWEST, origin.to(tl.float32))
        tl.store(numbers + ERROR_BY_LOW, (by_a * a * a + by_origin).to(tl.float32))
    tl.store(entropy_out, mean_entropy.to(tl.float32))
    tl.store(error_out, mean_error.to(tl.float32))
    tl.store(loss_out, (entropy_weight * mean_entropy + error_weight * mean_error).to(tl.float32))
