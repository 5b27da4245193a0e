"""Building blocks of the kernels over pairs: a program's place, a tile of S, its excluded pairs, its gradient product.

    S_ik = inverse_i inverse_k (u_i . u_k)        u = 2^-e z

Products of half precision are exact, sums are fp32. Names of tiles: rows are BLOCK_M rows, cols BLOCK_N columns.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import INVERSE

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def load_temperature(pointer, value):
    """tau: behind the pointer (on the GPU), or the value where there is no pointer."""
    if pointer is not None:
        return tl.load(pointer).to(tl.float32)
    return tl.cast(value, tl.float32)


@triton.jit
def exponent_scale(tau):
    """log2(e) / tau."""
    return LOG2E / tau


@triton.jit
def load_rows(u, rows, first, WIDTH: tl.constexpr, D: tl.constexpr):
    """Columns first .. first + WIDTH of D, of some rows of u (rows, D)."""
    return tl.load(u + rows.to(tl.int64)[:, None] * D + (first + tl.arange(0, WIDTH))[None, :])


@triton.jit
def products(a, b, u_rows, u_cols, rows, cols, PRECISION: tl.constexpr, D: tl.constexpr, BLOCK_K: tl.constexpr):
    """u_i . u_k of a tile; ``a`` and ``b`` hold the first BLOCK_K columns of D, which may be all."""
    if BLOCK_K == D:
        return tl.dot(a, tl.trans(b), input_precision=PRECISION)
    else:
        return chunked_products(u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K)


@triton.jit
def chunked_products(u_rows, u_cols, rows, cols, PRECISION: tl.constexpr, D: tl.constexpr, BLOCK_K: tl.constexpr):
    """u_i . u_k of a tile, BLOCK_K columns of D at a time."""
    p = tl.zeros([rows.shape[0], cols.shape[0]], dtype=tl.float32)
    for first in range(0, D, BLOCK_K):
        a = load_rows(u_rows, rows, first, BLOCK_K, D)
        b = load_rows(u_cols, cols, first, BLOCK_K, D)
        p = tl.dot(a, tl.trans(b), p, input_precision=PRECISION)
    return p


@triton.jit
def load_vector(vectors, line: tl.constexpr, index, n_pad):
    """The numbers of some rows in a line of (lines, n_pad)."""
    return tl.load(vectors + n_pad.to(tl.int64) * line + index)


@triton.jit
def similarities(
    a,
    b,
    u_rows,
    u_cols,
    rows,
    cols,
    inverse,
    col_vectors,
    m_pad,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """S of a tile, and 1 / |u| of its columns; ``a`` and ``b`` as for :func:`products`."""
    p = products(a, b, u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K)
    col_inverse = load_vector(col_vectors, INVERSE, cols, m_pad)
    return p * (inverse[:, None] * col_inverse[None, :]), col_inverse


@triton.jit
def program_tile(splits, CHUNKS: tl.constexpr, BLOCK_M: tl.constexpr):
    """Part of the columns, block of D and first row of this program; the parts of a block of rows are neighbours."""
    split = tl.program_id(0) % splits
    chunk = tl.program_id(0) // splits % CHUNKS
    return split, chunk, tl.program_id(0) // splits // CHUNKS * BLOCK_M


@triton.jit
def first_column(split, splits, m, BLOCK_N: tl.constexpr):
    """The first column of a part of m columns."""
    return split * tl.cdiv(tl.cdiv(m, BLOCK_N), splits) * BLOCK_N


@triton.jit
def column_range(split, splits, m, BLOCK_N: tl.constexpr):
    """First column of a part of m columns, and the end of the part."""
    end = tl.minimum(first_column(split + 1, splits, m, BLOCK_N), m)
    return first_column(split, splits, m, BLOCK_N), end


@triton.jit
def crosses(row, col, shift, period, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Whether a tile holds a pair with col - row equal to the shift, or to shift - period."""
    least = col - row - (BLOCK_M - 1)
    most = col - row + (BLOCK_N - 1)
    wrapped = shift - period
    return ((least <= shift) & (shift <= most)) | ((least <= wrapped) & (wrapped <= most))


@triton.jit
def is_special(row, col, m, shift_0, shift_1, period, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Whether a tile holds excluded pairs or columns >= m."""
    excluded = crosses(row, col, shift_0, period, BLOCK_M, BLOCK_N) | crosses(
        row, col, shift_1, period, BLOCK_M, BLOCK_N
    )
    return excluded | (col + BLOCK_N > m)


@triton.jit
def is_excluded(rows, cols, shift_0, shift_1, period):
    """The pairs of a tile that the layout excludes."""
    shift = cols[None, :] - rows[:, None]
    first = (shift == shift_0) | (shift == shift_0 - period)
    return first | (shift == shift_1) | (shift == shift_1 - period)


@triton.jit
def add_gradient(
    gradient,
    g,
    b,
    col_inverse,
    u_cols,
    cols,
    chunk,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """gradient + sum_k G_ik z^_k over a tile's columns, of one block of D; ``b`` as for :func:`products`."""
    g = (g * col_inverse[None, :]).to(u_cols.dtype.element_ty)
    if BLOCK_K != D or BLOCK_D != D:
        b = load_rows(u_cols, cols, chunk * BLOCK_D, BLOCK_D, D)
    return tl.dot(g, b, gradient, input_precision=PRECISION)


@triton.jit
def store_gradient(out, gradient, split, chunk, rows, n_pad, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """One block of D of some rows, to the part's (n_pad, D) in out (splits, n_pad, D)."""
    target = out + (split.to(tl.int64) * n_pad + rows.to(tl.int64)[:, None]) * D + chunk * BLOCK_D
    tl.store(target + tl.arange(0, BLOCK_D)[None, :], gradient)
