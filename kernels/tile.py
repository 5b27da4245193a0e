"""What forward and backward share: a tile of S from rows of u, and which of its pairs count.

    S_ik = inverse_i inverse_k (u_i . u_k)        u = 2^-e z

Products of half precision are exact, sums are fp32.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def load_temperature(pointer, value):
    """tau, from the device or from the host."""
    if pointer is not None:
        return tl.load(pointer).to(tl.float32)
    return tl.full([], value, tl.float32)


@triton.jit
def exponent_scale(tau):
    """log2(e) / tau."""
    return tl.full([], LOG2E, tl.float32) / tau


@triton.jit
def load_rows(u, rows, first, WIDTH: tl.constexpr, D: tl.constexpr):
    """Columns first .. first + WIDTH of some rows of u (rows, D)."""
    return tl.load(u + rows.to(tl.int64)[:, None] * D + (first + tl.arange(0, WIDTH))[None, :])


@triton.jit
def products(a, b, u_rows, u_cols, rows, cols, PRECISION: tl.constexpr, D: tl.constexpr, BLOCK_K: tl.constexpr):
    """u_i . u_k; ``a`` and ``b`` hold the first BLOCK_K columns of D, which may be all."""
    if BLOCK_K == D:
        return tl.dot(a, tl.trans(b), input_precision=PRECISION)
    else:
        return chunked_products(u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K)


@triton.jit
def chunked_products(u_rows, u_cols, rows, cols, PRECISION: tl.constexpr, D: tl.constexpr, BLOCK_K: tl.constexpr):
    """u_i . u_k, where whole rows are too wide to be held."""
    p = tl.zeros([rows.shape[0], cols.shape[0]], dtype=tl.float32)
    for first in range(0, D, BLOCK_K):
        a = load_rows(u_rows, rows, first, BLOCK_K, D)
        b = load_rows(u_cols, cols, first, BLOCK_K, D)
        p = tl.dot(a, tl.trans(b), p, input_precision=PRECISION)
    return p


@triton.jit
def load_vector(side, line: tl.constexpr, index, n_pad):
    """One number per row."""
    return tl.load(side + n_pad.to(tl.int64) * line + index)


@triton.jit
def first_tile(split, splits, m, BLOCK_N: tl.constexpr):
    """The column at which a part of all columns begins."""
    return split * tl.cdiv(tl.cdiv(m, BLOCK_N), splits) * BLOCK_N


@triton.jit
def crosses(row, col, shift, period, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Whether a tile holds a pair with col - row equal to the shift, or to shift - period."""
    least = col - row - (BLOCK_M - 1)
    most = col - row + (BLOCK_N - 1)
    wrapped = shift - period
    return ((least <= shift) & (shift <= most)) | ((least <= wrapped) & (wrapped <= most))


@triton.jit
def is_special(row, col, m, shift_0, shift_1, period, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Whether some pairs of a tile do not count."""
    excluded = crosses(row, col, shift_0, period, BLOCK_M, BLOCK_N) | crosses(
        row, col, shift_1, period, BLOCK_M, BLOCK_N
    )
    return excluded | (col + BLOCK_N > m)


@triton.jit
def is_excluded(rows, cols, shift_0, shift_1, period):
    """Which pairs the layout excludes."""
    shift = cols[None, :] - rows[:, None]
    first = (shift == shift_0) | (shift == shift_0 - period)
    return first | (shift == shift_1) | (shift == shift_1 - period)
