"""What every backend computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as torch_f
from torch import Tensor

from ecgloss.pairs import Layout, Relations

RANGE_EPSILON = 1e-6  # in the min-max of the similarities; the value is the paper's code's


@dataclass(frozen=True)
class PairStats:
    """Row statistics of s = S / tau under a rule, S = q k^T; differentiable with respect to q, k and the temperature.

    With w the weights of a row's positives and omega those of its negatives. Where the layout has a single positive
    column p, ``positive_sum = positive_lse = s_ip`` and the count is 1. A row without positives (negatives) has no
    gradient through their log-sum-exp.

    Attributes:
        rows: positive_sum, positive_lse, positive_count, negative_lse, (4, N) or four times (N,).
        alignment: 0-d L_d, the mean over all N^2 entries of (S^ - T)^2 with T = 1 - W; None where it was not asked for.
        fused_contrastive: 0-d L_w where a backend has computed it along with the rest, else None.
        term_weights: The weights of L_w and L_d for which a backend has computed the loss as well.
        fused_loss: 0-d, that loss.
    """

    rows: Tensor | tuple[Tensor, Tensor, Tensor, Tensor]
    alignment: Tensor | None = None
    fused_contrastive: Tensor | None = None
    term_weights: tuple[float, float] | None = None
    fused_loss: Tensor | None = None

    @property
    def positive_sum(self) -> Tensor:
        """(N,) sum_k w_ik s_ik over the positives of each row; 0 without positives."""
        return self.rows[0]

    @property
    def positive_lse(self) -> Tensor:
        """(N,) log sum_k w_ik exp(s_ik) over the positives; -inf without positives."""
        return self.rows[1]

    @property
    def positive_count(self) -> Tensor:
        """(N,) sum_k w_ik, without gradient."""
        return self.rows[2].detach()

    @property
    def negative_lse(self) -> Tensor:
        """(N,) log sum_k omega_ik exp(s_ik) over the negatives; -inf if there are none or all weigh 0."""
        return self.rows[3]

    def contrastive(self) -> Tensor:
        """L_w = mean_i [ log(e^positive_lse + e^negative_lse) - positive_lse ], 0-d, stable for any temperature."""
        if self.fused_contrastive is not None:
            return self.fused_contrastive
        return -torch_f.logsigmoid(self.positive_lse - self.negative_lse).mean()

    def loss(self, contrastive_weight: float = 1.0, alignment_weight: float = 0.0) -> Tensor:
        """contrastive_weight * L_w + alignment_weight * L_d, 0-d."""
        if self.fused_loss is not None and self.term_weights == (contrastive_weight, alignment_weight):
            return self.fused_loss
        loss = _scaled(self.contrastive(), contrastive_weight)
        return loss if self.alignment is None else loss + _scaled(self.alignment, alignment_weight)


def without_empty(lse: Tensor) -> Tensor:
    """inf for -inf: a row whose columns all weigh 0 has no gradient, exp(-inf - inf) = 0."""
    return torch.where(lse == -torch.inf, torch.inf, lse)


def may_be_empty(layout: Layout, relations: Relations) -> bool:
    """Whether a row can be without negatives that weigh anything."""
    return relations.log_weight is not None or relations.negative is not None or layout.n_compared == 0


def _scaled(term: Tensor, weight: float) -> Tensor:
    """weight * term, without an operation where the weight is 1."""
    return term if weight == 1.0 else weight * term


def stretch_and_start(alignment: str, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """(a, m) with S^ = a (S - m): the identity for "cosine", the min-max over all N^2 entries for "minmax"."""
    if alignment == "cosine":
        return torch.ones_like(low), torch.zeros_like(low)
    return 1 / (high - low + RANGE_EPSILON), low
