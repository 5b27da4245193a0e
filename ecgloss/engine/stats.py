"""What every backend computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RANGE_EPSILON = 1e-6  # in the min-max of the similarities; the value is the paper's code's


@dataclass(frozen=True)
class PairStats:
    """Row statistics of S = z z^T under a rule; all differentiable with respect to z and the temperature.

    Attributes:
        positive: (N,) s_ip = S_ip / tau, the similarity to the positive.
        negative_lse: (N,) log sum_k omega_ik exp(S_ik / tau) over the negatives of each row; -inf if all weigh 0.
        squared_error: 0-d, mean over all N^2 entries of (S^ - T)^2 with T = 1 - W; None when it was not asked for.
    """

    positive: Tensor
    negative_lse: Tensor
    squared_error: Tensor | None = None


def rescale(similarity: str, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """(a, m) with S^ = a (S - m): the identity for "cosine", the min-max over all N^2 entries for "minmax"."""
    if similarity == "cosine":
        return torch.ones_like(low), torch.zeros_like(low)
    return 1 / (high - low + RANGE_EPSILON), low
