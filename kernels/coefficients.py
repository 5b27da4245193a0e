"""What the gradients of the statistics make of every row, in O(N): the tile of the backward only multiplies.

    g_negative = g_entropy / N sigma(negative - positive) + g_rows[3]        g_positive = ... - sigma ... + g_rows[0, 1]
    GAIN       = g_negative / (tau mass)

What the temperature's gradient needs is sum_k A_ik S_ik. The exponentials of a tile are a rounding of S / tau away from
those whose sum is the mass, so that sum is taken of A_ik (S_ik - centre_i), with a centre that no S which weighs
anything is far from (the row's maximum; tau log mean e^(S / tau); where tau is large, any S), and what is known
exactly, centre_i sum_k A_ik, is added.

All in a unit in which the gradient of a pair fits half precision: 256 N / (|g_entropy| / tau + ...) times its value, at
most some hundreds, and the share 1 / N of a typical pair stays a normal number.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import (
    ALIGN_CONSTANT,
    ALIGN_SLOPE,
    ALIGN_WEIGHT,
    CENTRE,
    COUNT,
    ERROR_BY_LOW,
    GAIN,
    GAIN_CENTRE,
    GAIN_LOW,
    GAIN_MOMENT,
    GAIN_ORIGIN,
    GAIN_POSITIVE,
    GAIN_POSITIVE_SUM,
    GAIN_POSITIVE_TOP,
    GAIN_TOP,
    MASS,
    NEGATIVE,
    PAD,
    POSITIVE,
    POSITIVE_MASS,
    START,
    STRETCH,
    TOP,
    UNSCALE,
)
from .tile import exponent_scale, load_temperature

UNIT = tl.constexpr(256.0)
LARGE_TAU = tl.constexpr(0.25)  # from here on exponentials are exact enough for any typical S as centre


@triton.jit
def load_number(pointer, weight, other):
    """A gradient that may be absent, weighted, and one more."""
    if pointer is not None:
        return other + weight * tl.load(pointer).to(tl.float32)
    return other


@triton.jit
def load_gradient(g_rows, line: tl.constexpr, rows, mask, n):
    """The gradient of one statistic; 0 where there is none."""
    if g_rows is not None:
        return tl.load(g_rows + line * n + rows, mask=mask, other=0.0)
    return tl.zeros(rows.shape, dtype=tl.float32)


@triton.jit
def load_mass(side, line: tl.constexpr, rows, mask, n_pad):
    """The sum that a log-sum-exp is of, 1 in its place for a row of nothing, and which rows are such."""
    mass = tl.load(side + line * n_pad + rows, mask=mask, other=0.0)
    nothing = mass == 0
    return tl.where(nothing, 1.0, mass), nothing


@triton.jit
def load_unit(g_entropy, g_error, stretch, peak, tau, n):
    """What gradients are multiplied with; ``peak`` is the largest gradient of a statistic."""
    size = tl.abs(g_entropy) / tau + tl.abs(g_error) * stretch
    if peak is not None:
        size += tl.load(peak).to(tl.float32) * n / tau
    return tl.where(size == 0, 1.0, UNIT * n / size)


@triton.jit(do_not_specialize=["n", "m", "n_blocks"])
def coefficients(
    g_loss,  # 0-d, or None; so are the next two
    g_entropy,
    g_error,
    g_rows,  # [4, n], or None
    peak,  # 0-d max |g_rows|, or None
    side,  # [lines, n_pad]
    numbers,  # [NUMBERS]
    gains,  # [GAINS, n_pad]
    scales,  # [SCALES]
    tau_pointer,
    tau,
    entropy_weight,
    error_weight,
    n,
    m,
    n_blocks,
    ALIGN: tl.constexpr,
    POSITIVES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Rows with at most one positive; one program per block of rows."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = rows < n
    tau = load_temperature(tau_pointer, tau)
    entropy = load_number(g_loss, entropy_weight, load_number(g_entropy, 1.0, 0.0 * tau))
    error = 0.0 * tau
    stretch = 0.0 * tau
    if ALIGN != "":
        error = load_number(g_loss, error_weight, load_number(g_error, 1.0, error))
        stretch = tl.load(numbers + STRETCH)
    unit = load_unit(entropy, error, stretch, peak, tau, n)

    mass, nothing = load_mass(side, MASS, rows, mask, n_pad)
    negative = tl.where(nothing, 0.0, load_gradient(g_rows, 3, rows, mask, n))
    top = tl.load(side + TOP * n_pad + rows, mask=mask, other=0.0)
    # Weights, whose logarithm the first holds too, do not bring it far from S where tau is small.
    centre = tl.where(tau < LARGE_TAU, (top + tl.log2(mass / m)) / exponent_scale(tau), tl.load(numbers + CENTRE))
    if POSITIVES:
        positive = load_gradient(g_rows, 0, rows, mask, n) + load_gradient(g_rows, 1, rows, mask, n)
        x = tl.load(side + NEGATIVE * n_pad + rows, mask=mask, other=0.0)
        s = tl.load(side + POSITIVE * n_pad + rows, mask=mask, other=0.0)
        share = entropy / n / (1 + tl.exp(s / tau - x))
        # what the cross entropy adds to the negatives it takes from the positive
        moment = share * (centre - s) + negative * centre + positive * s
        negative += share
        positive -= share
    else:
        positive = 0.0 * negative
        moment = negative * centre
    inside = rows < n_pad
    tl.store(gains + GAIN * n_pad + rows, tl.where(mask, negative * (unit / tau) / mass, 0.0), mask=inside)
    tl.store(gains + GAIN_TOP * n_pad + rows, top, mask=inside)
    tl.store(gains + GAIN_POSITIVE * n_pad + rows, tl.where(mask, positive * (unit / tau), 0.0), mask=inside)
    tl.store(gains + GAIN_CENTRE * n_pad + rows, tl.where(mask, centre, 0.0), mask=inside)
    tl.store(gains + GAIN_MOMENT * n_pad + rows, tl.where(mask, moment * (unit / tau), 0.0), mask=inside)
    if tl.program_id(0) == 0:
        tl.store(scales + UNSCALE, 1 / unit)
        if ALIGN != "":
            weight = 4 * stretch * error * unit / n / n
            tl.store(scales + ALIGN_WEIGHT, weight)
            tl.store(scales + ALIGN_SLOPE, weight * stretch)
            tl.store(scales + ALIGN_CONSTANT, -weight * (stretch * tl.load(numbers + START) + 1))
            tl.store(scales + GAIN_LOW, 2 * error * unit * tl.load(numbers + ERROR_BY_LOW))


@triton.jit(do_not_specialize=["n", "n_blocks"])
def dense_coefficients(
    g_rows,  # [4, n], or None
    peak,
    side,
    numbers,  # [NUMBERS]
    gains,
    scales,
    tau_pointer,
    tau,
    n,
    n_blocks,
    BLOCK: tl.constexpr,
):
    """Rows with any number of positives."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = rows < n
    tau = load_temperature(tau_pointer, tau)
    unit = load_unit(0.0 * tau, 0.0 * tau, 0.0 * tau, peak, tau, n)
    inside = rows < n_pad
    mass, nothing = load_mass(side, MASS, rows, mask, n_pad)
    negative = tl.where(nothing, 0.0, load_gradient(g_rows, 3, rows, mask, n))
    tl.store(gains + GAIN * n_pad + rows, negative * (unit / tau) / mass, mask=inside)
    top = tl.load(side + TOP * n_pad + rows, mask=mask, other=0.0)
    tl.store(gains + GAIN_TOP * n_pad + rows, top, mask=inside)
    mass, nothing = load_mass(side, POSITIVE_MASS, rows, mask, n_pad)
    positive = tl.where(nothing, 0.0, load_gradient(g_rows, 1, rows, mask, n))
    tl.store(gains + GAIN_POSITIVE * n_pad + rows, positive * (unit / tau) / mass, mask=inside)
    positive_top = tl.load(side + POSITIVE * n_pad + rows, mask=mask, other=0.0)
    tl.store(gains + GAIN_POSITIVE_TOP * n_pad + rows, positive_top, mask=inside)
    weighted = load_gradient(g_rows, 0, rows, mask, n)
    tl.store(gains + GAIN_POSITIVE_SUM * n_pad + rows, weighted * (unit / tau), mask=inside)
    total = weighted * tl.load(side + COUNT * n_pad + rows, mask=mask, other=0.0)
    origin = tl.load(numbers + CENTRE)
    moment = (negative * top + positive * positive_top) / exponent_scale(tau) + total * origin
    tl.store(gains + GAIN_MOMENT * n_pad + rows, moment * (unit / tau), mask=inside)
    if tl.program_id(0) == 0:
        tl.store(scales + UNSCALE, 1 / unit)
        tl.store(scales + GAIN_ORIGIN, origin)
