"""From the parts of every row to its statistics, and sums over blocks of rows; a fixed order, so the same bits.

    negative_lse_i = (top_i + log2 mass_i) log 2 - log(normaliser_i)        mass_i 2^top_i = sum of the parts' totals

The sums, in fp64: of log(1 + e^(negative_lse_i - positive_i)), and those the squared error needs.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import (
    BASE,
    CENTRE,
    DEVIATION,
    DEVIATION_SQUARED,
    DEVIATION_WEIGHTED,
    LEAST,
    LOW,
    MASS,
    MAXIMUM,
    NEGATIVE,
    NORM,
    NORMALISER,
    PAD,
    POSITIVE,
    STATISTICS,
    SUM_ENTROPY,
    SUM_HIGHEST,
    SUM_LOWEST,
    SUM_W,
    SUM_W2,
    SUM_X,
    SUM_X2,
    SUM_XW,
    TOP,
    TOTAL,
    WEIGHT,
    WEIGHT_SQUARED,
)
from .prepare import NORM_EPSILON
from .tile import LN2, load_temperature

LINES = tl.constexpr(STATISTICS)
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
    """Sum over the parts of a row, total 2^maximum each: top and mass with mass 2^top; 0 and 0 for nothing."""
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
    return finite, merged


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


@triton.jit
def add_errors(partials, side, sums, numbers, rows, mask, m, n_pad, ALIGN: tl.constexpr, SPLITS: tl.constexpr):
    """Sums of X, X^2, X W, W, W^2 over a block of rows, with X = S - centre, and the extremes of S."""
    block = sums + tl.program_id(0)
    blocks = tl.num_programs(0)
    row_x2 = load_parts(partials, DEVIATION_SQUARED, rows, mask, n_pad, SPLITS).to(tl.float64)
    if ALIGN == "cosine":  # that of S - 1 + W
        tl.store(block + SUM_X2 * blocks, tl.sum(row_x2, 0))
    if ALIGN == "minmax":
        base = tl.load(side + BASE * n_pad + rows, mask=mask, other=0.0)
        d = base.to(tl.float64) - tl.load(numbers + CENTRE)
        row_x = load_parts(partials, DEVIATION, rows, mask, n_pad, SPLITS).to(tl.float64)
        row_w = load_parts(partials, WEIGHT, rows, mask, n_pad, SPLITS).to(tl.float64)
        row_xw = load_parts(partials, DEVIATION_WEIGHTED, rows, mask, n_pad, SPLITS).to(tl.float64)
        row_w2 = load_parts(partials, WEIGHT_SQUARED, rows, mask, n_pad, SPLITS).to(tl.float64)
        tl.store(block + SUM_X * blocks, tl.sum(tl.where(mask, row_x + m * d, 0.0), 0))
        tl.store(block + SUM_X2 * blocks, tl.sum(tl.where(mask, row_x2 + 2 * d * row_x + m * d * d, 0.0), 0))
        tl.store(block + SUM_XW * blocks, tl.sum(tl.where(mask, row_xw + d * row_w, 0.0), 0))
        tl.store(block + SUM_W * blocks, tl.sum(row_w, 0))
        tl.store(block + SUM_W2 * blocks, tl.sum(row_w2, 0))
        least = tl.zeros(rows.shape, dtype=tl.float32) + float("inf")
        for split in tl.static_range(SPLITS):
            offset = n_pad.to(tl.int64) * (split * LINES + LEAST)
            least = tl.minimum(least, tl.load(partials + offset + rows, mask=mask, other=0.0))
        low = base + least
        tl.store(side + LOW * n_pad + rows, low, mask=mask)
        tl.store(block + SUM_LOWEST * blocks, tl.min(tl.where(mask, low, float("inf")), 0).to(tl.float64))
        norm = tl.load(side + NORM * n_pad + rows, mask=mask, other=2.0 / NORM_EPSILON)
        high = tl.where(norm * NORM_EPSILON < 1, 1.0, 0.0)  # S_ii, but for rows of zeros
        tl.store(block + SUM_HIGHEST * blocks, tl.max(high, 0).to(tl.float64))


@triton.jit(do_not_specialize=["n", "m", "n_blocks", "n_compared", "views"])
def merge_rows(
    partials,  # [SPLITS, STATISTICS, n_pad]
    side,  # [lines, n_pad]
    rows_out,  # [4, n]
    sums,  # [SUMS, programs] fp64
    numbers,  # [NUMBERS]
    tau_pointer,
    tau,
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
    """Rows with at most one positive; one program per block of rows."""
    n_pad = n_blocks * PAD
    tau = load_temperature(tau_pointer, tau)
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = rows < n
    top, mass = merge_parts(partials, TOTAL, MAXIMUM, rows, mask, n_pad, SPLITS)
    tl.store(side + TOP * n_pad + rows, top, mask=mask)
    tl.store(side + MASS * n_pad + rows, mass, mask=mask)
    normaliser = log_normaliser(partials, rows, mask, n_pad, n_compared, views, RULE, SPLITS)
    negative = (top + tl.log2(mass) - normaliser) * LN2
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
    entropy = tl.where(mask, softplus(negative - positive), 0.0).to(tl.float64)
    tl.store(sums + SUM_ENTROPY * tl.num_programs(0) + tl.program_id(0), tl.sum(entropy, 0))
    if ALIGN != "":
        add_errors(partials, side, sums, numbers, rows, mask, m, n_pad, ALIGN, SPLITS)
