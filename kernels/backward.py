"""Gradient of rows with at most one positive, owned by rows: no two programs touch the same output.

    dL/dz^_i = sum_k G_ik z^_k        G = A + A^T, A = dL/dS, as in :mod:`.pair_gradient`

A program owns BLOCK_M rows, BLOCK_D of D columns and one of ``splits`` parts of the sum; the single positive, the
projection to the sphere and the sum of the parts follow in :mod:`ecgloss.kernels.project`. Of a rectangular problem the
two gradients are two launches, one by the gains of its rows and one by those of its columns.

Budget on sm90 with D = 256 in half precision, 128 x 32 tiles, eight warps: 128 accumulators of the gradient and 16 of
the tile per thread, rows 64 KiB and three tiles of columns 48 KiB of shared memory.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import INVERSE, PAD
from .pair_gradient import load_gains, pair_gradients
from .tile import exponent_scale, first_tile, load_rows, load_temperature, load_vector, products

RUNTIME = ["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits"]


@triton.jit(do_not_specialize=RUNTIME)
def backward(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    rows_side,  # [lines, n_pad]
    cols_side,  # [lines, m_pad]
    row_gains,  # [GAINS, n_pad]; anything where WAYS is "columns"
    col_gains,  # [GAINS, m_pad]; anything where WAYS is "rows"
    scales,  # [SCALES]
    numbers,  # [NUMBERS]
    out,  # [splits, n_pad, D] fp32
    moments,  # [splits, n_pad] sum_k A_ik (S_ik - centre_i) without the squared error, or None
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
    ALIGN: tl.constexpr,
    FIXED: tl.constexpr,
    WAYS: tl.constexpr,  # "both" | "rows" | "columns": whose statistics have gradients
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
    split = tl.program_id(0) % splits
    chunk = tl.program_id(0) // splits % CHUNKS
    row = tl.program_id(0) // splits // CHUNKS * BLOCK_M
    rows = row + tl.arange(0, BLOCK_M)
    tau = load_temperature(tau_pointer, tau)
    scale = exponent_scale(tau)
    inverse = load_vector(rows_side, INVERSE, rows, n_pad)
    row_gain, row_top, row_centre = load_gains(row_gains, rows, n_pad, WAYS)
    a = load_rows(u_rows, rows, 0, BLOCK_K, D)
    gradient = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    moment = tl.zeros([BLOCK_M], dtype=tl.float32)

    end = tl.minimum(first_tile(split + 1, splits, m, BLOCK_N), m)
    for col in range(first_tile(split, splits, m, BLOCK_N), end, BLOCK_N):
        cols = col + tl.arange(0, BLOCK_N)
        b = load_rows(u_cols, cols, 0, BLOCK_K, D)
        p = products(a, b, u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K)
        other = load_vector(cols_side, INVERSE, cols, m_pad)
        s = p * (inverse[:, None] * other[None, :])
        g, part = pair_gradients(
            s,
            row,
            col,
            rows,
            cols,
            rows_side,
            cols_side,
            row_gain,
            row_top,
            row_centre,
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
            ALIGN,
            FIXED,
            WAYS,
            moments is not None,
        )
        moment += part
        g = (g * other[None, :]).to(u_cols.dtype.element_ty)
        if BLOCK_K != D or BLOCK_D != D:
            b = load_rows(u_cols, cols, chunk * BLOCK_D, BLOCK_D, D)
        gradient = tl.dot(g, b, gradient, input_precision=PRECISION)

    target = out + (split.to(tl.int64) * n_pad + rows.to(tl.int64)[:, None]) * D + chunk * BLOCK_D
    tl.store(target + tl.arange(0, BLOCK_D)[None, :], gradient)
    if moments is not None:
        if chunk == 0:
            tl.store(moments + split * n_pad + rows, moment)
