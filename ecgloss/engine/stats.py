"""What every backend computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RANGE_EPSILON = 1e-6  # in the min-max of the similarities; the value is the paper's code's


@dataclass(frozen=True)
class PairStats:
    """Row statistics of s = S / tau under a rule, S = q k^T; differentiable with respect to q, k and the temperature.

    With w the weights of a row's positives and omega those of its negatives. Where the layout has a single positive
    column p, ``positive_sum = positive_lse = s_ip`` and the count is 1. A row without positives (negatives) has no
    gradient through their log-sum-exp.

    Attributes:
        positive_sum: (N,) sum_k w_ik s_ik over the positives of each row; 0 without positives.
        positive_lse: (N,) log sum_k w_ik exp(s_ik) over the positives; -inf without positives.
        positive_count: (N,) sum_k w_ik, without gradient.
        negative_lse: (N,) log sum_k omega_ik exp(s_ik) over the negatives; -inf if there are none or all weigh 0.
        squared_error: 0-d, mean over all N^2 entries of (S^ - T)^2 with T = 1 - W; None when it was not asked for.
    """

    positive_sum: Tensor
    positive_lse: Tensor
    positive_count: Tensor
    negative_lse: Tensor
    squared_error: Tensor | None = None


def rescale(similarity: str, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """(a, m) with S^ = a (S - m): the identity for "cosine", the min-max over all N^2 entries for "minmax"."""
    if similarity == "cosine":
        return torch.ones_like(low), torch.zeros_like(low)
    return 1 / (high - low + RANGE_EPSILON), low
