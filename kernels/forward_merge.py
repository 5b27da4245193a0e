"""Statistics of every row from the partial sums of its columns, and sums over blocks of rows.

    row_max_i      = max over the parts of their maxima
    row_sum_i      = sum over the parts of sum 2^(maximum - row_max_i)
    negative_lse_i = ln 2 (row_max_i + log2 row_sum_i - log2 normaliser_i)

The sums over blocks, in fp64, are those of the contrastive terms log(1 + e^(negative_lse_i - positive_i)) and the
moments of the alignment term. Parts are added in a fixed order: two runs give the same bits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import (
    COUNT,
    INVERSE_NORM,
    MEAN_S,
    NEGATIVE_LSE,
    ORIGIN,
    PAD,
    PARTIAL_MAX,
    PARTIAL_MINIMUM,
    PARTIAL_NORMALISER,
    PARTIAL_POSITIVE_COUNT,
    PARTIAL_POSITIVE_E_S,
    PARTIAL_POSITIVE_MAX,
    PARTIAL_POSITIVE_S,
    PARTIAL_POSITIVE_SUM,
    PARTIAL_S,
    PARTIAL_SUM,
    PARTIAL_W,
    PARTIAL_W2,
    PARTIAL_Y,
    PARTIAL_Y2,
    PARTIAL_YW,
    PARTIALS,
    POSITIVE,
    POSITIVE_MEAN_S,
    POSITIVE_ROW_MAX,
    POSITIVE_ROW_SUM,
    POSITIVE_SUM,
    ROW_MAX,
    ROW_MINIMUM,
    ROW_ORIGIN,
    ROW_SUM,
    SUM_CONTRASTIVE,
    SUM_MAXIMUM,
    SUM_MINIMUM,
    SUM_W,
    SUM_W2,
    SUM_Y,
    SUM_Y2,
    SUM_YW,
)
from .prepare import NORM_EPSILON
from .primitives import LN2, load_temperature

LINES = tl.constexpr(PARTIALS)
TINY = tl.constexpr(1.1754943508222875e-38)


@triton.jit
def load_parts(partials, line: tl.constexpr, rows, mask, n_pad, SPLITS: tl.constexpr):
    """Sum over the parts of each row of one line of partials."""
    total = tl.zeros(rows.shape, dtype=tl.float32)
    for split in tl.static_range(SPLITS):  # unrolled: no load waits for another
        offset = n_pad.to(tl.int64) * (split * LINES + line)
        total += tl.load(partials + offset + rows, mask=mask, other=0.0)
    return total


@triton.jit
def merge_parts(partials, total: tl.constexpr, maximum: tl.constexpr, rows, mask, n_pad, SPLITS: tl.constexpr):
    """row_max and row_sum from the parts' total 2^maximum; 0 and 0 for a row without pairs."""
    row_max = tl.zeros(rows.shape, dtype=tl.float32) - float("inf")
    for split in tl.static_range(SPLITS):
        offset = n_pad.to(tl.int64) * (split * LINES + maximum)
        row_max = tl.maximum(row_max, tl.load(partials + offset + rows, mask=mask, other=0.0))
    finite = tl.where(row_max == -float("inf"), 0.0, row_max)
    merged = tl.zeros(rows.shape, dtype=tl.float32)
    for split in tl.static_range(SPLITS):
        offset = n_pad.to(tl.int64) * (split * LINES)
        part = tl.load(partials + offset + total * n_pad + rows, mask=mask, other=0.0)
        merged += part * tl.exp2(tl.load(partials + offset + maximum * n_pad + rows, mask=mask, other=0.0) - finite)
    return finite, merged


@triton.jit
def log_normaliser(partials, rows, mask, n_pad, n_compared, views, RULE: tl.constexpr, SPLITS: tl.constexpr):
    """log2 of the row factor that W or e^W is divided by in omega."""
    if RULE.norm == "softmax":
        return tl.log2(load_parts(partials, PARTIAL_NORMALISER, rows, mask, n_pad, SPLITS) * views)
    if RULE.norm == "mean":
        mean = load_parts(partials, PARTIAL_NORMALISER, rows, mask, n_pad, SPLITS) / n_compared
        return tl.log2(tl.maximum(mean, TINY))
    return tl.zeros(rows.shape, dtype=tl.float32)


@triton.jit
def softplus(x):
    """log(1 + e^x) without overflow, exact to fp32 rounding also for very negative x."""
    e = tl.exp(-tl.abs(x))
    # log1p(e): e where 1 + e rounds to 1; elsewhere the rounding of 1 + e is corrected
    y = 1 + e
    log1p = tl.where(y == 1, e, tl.log(y) * (e / (y - 1)))
    return tl.maximum(x, 0.0) + log1p


@triton.jit
def store_moments(
    partials, row_vectors, sums, numbers, rows, mask, m, n_pad, ALIGNMENT: tl.constexpr, SPLITS: tl.constexpr
):
    """The alignment's sums over a block of rows: moments of Y = S - origin and W, and the extremes of S."""
    block = sums + tl.program_id(0)
    blocks = tl.num_programs(0)
    row_y2 = load_parts(partials, PARTIAL_Y2, rows, mask, n_pad, SPLITS).to(tl.float64)
    if ALIGNMENT == "cosine":  # (S - 1 + W)^2
        tl.store(block + SUM_Y2 * blocks, tl.sum(row_y2, 0))
    if ALIGNMENT == "minmax":
        row_origin = tl.load(row_vectors + ROW_ORIGIN * n_pad + rows, mask=mask, other=0.0)
        d = row_origin.to(tl.float64) - tl.load(numbers + ORIGIN)
        row_y = load_parts(partials, PARTIAL_Y, rows, mask, n_pad, SPLITS).to(tl.float64)
        row_w = load_parts(partials, PARTIAL_W, rows, mask, n_pad, SPLITS).to(tl.float64)
        row_yw = load_parts(partials, PARTIAL_YW, rows, mask, n_pad, SPLITS).to(tl.float64)
        row_w2 = load_parts(partials, PARTIAL_W2, rows, mask, n_pad, SPLITS).to(tl.float64)
        tl.store(block + SUM_Y * blocks, tl.sum(tl.where(mask, row_y + m * d, 0.0), 0))
        tl.store(block + SUM_Y2 * blocks, tl.sum(tl.where(mask, row_y2 + 2 * d * row_y + m * d * d, 0.0), 0))
        tl.store(block + SUM_YW * blocks, tl.sum(tl.where(mask, row_yw + d * row_w, 0.0), 0))
        tl.store(block + SUM_W * blocks, tl.sum(row_w, 0))
        tl.store(block + SUM_W2 * blocks, tl.sum(row_w2, 0))
        least = tl.zeros(rows.shape, dtype=tl.float32) + float("inf")
        for split in tl.static_range(SPLITS):
            offset = n_pad.to(tl.int64) * (split * LINES + PARTIAL_MINIMUM)
            least = tl.minimum(least, tl.load(partials + offset + rows, mask=mask, other=0.0))
        minimum = row_origin + least
        tl.store(row_vectors + ROW_MINIMUM * n_pad + rows, minimum, mask=mask)
        tl.store(block + SUM_MINIMUM * blocks, tl.min(tl.where(mask, minimum, float("inf")), 0).to(tl.float64))
        inverse_norm = tl.load(row_vectors + INVERSE_NORM * n_pad + rows, mask=mask, other=2.0 / NORM_EPSILON)
        maximum = tl.where(inverse_norm * NORM_EPSILON < 1, 1.0, 0.0)  # S_ii is 1, of a row of zeros 0
        tl.store(block + SUM_MAXIMUM * blocks, tl.max(maximum, 0).to(tl.float64))


@triton.jit(do_not_specialize=["n", "m", "n_blocks", "n_compared", "views"])
def merge_rows_kernel(
    partials,  # [SPLITS, PARTIALS, n_pad]
    row_vectors,  # [lines, n_pad]
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
    ALIGNMENT: tl.constexpr,
    POSITIVES: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Statistics of rows with at most one positive; one program per block of rows."""
    n_pad = n_blocks * PAD
    tau = load_temperature(tau_pointer, tau)
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = rows < n
    row_max, row_sum = merge_parts(partials, PARTIAL_SUM, PARTIAL_MAX, rows, mask, n_pad, SPLITS)
    tl.store(row_vectors + ROW_MAX * n_pad + rows, row_max, mask=mask)
    tl.store(row_vectors + ROW_SUM * n_pad + rows, row_sum, mask=mask)
    _, sum_s = merge_parts(partials, PARTIAL_S, PARTIAL_MAX, rows, mask, n_pad, SPLITS)
    tl.store(row_vectors + MEAN_S * n_pad + rows, tl.where(row_sum == 0, 0.0, sum_s / row_sum), mask=mask)
    normaliser = log_normaliser(partials, rows, mask, n_pad, n_compared, views, RULE, SPLITS)
    negative_lse = (row_max + tl.log2(row_sum) - normaliser) * LN2
    tl.store(row_vectors + NEGATIVE_LSE * n_pad + rows, negative_lse, mask=mask)
    positive = tl.zeros([BLOCK], dtype=tl.float32)
    count = positive
    positive_lse = positive - float("inf")
    if POSITIVES:
        positive = tl.load(row_vectors + POSITIVE * n_pad + rows, mask=mask, other=0.0) / tau
        positive_lse = positive
        count += 1
    tl.store(rows_out + rows, positive, mask=mask)
    tl.store(rows_out + n + rows, positive_lse, mask=mask)
    tl.store(rows_out + 2 * n + rows, count, mask=mask)
    tl.store(rows_out + 3 * n + rows, negative_lse, mask=mask)
    contrastive = tl.where(mask, softplus(negative_lse - positive), 0.0).to(tl.float64)
    tl.store(sums + SUM_CONTRASTIVE * tl.num_programs(0) + tl.program_id(0), tl.sum(contrastive, 0))
    if ALIGNMENT != "":
        store_moments(partials, row_vectors, sums, numbers, rows, mask, m, n_pad, ALIGNMENT, SPLITS)


@triton.jit(do_not_specialize=["n", "n_blocks"])
def merge_dense_kernel(
    partials,  # [splits, PARTIALS, n_pad]
    row_vectors,  # [lines, n_pad]
    rows_out,  # [4, n]
    tau_pointer,
    tau,
    n,
    n_blocks,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Statistics of rows with any number of positives; one program per block of rows."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = rows < n
    tau = load_temperature(tau_pointer, tau)
    row_max, row_sum = merge_parts(partials, PARTIAL_SUM, PARTIAL_MAX, rows, mask, n_pad, SPLITS)
    tl.store(row_vectors + ROW_MAX * n_pad + rows, row_max, mask=mask)
    tl.store(row_vectors + ROW_SUM * n_pad + rows, row_sum, mask=mask)
    tl.store(rows_out + 3 * n + rows, (row_max + tl.log2(row_sum)) * LN2, mask=mask)
    _, sum_s = merge_parts(partials, PARTIAL_S, PARTIAL_MAX, rows, mask, n_pad, SPLITS)
    tl.store(row_vectors + MEAN_S * n_pad + rows, tl.where(row_sum == 0, 0.0, sum_s / row_sum), mask=mask)
    row_max, row_sum = merge_parts(partials, PARTIAL_POSITIVE_SUM, PARTIAL_POSITIVE_MAX, rows, mask, n_pad, SPLITS)
    tl.store(row_vectors + POSITIVE_ROW_MAX * n_pad + rows, row_max, mask=mask)
    tl.store(row_vectors + POSITIVE_ROW_SUM * n_pad + rows, row_sum, mask=mask)
    tl.store(rows_out + n + rows, (row_max + tl.log2(row_sum)) * LN2, mask=mask)
    _, sum_s = merge_parts(partials, PARTIAL_POSITIVE_E_S, PARTIAL_POSITIVE_MAX, rows, mask, n_pad, SPLITS)
    tl.store(row_vectors + POSITIVE_MEAN_S * n_pad + rows, tl.where(row_sum == 0, 0.0, sum_s / row_sum), mask=mask)
    positive_sum = load_parts(partials, PARTIAL_POSITIVE_S, rows, mask, n_pad, SPLITS)
    tl.store(row_vectors + POSITIVE_SUM * n_pad + rows, positive_sum, mask=mask)
    tl.store(rows_out + rows, positive_sum / tau, mask=mask)
    count = load_parts(partials, PARTIAL_POSITIVE_COUNT, rows, mask, n_pad, SPLITS)
    tl.store(row_vectors + COUNT * n_pad + rows, count, mask=mask)
    tl.store(rows_out + 2 * n + rows, count, mask=mask)
