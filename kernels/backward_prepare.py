"""Gains: the factors of every row in the gradients of its pairs, in O(N).

    g_negative = g_contrastive / N sigma(negative_lse - positive) + g_rows[3]
    g_positive = -g_contrastive / N sigma(negative_lse - positive) + g_rows[0] + g_rows[1]
    GAIN_NEGATIVE = unit g_negative / (tau row_sum)        GAIN_POSITIVE = unit g_positive / tau

The gradient of the temperature is -1/tau sum_k A_ik S_ik, A = dL/dS. The sum, GAIN_TAU, follows from the mean S of the
negatives, and of the positives where there are many, each weighing its exponential, which the forward sums up.

``unit`` scales gradients to fit half precision: 256 N / (|g_contrastive| / tau + ...). The gradient of a pair is then
at most some hundreds, and that of a typical pair, 1 / N of it, is a normal number.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import (
    ALIGNMENT_BY_MINIMUM,
    ALIGNMENT_CONSTANT,
    ALIGNMENT_PER_S,
    ALIGNMENT_PER_W,
    GAIN_MINIMUM,
    GAIN_NEGATIVE,
    GAIN_POSITIVE,
    GAIN_POSITIVE_ROW_MAX,
    GAIN_POSITIVE_SUM,
    GAIN_ROW_MAX,
    GAIN_TAU,
    MEAN_S,
    NEGATIVE_LSE,
    PAD,
    POSITIVE,
    POSITIVE_MEAN_S,
    POSITIVE_ROW_MAX,
    POSITIVE_ROW_SUM,
    POSITIVE_SUM,
    ROW_MAX,
    ROW_SUM,
    START,
    STRETCH,
    UNSCALE,
)
from .primitives import load_temperature

UNIT = tl.constexpr(256.0)


@triton.jit
def load_number(pointer, weight, other):
    """other + weight times the gradient behind the pointer; other where there is none."""
    if pointer is not None:
        return other + weight * tl.load(pointer).to(tl.float32)
    return other


@triton.jit
def load_gradient(g_rows, line: tl.constexpr, rows, mask, n):
    """The gradients of one statistic (a line of g_rows); 0 without g_rows."""
    if g_rows is not None:
        return tl.load(g_rows + line * n + rows, mask=mask, other=0.0)
    return tl.zeros(rows.shape, dtype=tl.float32)


@triton.jit
def load_row_sum(row_vectors, line: tl.constexpr, rows, mask, n_pad):
    """The row_sum of some rows, 1 in place of 0, and the rows where it is 0: those without pairs."""
    row_sum = tl.load(row_vectors + line * n_pad + rows, mask=mask, other=0.0)
    empty = row_sum == 0
    return tl.where(empty, 1.0, row_sum), empty


@triton.jit
def load_unit(g_contrastive, g_alignment, stretch, peak, tau, n):
    """The factor of all gradients; ``peak`` is the largest gradient of a statistic."""
    size = tl.abs(g_contrastive) / tau + tl.abs(g_alignment) * stretch
    if peak is not None:
        size += tl.load(peak).to(tl.float32) * n / tau
    return tl.where(size == 0, 1.0, UNIT * n / size)


@triton.jit(do_not_specialize=["n", "m", "n_blocks"])
def gains_kernel(
    g_loss,  # 0-d, or None
    g_contrastive,  # 0-d, or None
    g_alignment,  # 0-d, or None
    g_rows,  # [4, n], or None
    peak,  # 0-d max |g_rows|, or None
    row_vectors,  # [lines, n_pad]
    numbers,  # [NUMBERS]
    gains,  # [GAINS, n_pad]
    scales,  # [SCALES]
    tau_pointer,
    tau,
    contrastive_weight,
    alignment_weight,
    n,
    m,
    n_blocks,
    ALIGNMENT: tl.constexpr,
    POSITIVES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Rows with at most one positive; one program per block of rows."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = rows < n
    tau = load_temperature(tau_pointer, tau)
    contrastive = load_number(g_loss, contrastive_weight, load_number(g_contrastive, 1.0, 0.0 * tau))
    alignment = 0.0 * tau
    stretch = 0.0 * tau
    if ALIGNMENT != "":
        alignment = load_number(g_loss, alignment_weight, load_number(g_alignment, 1.0, alignment))
        stretch = tl.load(numbers + STRETCH)
    unit = load_unit(contrastive, alignment, stretch, peak, tau, n)

    row_sum, empty = load_row_sum(row_vectors, ROW_SUM, rows, mask, n_pad)
    negative = tl.where(empty, 0.0, load_gradient(g_rows, 3, rows, mask, n))
    row_max = tl.load(row_vectors + ROW_MAX * n_pad + rows, mask=mask, other=0.0)
    mean_s = tl.load(row_vectors + MEAN_S * n_pad + rows, mask=mask, other=0.0)
    if POSITIVES:
        positive = load_gradient(g_rows, 0, rows, mask, n) + load_gradient(g_rows, 1, rows, mask, n)
        negative_lse = tl.load(row_vectors + NEGATIVE_LSE * n_pad + rows, mask=mask, other=0.0)
        s = tl.load(row_vectors + POSITIVE * n_pad + rows, mask=mask, other=0.0)
        share = contrastive / n / (1 + tl.exp(s / tau - negative_lse))
        # the contrastive term adds share to the negatives and subtracts it from the positive
        total = share * (mean_s - s) + negative * mean_s + positive * s
        negative += share
        positive -= share
    else:
        positive = 0.0 * negative
        total = negative * mean_s
    inside = rows < n_pad
    tl.store(gains + GAIN_NEGATIVE * n_pad + rows, tl.where(mask, negative * (unit / tau) / row_sum, 0.0), mask=inside)
    tl.store(gains + GAIN_ROW_MAX * n_pad + rows, row_max, mask=inside)
    tl.store(gains + GAIN_POSITIVE * n_pad + rows, tl.where(mask, positive * (unit / tau), 0.0), mask=inside)
    tl.store(gains + GAIN_TAU * n_pad + rows, tl.where(mask, total * (unit / tau), 0.0), mask=inside)
    if tl.program_id(0) == 0:
        tl.store(scales + UNSCALE, 1 / unit)
        if ALIGNMENT != "":
            weight = 4 * stretch * alignment * unit / n / n
            tl.store(scales + ALIGNMENT_PER_W, weight)
            tl.store(scales + ALIGNMENT_PER_S, weight * stretch)
            tl.store(scales + ALIGNMENT_CONSTANT, -weight * (stretch * tl.load(numbers + START) + 1))
            tl.store(scales + GAIN_MINIMUM, 2 * alignment * unit * tl.load(numbers + ALIGNMENT_BY_MINIMUM))


@triton.jit(do_not_specialize=["n", "n_blocks"])
def gains_dense_kernel(
    g_rows,  # [4, n], or None
    peak,  # 0-d max |g_rows|, or None
    row_vectors,  # [lines, n_pad]
    numbers,  # [NUMBERS]
    gains,  # [GAINS, n_pad]
    scales,  # [SCALES]
    tau_pointer,
    tau,
    n,
    n_blocks,
    BLOCK: tl.constexpr,
):
    """Rows with any number of positives; one program per block of rows."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = rows < n
    tau = load_temperature(tau_pointer, tau)
    unit = load_unit(0.0 * tau, 0.0 * tau, 0.0 * tau, peak, tau, n)
    inside = rows < n_pad
    row_sum, empty = load_row_sum(row_vectors, ROW_SUM, rows, mask, n_pad)
    negative = tl.where(empty, 0.0, load_gradient(g_rows, 3, rows, mask, n))
    tl.store(gains + GAIN_NEGATIVE * n_pad + rows, negative * (unit / tau) / row_sum, mask=inside)
    row_max = tl.load(row_vectors + ROW_MAX * n_pad + rows, mask=mask, other=0.0)
    tl.store(gains + GAIN_ROW_MAX * n_pad + rows, row_max, mask=inside)
    row_sum, empty = load_row_sum(row_vectors, POSITIVE_ROW_SUM, rows, mask, n_pad)
    positive = tl.where(empty, 0.0, load_gradient(g_rows, 1, rows, mask, n))
    tl.store(gains + GAIN_POSITIVE * n_pad + rows, positive * (unit / tau) / row_sum, mask=inside)
    positive_row_max = tl.load(row_vectors + POSITIVE_ROW_MAX * n_pad + rows, mask=mask, other=0.0)
    tl.store(gains + GAIN_POSITIVE_ROW_MAX * n_pad + rows, positive_row_max, mask=inside)
    linear = load_gradient(g_rows, 0, rows, mask, n)
    tl.store(gains + GAIN_POSITIVE_SUM * n_pad + rows, linear * (unit / tau), mask=inside)
    total = negative * tl.load(row_vectors + MEAN_S * n_pad + rows, mask=mask, other=0.0)
    total += positive * tl.load(row_vectors + POSITIVE_MEAN_S * n_pad + rows, mask=mask, other=0.0)
    total += linear * tl.load(row_vectors + POSITIVE_SUM * n_pad + rows, mask=mask, other=0.0)
    tl.store(gains + GAIN_TAU * n_pad + rows, total * (unit / tau), mask=inside)
    if tl.program_id(0) == 0:
        tl.store(scales + UNSCALE, 1 / unit)
