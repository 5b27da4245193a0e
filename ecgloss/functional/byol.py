"""BYOL: predict the other view's target embedding; no negatives."""

from __future__ import annotations

from torch import Tensor

from ecgloss import _validate
from ecgloss.engine.matched_rows import row_distances
from ecgloss.functional.rows import check_reduction, reduce_rows


def byol(p: Tensor, z: Tensor, *, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """Regression loss of BYOL (arXiv 2006.07733, equation 2): the mean of 2 - 2 cos(p_i, z_i).

    The symmetric loss is the mean of both directions, ``(byol(p1, z2) + byol(p2, z1)) / 2``, which
    :class:`ecgloss.BYOLLoss` computes. (The authors add the two up.)

    Args:
        p: (B, D) predictions of the online network, any float dtype.
        z: (B, D) projections of the target network, of the other view. No gradient flows to them.
        weight: (B,) weights of the rows.
        reduction: ``"mean"`` (by the weights), ``"sum"`` or ``"none"``: (B,).

    Returns:
        The loss, a 0-d fp32 tensor (fp64 for fp64 embeddings) in [0, 4].

    Raises:
        ValueError: for shapes, devices or options that are not accepted, naming the argument.
        TypeError: for wrong types or dtypes.

    Example:
        >>> import torch
        >>> p, z = torch.eye(2), torch.tensor([[2.0, 0.0], [1.0, 0.0]])
        >>> byol(p, z, reduction="none")
        tensor([0., 2.])
    """
    _validate.check_matrix("p", p)
    _validate.check_matrix("z", z)
    if p.shape != z.shape or p.device != z.device:
        expected, got = (f"{tuple(x.shape)} on {x.device}" for x in (p, z))
        raise ValueError(f"z must have the shape and device of p, {expected}; got {got}")
    check_reduction(reduction, weight, (p.shape[0],), p)
    rows = row_distances(p, z.detach())
    return reduce_rows(rows, None, weight, reduction, rows).loss
