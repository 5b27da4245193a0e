"""The alignment term without its N x N matrices.

With S^ = a S + b and T = 1 - W::

    sum (S^ - T)^2 = a^2 sum S^2 + 2 a (b-1) sum S + (b-1)^2 N^2 + 2 a sum S W + 2 (b-1) sum W + sum W^2
    sum S = |sum_i z_i|^2      sum S^2 = |Z^T Z|_F^2

and, where W = U V^T off the diagonal, with y_b = z_b + z_(b+B) (both views of a sample share their weights)::

    sum S W = sum_t (U^T Y)_t . (V^T Y)_t - sum_b (U_b . V_b) |y_b|^2

O(N D^2) instead of O(N^2 D), exact in value and gradient. Untrained encoders give nearly parallel embeddings, and the
sums cancel: raw fp32 sums lose up to 12 % there, so all sums are taken in fp64.
"""

from __future__ import annotations

from torch import Tensor

from ecgloss.engine.stats import rescale
from ecgloss.pairs import RiskPairs
from ecgloss.weights import sum_over_pairs, wide_dtype


def has_closed_form(rule: RiskPairs) -> bool:
    """Whether sum S W follows from moments; otherwise a backend has to accumulate it over all pairs."""
    return rule.weights.power == 2 and not rule.weights.clip


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
    a, b = rescale(similarity, low.to(wide), high.to(wide))
    sum_s = x.sum(0).square().sum()
    sum_s2 = (x.T @ x).square().sum()
    sum_sw = _weighted_similarity(x, rule) if weighted_sum is None else weighted_sum.to(wide)
    sum_w, sum_w2 = (4 * total for total in sum_over_pairs(rule.weights))  # each pair of samples is four of rows
    shift = b - 1
    total = a * a * sum_s2 + 2 * a * (shift * sum_s + sum_sw) + shift * shift * n * n + 2 * shift * sum_w + sum_w2
    return (total / (n * n)).to(z.dtype)


def _weighted_similarity(x: Tensor, rule: RiskPairs) -> Tensor:
    """sum S W from the factors of W."""
    factors = rule.weights.factors()
    assert factors is not None
    u, v = factors
    both_views = x[: rule.n_samples] + x[rule.n_samples :]
    diagonal = (u * v).sum(1)
    return ((u.T @ both_views) * (v.T @ both_views)).sum() - (diagonal * both_views.square().sum(1)).sum()
