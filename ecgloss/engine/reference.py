"""The definition: every N x N matrix materialised, gradients by plain autograd. Slow, large, and the oracle.

S = z z^T, s = S / tau, omega and W from the rule, T = 1 - W; nothing is rearranged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecgloss.engine.stats import PairStats, rescale
from ecgloss.pairs import RiskPairs, ViewPairs


def pair_stats(z: Tensor, tau: Tensor, rule: ViewPairs, *, similarity: str | None) -> PairStats:
    """Statistics of normalised embeddings.

    Args:
        z: (N, D) normalised rows, fp32 or fp64.
        tau: 0-d temperature of the same dtype.
        rule: What relates two rows.
        similarity: ``"cosine"`` or ``"minmax"`` to ask for the squared error, else None.

    Returns:
        The statistics.
    """
    rows = torch.arange(rule.n_rows, device=z.device)
    similarities = z @ z.T  # (N, N)
    logits = similarities / tau
    weighted = logits
    log_weight = rule.log_weight(rows, z.dtype)
    if log_weight is not None:
        weighted = logits + log_weight
    same = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, rule.same_sample(rows), True)
    weighted = weighted.masked_fill(same, -torch.inf)
    empty = torch.isneginf(weighted).all(dim=1)  # all negatives weigh 0: log 0, with gradient 0 and not 0 / 0
    negative_lse = torch.logsumexp(weighted.masked_fill(empty[:, None], 0.0), dim=1).masked_fill(empty, -torch.inf)
    positive = logits.gather(1, rule.partner(rows)[:, None])[:, 0]
    if similarity is None:
        return PairStats(positive, negative_lse)
    assert isinstance(rule, RiskPairs)
    a, m = rescale(similarity, similarities.min(), similarities.max())
    target = 1 - rule.weight(rows, z.dtype)
    return PairStats(positive, negative_lse, (a * (similarities - m) - target).square().mean())
