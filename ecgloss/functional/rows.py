"""From one loss per anchor to the loss of a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as torch_f
from torch import Tensor
from torch.distributed import ProcessGroup

from ecgloss import _validate
from ecgloss.engine import PairStats
from ecgloss.engine.distributed import gather_rows

REDUCTIONS = ("mean", "sum", "none")


class RowTerms(NamedTuple):
    """A loss with what it is made of.

    Attributes:
        loss: The loss: 0-d, or (N,) with ``reduction="none"``.
        rows: (N,) loss of every anchor, before weights; 0 where it does not count.
        counted: 0-d, how many anchors count.
        lse: (N,) log-sum-exp in the denominator of every anchor, differentiable.
    """

    loss: Tensor
    rows: Tensor
    counted: Tensor
    lse: Tensor

    @property
    def positive(self) -> Tensor:
        """(N,) what the loss of every anchor subtracts from ``lse``: s_ip where there is one positive.

        tau times its mean is then the mean similarity of positives, from the same pass.
        """
        return self.lse - self.rows


def check_reduction(reduction: str, weight: Tensor | None, counts: tuple[int, ...], like: Tensor) -> None:
    """A known reduction, and one weight per anchor or per sample (any of ``counts``).

    Raises:
        ValueError: for another reduction, shape, device, or for negative weights.
        TypeError: for weights that are no float tensor.
    """
    _validate.check_option("reduction", reduction, REDUCTIONS)
    if weight is None:
        return
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        got = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
        raise TypeError(f"weight must be a float tensor; got {got}")
    if weight.dim() != 1 or weight.shape[0] not in counts:
        shapes = " or ".join(f"({count},)" for count in dict.fromkeys(counts))
        raise ValueError(f"weight must have shape {shapes}; got {tuple(weight.shape)}")
    if weight.device != like.device:
        raise ValueError(f"weight must be on the device of the embeddings, {like.device}; got {weight.device}")
    if _validate.values_are_free(weight) and not bool(((weight >= 0) & torch.isfinite(weight)).all()):
        raise ValueError("weight must hold numbers of at least 0; got negative or infinite ones or NaN")


def log_add(a: Tensor, b: Tensor) -> Tensor:
    """log(e^a + e^b) of finite a; b may be -inf, where torch.logaddexp has a second derivative of NaN."""
    return a + torch_f.softplus(b - a, threshold=LINEAR)


LINEAR = 80  # from here on softplus(x) is x to fp64 rounding, and e^x is still a number of fp32


def single_positive(stats: PairStats) -> tuple[Tensor, Tensor]:
    """log(e^positive + e^negative_lse) - positive of every anchor with one positive, and its denominator; (N,) each."""
    positive, negative = stats.positive_lse, stats.negative_lse
    return -torch_f.logsigmoid(positive - negative), torch.logaddexp(positive, negative)  # softplus is cut off at 20


def gather_weight(weight: Tensor | None, samples: int, group: ProcessGroup | None) -> Tensor | None:
    """Weights of the anchors of all ranks, view after view; this one has ``samples`` per view."""
    if weight is None or group is None:
        return weight
    return torch.cat([gather_rows(part, group) for part in weight.split(samples)])


def reduce_rows(rows: Tensor, counts: Tensor | None, weight: Tensor | None, reduction: str, lse: Tensor) -> RowTerms:
    """The loss of a batch.

    Args:
        rows: (N,) loss of every anchor; 0 where it does not count.
        counts: (N,) bool, which anchors count; None: all.
        weight: (N,) weight of every anchor, or of every sample where the anchors are several views; None: 1.
        reduction: ``"mean"``: sum of weight * loss over sum of weights, of the anchors that count (0 if there are
            none); ``"sum"``; ``"none"``: weight * loss, (N,).
        lse: (N,) what :class:`RowTerms` holds.

    Returns:
        The loss and its terms.
    """
    counted = torch.full((), rows.shape[0], device=rows.device) if counts is None else counts.sum()
    if weight is not None:
        weight = weight.to(rows.dtype)
        weight = weight.repeat(rows.shape[0] // weight.shape[0])
    weighted = rows if weight is None else weight * rows
    if reduction == "none":
        return RowTerms(weighted, rows, counted, lse)
    total = weighted.sum()
    if reduction == "mean":
        if weight is None:
            total = total / counted.clamp(min=1)
        else:
            share = weight.sum() if counts is None else torch.where(counts, weight, 0.0).sum()
            total = total / torch.where(share > 0, share, 1.0)
    return RowTerms(total, rows, counted, lse)
