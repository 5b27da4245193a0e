"""Both terms of the loss from sums over blocks of rows, in one small program.

    contrastive = mean_i log(1 + e^(negative_lse_i - positive_i))
    alignment   = mean_ik (S^_ik - 1 + W_ik)^2        S^ = stretch (S - start)

For "minmax" (start = min S) the latter follows from the moments of S - origin, in fp64.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import (
    ALIGNMENT_BY_MINIMUM,
    MINIMUM,
    ORIGIN,
    START,
    STRETCH,
    SUM_CONTRASTIVE,
    SUM_MAXIMUM,
    SUM_MINIMUM,
    SUM_W,
    SUM_W2,
    SUM_Y,
    SUM_Y2,
    SUM_YW,
)

RANGE_EPSILON = tl.constexpr(1e-6)  # as in ecgloss.engine.stats


@triton.jit
def load_sums(sums, line: tl.constexpr, index, blocks, other: tl.constexpr):
    """One line of sums of some blocks."""
    return tl.load(sums + line * blocks + index, mask=index < blocks, other=other)


@triton.jit(do_not_specialize=["n", "m", "blocks"])
def finish_kernel(
    sums,  # [SUMS, blocks] fp64
    loss_out,
    contrastive_out,
    alignment_out,
    numbers,  # [NUMBERS]
    contrastive_weight,
    alignment_weight,
    n,
    m,
    blocks,
    ALIGNMENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A single program."""
    contrastive = tl.zeros([BLOCK], dtype=tl.float64)
    y, y2, yw, w, w2, maximum = contrastive, contrastive, contrastive, contrastive, contrastive, contrastive
    minimum = contrastive + float("inf")
    for first in range(0, blocks, BLOCK):
        index = first + tl.arange(0, BLOCK)
        contrastive += load_sums(sums, SUM_CONTRASTIVE, index, blocks, 0.0)
        if ALIGNMENT != "":
            y2 += load_sums(sums, SUM_Y2, index, blocks, 0.0)
        if ALIGNMENT == "minmax":
            y += load_sums(sums, SUM_Y, index, blocks, 0.0)
            yw += load_sums(sums, SUM_YW, index, blocks, 0.0)
            w += load_sums(sums, SUM_W, index, blocks, 0.0)
            w2 += load_sums(sums, SUM_W2, index, blocks, 0.0)
            minimum = tl.minimum(minimum, load_sums(sums, SUM_MINIMUM, index, blocks, float("inf")))
            maximum = tl.maximum(maximum, load_sums(sums, SUM_MAXIMUM, index, blocks, 0.0))

    mean_contrastive = tl.sum(contrastive, 0) / n
    mean_alignment = 0.0 * mean_contrastive
    if ALIGNMENT == "cosine":
        mean_alignment = tl.sum(y2, 0) / n / m
        tl.store(numbers + STRETCH, 1.0)
        tl.store(numbers + START, 0.0)
    if ALIGNMENT == "minmax":
        pairs = n.to(tl.float64) * m
        start = tl.min(minimum, 0)
        stretch = 1.0 / (tl.max(maximum, 0) - start + RANGE_EPSILON)
        d = tl.load(numbers + ORIGIN).to(tl.float64) - start
        sum_y, sum_w = tl.sum(y, 0), tl.sum(w, 0)
        y = sum_y + pairs * d  # from here on Y = S - start
        y2 = tl.sum(y2, 0) + 2 * d * sum_y + pairs * d * d
        yw = tl.sum(yw, 0) + d * sum_w
        squares = stretch * stretch * y2 - 2 * stretch * y + pairs + 2 * stretch * yw - 2 * sum_w + tl.sum(w2, 0)
        mean_alignment = squares / pairs
        by_stretch = (2 * stretch * y2 - 2 * y + 2 * yw) / pairs
        by_start = (2 * stretch * pairs - 2 * stretch * stretch * y - 2 * stretch * sum_w) / pairs
        tl.store(numbers + STRETCH, stretch.to(tl.float32))
        tl.store(numbers + START, start.to(tl.float32))
        tl.store(numbers + MINIMUM, start.to(tl.float32))
        tl.store(numbers + ALIGNMENT_BY_MINIMUM, (by_stretch * stretch * stretch + by_start).to(tl.float32))
    tl.store(contrastive_out, mean_contrastive.to(tl.float32))
    tl.store(alignment_out, mean_alignment.to(tl.float32))
    tl.store(loss_out, (contrastive_weight * mean_contrastive + alignment_weight * mean_alignment).to(tl.float32))
