"""The last step of a gradient, in O(N D): the sum of the parts, single positives, and the projection from the sphere.

    t_i  = sum of the parts + a_i z^_(i + shift) + a_(i - shift) z^_(i - shift)        a = GAIN_POSITIVE
    dz_i = (t_i - z^_i (z^_i . t_i)) / max(|z_i|, 1e-12)        without the projection where |z_i| < 1e-12
    dtau = sum_i of  -1/tau GAIN_TAU_i        see :mod:`.backward_prepare`

Parts are added in order: two runs give the same bits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .memory_layout import GAIN_POSITIVE, GAIN_TAU, INVERSE, INVERSE_NORM, PAD, UNSCALE
from .prepare import NORM_EPSILON
from .primitives import load_temperature


@triton.jit
def load_wide(pointer, rows, D: tl.constexpr, COLUMNS: tl.constexpr):
    """Rows of (rows, D), fp32."""
    columns = tl.arange(0, COLUMNS)
    target = pointer + rows.to(tl.int64)[:, None] * D + columns[None, :]
    return tl.load(target, mask=(columns < D)[None, :], other=0.0).to(tl.float32)


@triton.jit
def scaled_unit_rows(u, row_vectors, rows, gain, n_pad, D: tl.constexpr, COLUMNS: tl.constexpr):
    """gain z^ of some rows, fp32."""
    inverse = tl.load(row_vectors + INVERSE * n_pad + rows) * gain
    return load_wide(u, rows, D, COLUMNS) * inverse[:, None]


@triton.jit(do_not_specialize=["first", "n", "n_blocks", "m", "m_blocks", "shift", "period"])
def project_kernel(
    parts,  # [SPLITS, n_pad, D] fp32
    u,  # [n_pad, D]
    row_vectors,  # [lines, n_pad]
    other_u,  # [m_pad, D]
    other_vectors,  # [lines, m_pad]
    own_gains,  # [GAINS, n_pad] of these rows, or None: each has its own positive
    other_gains,  # [GAINS, m_pad] of the rows whose positives these rows are, or None
    scales,  # [SCALES]
    dq,  # [first, width]
    dq2,  # [n - first, width], or None
    dtau,  # [n], or None
    tau_pointer,
    tau,
    limit,  # largest number of the gradient's dtype
    first,
    n,
    n_blocks,
    m,
    m_blocks,
    shift,
    period,  # m of the problem: shifts are modulo it
    width,
    POSITIVES: tl.constexpr,
    SPLITS: tl.constexpr,
    D: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """One program per ROWS rows."""
    n_pad, m_pad = n_blocks * PAD, m_blocks * PAD
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    mask = rows < n
    t = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
    for split in tl.static_range(SPLITS):
        t += load_wide(parts + n_pad.to(tl.int64) * D * split, rows, D, COLUMNS)
    if POSITIVES:
        if own_gains is not None:
            gain = tl.load(own_gains + GAIN_POSITIVE * n_pad + rows, mask=mask, other=0.0)
            partner = tl.where(mask, (rows + shift) % period, 0)
            t += scaled_unit_rows(other_u, other_vectors, partner, gain, m_pad, D, COLUMNS)
        if other_gains is not None:
            partner = (rows - shift + period) % period
            partner = tl.where(mask & (partner < m), partner, 0)
            known = mask & ((rows - shift + period) % period < m)
            gain = tl.load(other_gains + GAIN_POSITIVE * m_pad + partner, mask=known, other=0.0)
            t += scaled_unit_rows(other_u, other_vectors, partner, gain, m_pad, D, COLUMNS)
    unscale = tl.load(scales + UNSCALE)
    z = load_wide(u, rows, D, COLUMNS) * tl.load(row_vectors + INVERSE * n_pad + rows)[:, None]
    norm = tl.load(row_vectors + INVERSE_NORM * n_pad + rows)
    tiny = norm * NORM_EPSILON >= 1
    radial = tl.where(tiny, 0.0, tl.sum(z * t, 1))
    dz = (t - z * radial[:, None]) * (norm * unscale)[:, None]
    # The gradient of a zero row, 1e12 t, overflows half precision: it is bounded. Other overflows stay visible.
    bounded = tl.minimum(tl.maximum(dz, -limit), limit)
    dz = tl.where(tiny[:, None], bounded, dz)
    inside = (columns < width)[None, :]
    target = rows.to(tl.int64)[:, None] * width + columns[None, :]
    tl.store(dq + target, dz.to(dq.dtype.element_ty), mask=(mask & (rows < first))[:, None] & inside)
    if dq2 is not None:
        target = (rows - first).to(tl.int64)[:, None] * width + columns[None, :]
        tl.store(dq2 + target, dz.to(dq.dtype.element_ty), mask=(mask & (rows >= first))[:, None] & inside)
    if dtau is not None:
        tau = load_temperature(tau_pointer, tau)
        total = tl.load(own_gains + GAIN_TAU * n_pad + rows, mask=mask, other=0.0)
        tl.store(dtau + rows, -total * unscale / tau, mask=mask)
