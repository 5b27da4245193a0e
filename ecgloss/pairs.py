"""Rules: what relates row i of a batch to row k, told from O(N) side information only.

A rule never stores N x N; an engine asks it for blocks of rows (all columns at once). Rows 0..B-1 are the first views,
rows B..2B-1 the second views of the same B samples; the positive of row i is p(i) = (i + B) mod N.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ecgloss.weights import RiskWeights

WEIGHT_NORMS = ("none", "mean", "softmax")


@dataclass(frozen=True)
class ViewPairs:
    """Two views per sample; every row that is not the same sample is a negative of weight 1 (NT-Xent, SimCLR).

    Attributes:
        n_samples: B.

    Example:
        >>> ViewPairs(3).partner(torch.arange(6)).tolist()
        [3, 4, 5, 0, 1, 2]
    """

    n_samples: int

    @property
    def n_rows(self) -> int:
        """N = 2B."""
        return 2 * self.n_samples

    def partner(self, rows: Tensor) -> Tensor:
        """The positive p(i) of each row, shape (R,)."""
        return (rows + self.n_samples) % self.n_rows

    def same_sample(self, rows: Tensor) -> Tensor:
        """Columns that are no negatives, itself and its positive: (R, 2)."""
        return torch.stack([rows, self.partner(rows)], dim=1)

    def log_weight(self, rows: Tensor, dtype: torch.dtype) -> Tensor | None:
        """log omega of the rows against all columns, (R, N), normalised; None where omega = 1 everywhere."""
        return None


@dataclass(frozen=True)
class RiskPairs(ViewPairs):
    """Two views per sample; negatives weigh by the dissimilarity of the patients' risks (CLEF).

    ``omega_ik`` is W_ik, W_ik over its mean across the negatives of row i, or the softmax of row i of W over all N
    columns, self and positive included (there W = 0).

    Attributes:
        weights: The description of W.
        norm: ``"none"``, ``"mean"`` or ``"softmax"``.
    """

    weights: RiskWeights
    norm: str

    def weight(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """W_b(i)b(k) of the rows against all columns, (R, N); 0 for the same sample."""
        tile = self.weights.tile(rows % self.n_samples, dtype)
        return torch.cat([tile, tile], dim=1)

    def log_weight(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """log omega, (R, N). Columns of the same sample hold no meaning."""
        samples = rows % self.n_samples
        tile = self.weights.tile(samples, dtype)
        if self.norm == "softmax":
            log_weight = tile - (torch.logsumexp(tile, dim=1, keepdim=True) + math.log(2))
        elif self.norm == "mean":
            if self.weights.alpha == 0:  # all risks equal and no floor: 0 / 0, whose limit is weight 1
                tile = tile + self.weights.all_equal.to(dtype)
                tile.scatter_(1, samples[:, None], 0.0)
            log_weight = torch.log(tile) - torch.log(tile.sum(1, keepdim=True) / (self.n_samples - 1))
        else:
            log_weight = torch.log(tile)
        return torch.cat([log_weight, log_weight], dim=1)


def risk_pairs(weights: RiskWeights, norm: str) -> RiskPairs:
    """The CLEF rule for one batch.

    Example:
        >>> from ecgloss.weights import risk_weights
        >>> rule = risk_pairs(risk_weights(torch.tensor([0.0, 0.1, 0.2])), norm="none")
        >>> rule.log_weight(torch.tensor([0]), torch.float32).exp().shape
        torch.Size([1, 6])
    """
    return RiskPairs(n_samples=weights.n_samples, weights=weights, norm=norm)
