"""Gradient of rows with at most one positive, owned by rows: no two programs write the same output.

    dL/dz^_i = sum_k G_ik z^_k        G = A + A^T, A = dL/dS, from :mod:`.backward_pair`

A program owns BLOCK_M rows, BLOCK_D of D columns and one of ``splits`` parts of the sum;
:mod:`ecgloss.kernels.backward_project` adds the parts and the single positive, and projects back from the sphere. A
rectangular problem takes two launches: with the gains of its rows for q, with those of its columns for k.

Budget on sm90 with D = 256 in half precision, 128 x 32 tiles, eight warps: 128 accumulators of the gradient and 16 of
the tile per thread; 64 KiB of shared memory for the rows and 48 KiB for three tiles of columns.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .backward_pair import load_gains, pair_gradients
from .memory_layout import INVERSE, PAD
from .primitives import (
    add_gradient,
    column_range,
    exponent_scale,
    load_rows,
    load_temperature,
    load_vector,
    products,
    program_tile,
    store_gradient,
)

RUNTIME = ["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits"]


@triton.jit(do_not_specialize=RUNTIME)
def backward_kernel(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    row_vectors,  # [lines, n_pad]
    col_vectors,  # [lines, m_pad]
    row_gains,  # [GAINS, n_pad], or None where the rows' statistics have no gradients
    col_gains,  # [GAINS, m_pad], or None where the columns' have none
    scales,  # [SCALES]
    numbers,  # [NUMBERS]
    out,  # [splits, n_pad, D] fp32
    tau_pointer,
    tau,
    alpha,
    n,
    m,
    n_blocks,
    m_blocks,
    shift_0,
    shift_1,
    period,
    splits,
    RULE: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    FIXED_MAXIMUM: tl.constexpr,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """One program per block of rows, block of D and part of the columns."""
    n_pad, m_pad = n_blocks * PAD, m_blocks * PAD
    CHUNKS: tl.constexpr = D // BLOCK_D
    split, chunk, row = program_tile(splits, CHUNKS, BLOCK_M)
    rows = row + tl.arange(0, BLOCK_M)
    tau = load_temperature(tau_pointer, tau)
    scale = exponent_scale(tau)
    inverse = load_vector(row_vectors, INVERSE, rows, n_pad)
    row_gain, row_max = load_gains(row_gains, rows, n_pad)
    a = load_rows(u_rows, rows, 0, BLOCK_K, D)
    gradient = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)

    begin, end = column_range(split, splits, m, BLOCK_N)
    for col in range(begin, end, BLOCK_N):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        col_inverse = load_vector(col_vectors, INVERSE, cols, m_pad)
        t = products(a, b, u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K) * col_inverse[None, :]
        g = pair_gradients(
            t,
            row,
            col,
            rows,
            cols,
            row_vectors,
            col_vectors,
            inverse,
            row_gain,
            row_max,
            col_gains,
            numbers,
            scales,
            scale,
            alpha,
            m,
            n_pad,
            m_pad,
            shift_0,
            shift_1,
            period,
            RULE,
            ALIGNMENT,
            FIXED_MAXIMUM,
            row_gains is not None,
        )
        gradient = add_gradient(gradient, g, b, col_inverse, u_cols, cols, chunk, PRECISION, D, BLOCK_K, BLOCK_D)

    store_gradient(out, gradient, split, chunk, rows, n_pad, D, BLOCK_D)
