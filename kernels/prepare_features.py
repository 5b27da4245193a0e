"""Features in two planes of half precision, for cosines on tensor cores.

    a = hi + lo + eps,  |eps| <= 2^-24 |a|        a_i . a_k = hi_i . hi_k + (hi_i . lo_k + lo_i . hi_k)

The product of the low planes is left out. Of unit vectors this and both eps are at most 3 x 2^-24 in all, about the
rounding of a sum in fp32: :data:`COSINE_TOLERANCE` bounds the whole error of a cosine. Exchanging i and k exchanges the
terms in brackets, whose sum is the same: a pair is classified alike from both sides, and in forward and backward.
"""

from __future__ import annotations

import triton
import triton.language as tl

COSINE_TOLERANCE = 2e-6  # a pair whose cosine is closer to the threshold may be classified otherwise than in fp64
AT_ONCE = 64  # features per product


def padded_features(width: int) -> int:
    """The number of features with padding: a power of two from 16 to 64, above that a multiple of 64."""
    return max(16, 1 << (width - 1).bit_length()) if width <= AT_ONCE else -(-width // AT_ONCE) * AT_ONCE


@triton.jit(do_not_specialize=["n", "n_pad"])
def prepare_features_kernel(
    features,  # [n, width] unit vectors
    planes,  # [2 n_pad, PADDED] fp16: the high planes of all rows, then the low planes
    n,
    n_pad,
    width,
    PADDED: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """One program per ROWS rows; COLUMNS is PADDED rounded up to a power of two. Padding is zero."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    mask = (rows < n)[:, None] & (columns < width)[None, :]
    a = tl.load(features + rows.to(tl.int64)[:, None] * width + columns[None, :], mask=mask, other=0.0).to(tl.float32)
    hi = a.to(tl.float16)
    lo = (a - hi.to(tl.float32)).to(tl.float16)
    target = planes + rows.to(tl.int64)[:, None] * PADDED + columns[None, :]
    inside = (rows < n_pad)[:, None] & (columns < PADDED)[None, :]
    tl.store(target, hi, mask=inside)
    tl.store(target + n_pad.to(tl.int64) * PADDED, lo, mask=inside)
