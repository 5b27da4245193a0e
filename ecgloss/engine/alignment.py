"""The alignment term without its N x N matrices.

With S^ = a (S - m), T = 1 - W and X = S - m::

    sum (S^ - T)^2 = a^2 sum X^2 - 2 a sum X + N^2 + 2 a sum X W - 2 sum W + sum W^2

Let c be the mean row of z, e_i = z_i - c, u_i = c . e_i and s_0 = |c|^2 - m. Then X_ik = s_0 + u_i + u_k + e_i . e_k,
and because the e_i sum to zero all cross terms vanish::

    sum X = N^2 s_0            sum X^2 = N^2 s_0^2 + 2 N sum_i u_i^2 + |E^T E|_F^2

Where W = U V^T off the diagonal, with w_b its row sums and y_b the sum of e over the v views of sample b, which share
their weights (y_b = e_b + e_(b+B) for two), and with sum W over all N^2 entries::

    sum X W = s_0 sum W + 2 v sum_b w_b c . y_b + sum_t (U^T Y)_t . (V^T Y)_t - sum_b (U_b . V_b) |y_b|^2

O(N D^2) instead of O(N^2 D), exact in value and gradient. Untrained encoders give nearly parallel embeddings, where S
varies in the fourth digit: hence the centring, and sums in fp64 (raw fp32 sums lose up to 12 %).
"""

from __future__ import annotations

from torch import Tensor

from ecgloss.engine.stats import rescale
from ecgloss.pair_weights import sum_over_pairs, wide_dtype
from ecgloss.pairs import RiskPairs


def has_closed_form(rule: RiskPairs) -> bool:
    """Whether sum S W follows from moments; otherwise a backend has to accumulate it over all pairs."""
    return rule.weights.power == 2 and rule.weights.fixed_scale is None


def mean_squared_error(
    z: Tensor, rule: RiskPairs, similarity: str, low: Tensor, high: Tensor, weighted_sum: Tensor | None
) -> Tensor:
    """Mean over all N^2 entries of (S^ - T)^2.

    Args:
        z: (N, D) normalised rows.
        rule: Holds W.
        similarity: ``"cosine"`` or ``"minmax"``.
        low: 0-d min S (looked at for ``"minmax"`` only).
        high: 0-d max S.
        weighted_sum: 0-d sum of S W where :func:`has_closed_form` is False, else None.

    Returns:
        0-d tensor in the dtype of z, differentiable with respect to z, low, high and weighted_sum.
    """
    wide = wide_dtype(z.device)
    x = z.to(wide)
    n = x.shape[0]
    a, m = rescale(similarity, low.to(wide), high.to(wide))
    centre = x.mean(0)
    e = x - centre
    u = e @ centre
    s_0 = centre @ centre - m
    sum_x2 = n * n * s_0 * s_0 + 2 * n * u.square().sum() + (e.T @ e).square().sum()
    sum_w, sum_w2 = (rule.n_views**2 * total for total in sum_over_pairs(rule.weights.resolved))
    if weighted_sum is None:
        sum_xw = s_0 * sum_w + _weighted_deviations(e, u, rule)
    else:
        sum_xw = weighted_sum.to(wide) - m * sum_w
    total = a * a * sum_x2 - 2 * a * n * n * s_0 + n * n + 2 * a * sum_xw - 2 * sum_w + sum_w2
    return (total / (n * n)).to(z.dtype)


def _weighted_deviations(e: Tensor, u: Tensor, rule: RiskPairs) -> Tensor:
    """sum (u_i + u_k + e_i . e_k) W_ik from the factors of W."""
    factors = rule.weights.resolved.factors()
    assert factors is not None
    left, right = factors
    by_sample = (rule.n_views, rule.weights.n_samples)
    diagonal = (left * right).sum(1)
    row_sums = left @ right.sum(0) - diagonal
    y: Tensor = e.unflatten(0, by_sample).sum(0)
    y_u: Tensor = u.unflatten(0, by_sample).sum(0)
    products = ((left.T @ y) * (right.T @ y)).sum() - (diagonal * y.square().sum(1)).sum()
    return 2 * rule.n_views * (row_sums * y_u).sum() + products
