"""Embeddings as the other kernels read them, in O(N D): no product of half precision is ever rounded.

    u = 2^-e z, exact, with 2^e <= max |z_d| < 2^(e + 1)        z^ = z / max(|z|, 1e-12) = inverse * u

A row is as wide as D, a power of two or a multiple of blocks; columns behind z's own width are zero.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import BASE, CENTRE, INVERSE, NORM, NUMBERS, PAD, POSITIVE

NUMBERS_HELD = tl.constexpr(NUMBERS)
NORM_EPSILON = tl.constexpr(1e-12)  # as in ecgloss.engine.normalise


@triton.jit
def load_embeddings(q, q2, first, n, rows, stride, stride_2, width, COLUMNS: tl.constexpr):
    """Rows of q, and from row ``first`` on of q2, fp32; zero outside."""
    columns = tl.arange(0, COLUMNS)
    inside = (rows >= 0) & (rows < n)
    mask = (inside & (rows < first))[:, None] & (columns < width)[None, :]
    z = tl.load(q + rows.to(tl.int64)[:, None] * stride + columns[None, :], mask=mask, other=0.0).to(tl.float32)
    if q2 is not None:
        mask = (inside & (rows >= first))[:, None] & (columns < width)[None, :]
        other = (rows - first).to(tl.int64)[:, None] * stride_2 + columns[None, :]
        z += tl.load(q2 + other, mask=mask, other=0.0).to(tl.float32)
    return z


@triton.jit
def unit(z):
    """u, inverse and 1 / max(|z|, 1e-12)."""
    exponent = (tl.max(tl.abs(z), 1).to(tl.int32, bitcast=True) >> 23) - 127
    exponent = tl.minimum(tl.maximum(exponent, -126), 126)
    down = ((127 - exponent) << 23).to(tl.float32, bitcast=True)
    up = ((127 + exponent) << 23).to(tl.float32, bitcast=True)
    u = z * down[:, None]
    norm = tl.sqrt_rn(tl.sum(u * u, 1))
    tiny = norm * up < NORM_EPSILON
    one = tl.full(norm.shape, 1.0, tl.float32)
    inverse = tl.where(tiny, up / NORM_EPSILON, tl.div_rn(one, norm))
    return u, inverse, tl.where(tiny, 1 / NORM_EPSILON, inverse * down)


@triton.jit(do_not_specialize=["first", "n", "n_blocks", "k_first", "m", "shift", "lines"])
def prepare(
    q,  # [first, width]
    q2,  # [n - first, width], or None
    k,  # [k_first, width]: the columns, q where they are the rows
    k2,  # [m - k_first, width], or None
    u,  # [n_pad, D]
    side,  # [lines, n_pad]
    numbers,  # [NUMBERS]
    first,
    n,
    n_blocks,
    k_first,
    m,
    shift,  # row i's positive is column (i + shift) mod m
    width,
    q_stride,
    q2_stride,
    k_stride,
    k2_stride,
    lines,
    BEGINS: tl.constexpr,  # the rows of a batch, before its columns
    POSITIVES: tl.constexpr,
    BASED: tl.constexpr,
    D: tl.constexpr,
    COLUMNS: tl.constexpr,  # D, or the next power of two
    ROWS: tl.constexpr,
):
    """One program per few rows, padding included."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    z, inverse, norm = unit(load_embeddings(q, q2, first, n, rows, q_stride, q2_stride, width, COLUMNS))
    target = u + rows.to(tl.int64)[:, None] * D + columns[None, :]
    tl.store(target, z.to(u.dtype.element_ty), mask=(columns < D)[None, :])
    real = rows < n
    line = side + rows
    tl.store(line + INVERSE * n_pad, tl.where(real, inverse, 0.0))
    tl.store(line + NORM * n_pad, tl.where(real, norm, 0.0))
    for other_line in range(BASE, lines):  # what nobody else writes holds 0, not what memory held
        tl.store(line + n_pad.to(tl.int64) * other_line, tl.zeros([ROWS], tl.float32))
    if BEGINS:
        if tl.program_id(0) == 0:
            last = rows * 0 + (m - 1)
            p, other, _ = unit(load_embeddings(k, k2, k_first, m, last, k_stride, k2_stride, width, COLUMNS))
            s = tl.where(rows == 0, tl.sum(z * p, 1) * inverse * other, 0.0)
            index = tl.arange(0, NUMBERS_HELD)
            tl.store(numbers + index, tl.where(index == CENTRE, tl.sum(s, 0), 0.0))
    if POSITIVES:
        partners = tl.where(real, (rows + shift) % m, 0)
        p, other, _ = unit(load_embeddings(k, k2, k_first, m, partners, k_stride, k2_stride, width, COLUMNS))
        tl.store(line + POSITIVE * n_pad, tl.where(real, tl.sum(z * p, 1) * inverse * other, 0.0))
    if BASED:
        p, other, _ = unit(load_embeddings(k, k2, k_first, m, rows * 0, k_stride, k2_stride, width, COLUMNS))
        tl.store(line + BASE * n_pad, tl.where(real, tl.sum(z * p, 1) * inverse * other, 0.0))
