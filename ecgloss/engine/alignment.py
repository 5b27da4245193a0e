"""The alignment term L_d from sums over all pairs.

With S^ = a (S - m), T = 1 - W, an origin c of S and Y = S - c, d = c - m::

    sum (S^ - T)^2 = a^2 (sum Y^2 + 2 d sum Y + n d^2) - 2 a (sum Y + n d) + n
                     + 2 a (sum Y W + d sum W) - 2 sum W + sum W^2                  n = N^2 pairs

Untrained encoders give nearly parallel embeddings, where S varies in the fourth digit: hence the origin, a typical S,
and sums in fp64 (raw fp32 sums lose up to 12 %).
"""

from __future__ import annotations

from torch import Tensor

from ecgloss.engine.stats import stretch_and_start


def alignment_from_sums(
    alignment: str, sums: tuple[Tensor, ...], origin: Tensor, low: Tensor, high: Tensor, pairs: int
) -> Tensor:
    """Mean over all pairs of (S^ - T)^2.

    Args:
        alignment: ``"cosine"`` or ``"minmax"``.
        sums: sum Y, Y^2, Y W, W and W^2, 0-d each, in the widest dtype of the device.
        origin: 0-d c, without gradient.
        low: 0-d min S (used for ``"minmax"`` only).
        high: 0-d max S.
        pairs: n.

    Returns:
        0-d tensor in the dtype of ``sums``, differentiable with respect to the first three sums, low and high.
    """
    y, y2, yw, w, w2 = sums
    stretch, start = stretch_and_start(alignment, low.to(y.dtype), high.to(y.dtype))
    d = origin - start
    squares = stretch * stretch * (y2 + 2 * d * y + pairs * d * d)
    products = 2 * stretch * (yw + d * w)
    return (squares - 2 * stretch * (y + pairs * d) + pairs + products - 2 * w + w2) / pairs
