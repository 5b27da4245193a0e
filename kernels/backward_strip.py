"""Gradient strips: rows of G, for a D too wide for registers; cuBLAS multiplies them with u.

    strip_ik = inverse_k G_ik, in u's dtype        dL/dz^ = strip u

A fused kernel would compute S again for every block of D it can hold. A strip costs one write and one read per pair
instead, and the memory that :mod:`.launch_gradient` allows it. Programs are those of the fused backward, without its
accumulators.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .backward import RUNTIME
from .backward_pair import load_gains, pair_gradients
from .memory_layout import INVERSE, PAD
from .primitives import chunked_products, column_range, exponent_scale, load_temperature, load_vector, program_tile


@triton.jit(do_not_specialize=[*RUNTIME, "first_block"])
def backward_strip_kernel(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    row_vectors,  # [lines, n_pad]
    col_vectors,  # [lines, m_pad]
    row_gains,  # [GAINS, n_pad], or None where the rows' statistics have no gradients
    col_gains,  # [GAINS, m_pad], or None where the columns' have none
    scales,  # [SCALES]
    numbers,  # [NUMBERS]
    out,  # [rows of the strip, m_pad], in u's dtype
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
    first_block,  # first row of the strip, in blocks of PAD
    RULE: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    FIXED_MAXIMUM: tl.constexpr,
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One program per block of rows of the strip and part of the columns; columns >= m become 0."""
    n_pad, m_pad = n_blocks * PAD, m_blocks * PAD
    split, _chunk, offset = program_tile(splits, 1, BLOCK_M)
    row = first_block * PAD + offset
    rows = row + tl.arange(0, BLOCK_M)
    tau = load_temperature(tau_pointer, tau)
    scale = exponent_scale(tau)
    inverse = load_vector(row_vectors, INVERSE, rows, n_pad)
    row_gain, row_max = load_gains(row_gains, rows, n_pad)

    begin, end = column_range(split, splits, m_pad, BLOCK_N)
    for col in range(begin, end, BLOCK_N):
        cols = col + tl.arange(0, BLOCK_N)
        col_inverse = load_vector(col_vectors, INVERSE, cols, m_pad)
        t = chunked_products(u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K) * col_inverse[None, :]
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
        target = out + (offset + tl.arange(0, BLOCK_M)).to(tl.int64)[:, None] * m_pad + cols[None, :]
        tl.store(target, (g * col_inverse[None, :]).to(out.dtype.element_ty))
