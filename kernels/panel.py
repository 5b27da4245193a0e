"""G itself for some rows at a time, where D is too wide for a gradient in registers: the product follows by cuBLAS.

    panel_ik = inverse_k G_ik        in u's own dtype, so that  dL/dz^ = panel u

A fused kernel would compute S once more for every part of D it can hold. A panel costs a write and a read per pair
instead, and no more memory than :mod:`.launch_backward` gives it. Programs as in the fused backward, without its
accumulators.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .backward import RUNTIME
from .forms import INVERSE, PAD
from .pair_gradient import load_gains, pair_gradients
from .tile import chunked_products, exponent_scale, first_tile, load_temperature, load_vector


@triton.jit(do_not_specialize=[*RUNTIME, "first_block"])
def panel(
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
    rows_side,  # [lines, n_pad]
    cols_side,  # [lines, m_pad]
    row_gains,  # [GAINS, n_pad]; anything where WAYS is "columns"
    col_gains,  # [GAINS, m_pad]; anything where WAYS is "rows"
    scales,  # [SCALES]
    numbers,  # [NUMBERS]
    out,  # [rows of the panel, m_pad]
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
    first_block,  # the panel's first row, in blocks of PAD
    RULE: tl.constexpr,
    ALIGN: tl.constexpr,
    FIXED: tl.constexpr,
    WAYS: tl.constexpr,  # "both" | "rows" | "columns": whose statistics have gradients
    PRECISION: tl.constexpr,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One program per block of rows of the panel and part of the columns; columns behind the last are 0."""
    n_pad, m_pad = n_blocks * PAD, m_blocks * PAD
    split = tl.program_id(0) % splits
    offset = tl.program_id(0) // splits * BLOCK_M
    row = first_block * PAD + offset
    rows = row + tl.arange(0, BLOCK_M)
    tau = load_temperature(tau_pointer, tau)
    scale = exponent_scale(tau)
    inverse = load_vector(rows_side, INVERSE, rows, n_pad)
    row_gain, row_top, row_centre = load_gains(row_gains, rows, n_pad, WAYS)
    moment = tl.zeros([BLOCK_M], dtype=tl.float32)

    end = tl.minimum(first_tile(split + 1, splits, m_pad, BLOCK_N), m_pad)
    for col in range(first_tile(split, splits, m_pad, BLOCK_N), end, BLOCK_N):
        cols = col + tl.arange(0, BLOCK_N)
        other = load_vector(cols_side, INVERSE, cols, m_pad)
        p = chunked_products(u_rows, u_cols, rows, cols, PRECISION, D, BLOCK_K)
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
        target = out + (offset + tl.arange(0, BLOCK_M)).to(tl.int64)[:, None] * m_pad + cols[None, :]
        tl.store(target, (g * other[None, :]).to(out.dtype.element_ty))
    if moments is not None:
        tl.store(moments + split * n_pad + rows, moment)
