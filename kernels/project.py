"""The last step of a gradient, in O(N D): parts added in order, single positives, and back from the sphere to z.

    t_i  = sum of the parts + a_i z^_(i + shift) + a_(i - shift) z^_(i - shift)
    dz_i = (t_i - z^_i (z^_i . t_i)) / max(|z_i|, 1e-12)        without the projection where |z_i| < 1e-12
    dtau = sum_i of  -1/tau (sum_k A_ik (S_ik - centre_i) + moment_i)

with A the row's own part of G, and moment_i what its gradients are at the centre: see :mod:`.coefficients`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .forms import GAIN_MOMENT, GAIN_POSITIVE, INVERSE, NORM, PAD, UNSCALE
from .prepare import NORM_EPSILON
from .tile import load_temperature


@triton.jit
def load_wide(pointer, rows, D: tl.constexpr, COLUMNS: tl.constexpr):
    """Rows of (rows, D), fp32."""
    columns = tl.arange(0, COLUMNS)
    target = pointer + rows.to(tl.int64)[:, None] * D + columns[None, :]
    return tl.load(target, mask=(columns < D)[None, :], other=0.0).to(tl.float32)


@triton.jit
def pulled(u, side, rows, gain, n_pad, D: tl.constexpr, COLUMNS: tl.constexpr):
    """gain z^ of some rows."""
    inverse = tl.load(side + INVERSE * n_pad + rows) * gain
    return load_wide(u, rows, D, COLUMNS) * inverse[:, None]


@triton.jit(do_not_specialize=["first", "n", "n_blocks", "m", "m_blocks", "shift", "period"])
def project(
    parts,  # [SPLITS, n_pad, D] fp32
    moments,  # [MOMENT_SPLITS, n_pad] sum_k A_ik (S_ik - centre_i), or None
    u,  # [n_pad, D]
    side,  # [lines, n_pad]
    u_others,  # [m_pad, D]
    side_others,  # [lines, m_pad]
    own_gains,  # [GAINS, n_pad], or None: rows with positives of their own
    other_gains,  # [GAINS, m_pad], or None: rows whose positives these rows are
    scales,  # [SCALES]
    dq,  # [first, width]
    dq2,  # [n - first, width], or None
    dtau,  # [n], or None
    tau_pointer,
    tau,
    limit,  # the largest number of the gradient's dtype
    first,
    n,
    n_blocks,
    m,
    m_blocks,
    shift,
    period,  # columns modulo which a shift is meant
    width,
    POSITIVES: tl.constexpr,
    SPLITS: tl.constexpr,
    MOMENT_SPLITS: tl.constexpr,
    D: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """One program per few rows."""
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
            t += pulled(u_others, side_others, partner, gain, m_pad, D, COLUMNS)
        if other_gains is not None:
            partner = (rows - shift + period) % period
            partner = tl.where(mask & (partner < m), partner, 0)
            known = mask & ((rows - shift + period) % period < m)
            gain = tl.load(other_gains + GAIN_POSITIVE * m_pad + partner, mask=known, other=0.0)
            t += pulled(u_others, side_others, partner, gain, m_pad, D, COLUMNS)
    unscale = tl.load(scales + UNSCALE)
    z = load_wide(u, rows, D, COLUMNS) * tl.load(side + INVERSE * n_pad + rows)[:, None]
    norm = tl.load(side + NORM * n_pad + rows)
    tiny = norm * NORM_EPSILON >= 1
    radial = tl.where(tiny, 0.0, tl.sum(z * t, 1))
    dz = (t - z * radial[:, None]) * (norm * unscale)[:, None]
    # A zero row's gradient is 1e12 times t, more than half precision holds. Elsewhere an overflow must stay visible.
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
        moment = tl.load(own_gains + GAIN_MOMENT * n_pad + rows, mask=mask, other=0.0)
        for split in tl.static_range(MOMENT_SPLITS):
            moment += tl.load(moments + split * n_pad + rows, mask=mask, other=0.0)
        tl.store(dtau + rows, -moment * unscale / tau, mask=mask)
