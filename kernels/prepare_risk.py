"""Risks and missing fractions as vectors per row, and the scalars W depends on; no value is read on the host.

Every program reads all B samples to compute the scalars (O(B) for one risk), then writes its block of rows. Scalars
that need all pairs (several risks; or a mean with q = 1 or a fixed scale) are computed in torch, by
:class:`ecgloss.pairs.weight_matrix.WeightMatrix`.

    mean over known pairs b != c of (r_b - r_c)^2 = 2 (n sum r^2 - (sum r)^2) / (n (n - 1)) = 2 sum r^2 / (n - 1)
    for r centred
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import ALL_EQUAL, FALLBACK, MISSING, NEUTRAL, PAD, RISK
from .weight import missing_vector

SCAN = tl.constexpr(1024)  # samples per step of a sum
RISK_EPSILON = tl.constexpr(1e-6)  # as in ecgloss.pairs.risk_weights


@triton.jit
def load_risks(values, index, mask, UNKNOWN: tl.constexpr):
    """Risks of some samples, fp64, and which of them are known: all, if NaN counts as risk 0 (not UNKNOWN)."""
    r = tl.load(values + index, mask=mask, other=0.0)
    known = r == r
    if UNKNOWN:
        return tl.where(known, r, 0.0), known & mask
    return tl.where(known, r, 0.0), mask


@triton.jit
def summarise(values, samples, UNKNOWN: tl.constexpr):
    """Number, mean, range and sum of squares about the mean of the known risks."""
    count = tl.zeros([SCAN], dtype=tl.float64)
    total = tl.zeros([SCAN], dtype=tl.float64)
    least = total + float("inf")
    most = total - float("inf")
    for start in range(0, samples, SCAN):
        index = start + tl.arange(0, SCAN)
        r, known = load_risks(values, index, index < samples, UNKNOWN)
        count += known.to(tl.float64)
        total += tl.where(known, r, 0.0)
        least = tl.where(known & (r < least), r, least)
        most = tl.where(known & (r > most), r, most)
    n = tl.sum(count, 0)
    mean = tl.sum(total, 0) / tl.where(n > 0, n, 1.0)
    squares = tl.zeros([SCAN], dtype=tl.float64)
    for start in range(0, samples, SCAN):
        index = start + tl.arange(0, SCAN)
        r, known = load_risks(values, index, index < samples, UNKNOWN)
        squares += tl.where(known, (r - mean) * (r - mean), 0.0)
    extent = tl.max(most, 0) - tl.min(least, 0)
    return n, mean, tl.where(n > 0, extent, 0.0), tl.sum(squares, 0)


@triton.jit(do_not_specialize=["samples", "first", "n", "n_blocks"])
def prepare_risk_kernel(
    values,  # [samples] fp64, or None where risks and numbers are already there
    missing,  # [samples] fp64, or None
    row_vectors,  # [lines, n_pad]
    numbers,  # [NUMBERS]
    alpha,
    fixed_scale,
    samples,
    first,  # row i is sample (first + i) mod samples
    n,
    n_blocks,
    RULE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program per block of rows."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = rows < n
    index = (first + rows) % samples
    if missing is not None:
        f = tl.load(missing + index, mask=mask, other=0.0)
        tl.store(row_vectors + MISSING * n_pad + rows, missing_vector(f), mask=rows < n_pad)
    if values is not None:
        count, mean, extent, squares = summarise(values, samples, RULE.unknown)
        largest = extent
        if RULE.power == 2:
            largest = extent * extent
        slope = (1 - alpha) / (largest + RISK_EPSILON)
        if RULE.clip:
            slope = (1 - alpha) / fixed_scale + 0.0 * largest
        r, known = load_risks(values, index, mask, RULE.unknown)
        x = (r - mean) * slope
        if RULE.power == 2:
            x = (r - mean) * tl.sqrt(slope)
        if RULE.unknown:
            x = tl.where(known, x, float("nan"))
        tl.store(row_vectors + RISK * n_pad + rows, tl.where(mask, x, 0.0).to(tl.float32), mask=rows < n_pad)
        neutral = slope * 2 * squares / tl.where(count > 1, count - 1, 1.0)
        tl.store(numbers + NEUTRAL, neutral.to(tl.float32))
        tl.store(numbers + FALLBACK, (neutral + alpha).to(tl.float32))
        tl.store(numbers + ALL_EQUAL, tl.where((largest == 0) & (alpha == 0), 1.0, 0.0).to(tl.float32))
