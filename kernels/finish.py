"""From sums over blocks of rows to the loss, in one small program.

    entropy = mean_i log(1 + e^(negative_lse_i - positive_i))
    error   = mean_ik (a (S_ik - m) - 1 + W_ik)^2

The latter for "minmax" from the moments of S - centre, in fp64.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import (
    CENTRE,
    ERROR_BY_LOW,
    LOWEST,
    START,
    STRETCH,
    SUM_ENTROPY,
    SUM_HIGHEST,
    SUM_LOWEST,
    SUM_W,
    SUM_W2,
    SUM_X,
    SUM_X2,
    SUM_XW,
)

RANGE_EPSILON = tl.constexpr(1e-6)  # as in ecgloss.engine.stats


@triton.jit
def load_sums(sums, line: tl.constexpr, index, blocks, other: tl.constexpr):
    """One sum of some blocks."""
    return tl.load(sums + line * blocks + index, mask=index < blocks, other=other)


@triton.jit(do_not_specialize=["n", "m", "blocks"])
def finish(
    sums,  # [SUMS, blocks] fp64
    loss_out,
    entropy_out,
    error_out,
    numbers,  # [NUMBERS]
    entropy_weight,
    error_weight,
    n,
    m,
    blocks,
    ALIGN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A single program."""
    entropy = tl.zeros([BLOCK], dtype=tl.float64)
    x, x2, xw, w, w2, high = entropy, entropy, entropy, entropy, entropy, entropy
    low = entropy + float("inf")
    for start in range(0, blocks, BLOCK):
        index = start + tl.arange(0, BLOCK)
        entropy += load_sums(sums, SUM_ENTROPY, index, blocks, 0.0)
        if ALIGN != "":
            x2 += load_sums(sums, SUM_X2, index, blocks, 0.0)
        if ALIGN == "minmax":
            x += load_sums(sums, SUM_X, index, blocks, 0.0)
            xw += load_sums(sums, SUM_XW, index, blocks, 0.0)
            w += load_sums(sums, SUM_W, index, blocks, 0.0)
            w2 += load_sums(sums, SUM_W2, index, blocks, 0.0)
            low = tl.minimum(low, load_sums(sums, SUM_LOWEST, index, blocks, float("inf")))
            high = tl.maximum(high, load_sums(sums, SUM_HIGHEST, index, blocks, 0.0))

    mean_entropy = tl.sum(entropy, 0) / n
    mean_error = 0.0 * mean_entropy
    if ALIGN == "cosine":
        mean_error = tl.sum(x2, 0) / n / m
        tl.store(numbers + STRETCH, 1.0)
        tl.store(numbers + START, 0.0)
    if ALIGN == "minmax":
        pairs = n.to(tl.float64) * m
        origin = tl.min(low, 0)
        a = 1.0 / (tl.max(high, 0) - origin + RANGE_EPSILON)
        d = tl.load(numbers + CENTRE).to(tl.float64) - origin
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
