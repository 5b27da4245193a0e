"""Embeddings scaled by powers of two, and the vectors that follow from them, in O(N D).

    u = 2^-e z, exact, with 2^e <= max |z_d| < 2^(e + 1)        z^ = z / max(|z|, 1e-12) = inverse * u

u has z's dtype: products of half precision are exact. It is as wide as the padded D; columns beyond z's width are 0.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import INVERSE, INVERSE_NORM, NUMBERS, ORIGIN, PAD, POSITIVE, ROW_ORIGIN

NUMBERS_HELD = tl.constexpr(NUMBERS)
NORM_EPSILON = tl.constexpr(1e-12)  # as in ecgloss.engine.normalise


@triton.jit
def load_embeddings(q, q2, first, n, rows, stride, stride_2, width, COLUMNS: tl.constexpr):
    """Rows of q and, from row ``first`` on, of q2, as fp32; zero outside."""
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
def scale_rows(z):
    """u, 1 / |u| and 1 / max(|z|, 1e-12) of z; where |z| < 1e-12, 1 / |u| stands for 2^e / 1e-12."""
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


@triton.jit
def similarity(z, inverse, k, k2, first, m, index, stride, stride_2, width, COLUMNS: tl.constexpr):
    """S of row i and column index_i, for some rows that :func:`scale_rows` has scaled."""
    other, other_inverse, _ = scale_rows(load_embeddings(k, k2, first, m, index, stride, stride_2, width, COLUMNS))
    return tl.sum(z * other, 1) * inverse * other_inverse


@triton.jit(do_not_specialize=["first", "n", "n_blocks", "k_first", "m", "shift", "lines"])
def prepare_kernel(
    q,  # [first, width]
    q2,  # [n - first, width], or None
    k,  # [k_first, width]: the columns, q where they are the rows
    k2,  # [m - k_first, width], or None
    u,  # [n_pad, D]
    row_vectors,  # [lines, n_pad]
    numbers,  # [NUMBERS], or None: filled with ORIGIN and zeros
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
    POSITIVES: tl.constexpr,  # write the line POSITIVE
    ROW_ORIGINS: tl.constexpr,  # write the line ROW_ORIGIN
    D: tl.constexpr,
    COLUMNS: tl.constexpr,  # D rounded up to a power of two
    ROWS: tl.constexpr,
):
    """One program per ROWS rows, padding included."""
    n_pad = n_blocks * PAD
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    z, inverse, inverse_norm = scale_rows(load_embeddings(q, q2, first, n, rows, q_stride, q2_stride, width, COLUMNS))
    target = u + rows.to(tl.int64)[:, None] * D + columns[None, :]
    tl.store(target, z.to(u.dtype.element_ty), mask=(columns < D)[None, :])
    real = rows < n
    line = row_vectors + rows
    tl.store(line + INVERSE * n_pad, tl.where(real, inverse, 0.0))
    tl.store(line + INVERSE_NORM * n_pad, tl.where(real, inverse_norm, 0.0))
    for other_line in range(ROW_ORIGIN, lines):  # later kernels write some of them
        tl.store(line + n_pad.to(tl.int64) * other_line, tl.zeros([ROWS], tl.float32))
    if numbers is not None:
        if tl.program_id(0) == 0:
            last = rows * 0 + (m - 1)
            s = similarity(z, inverse, k, k2, k_first, m, last, k_stride, k2_stride, width, COLUMNS)
            index = tl.arange(0, NUMBERS_HELD)
            tl.store(numbers + index, tl.where(index == ORIGIN, tl.sum(tl.where(rows == 0, s, 0.0), 0), 0.0))
    if POSITIVES:
        partners = tl.where(real, (rows + shift) % m, 0)
        s = similarity(z, inverse, k, k2, k_first, m, partners, k_stride, k2_stride, width, COLUMNS)
        tl.store(line + POSITIVE * n_pad, tl.where(real, s, 0.0))
    if ROW_ORIGINS:
        s = similarity(z, inverse, k, k2, k_first, m, rows * 0, k_stride, k2_stride, width, COLUMNS)
        tl.store(line + ROW_ORIGIN * n_pad, tl.where(real, s, 0.0))
