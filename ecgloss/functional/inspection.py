"""Small matrices to look at: these two do store N x N."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgloss import _validate
from ecgloss.engine.normalise import normalise
from ecgloss.functional.clef_options import ClefOptions
from ecgloss.pairs import RiskWeights


def risk_weights(
    risk: Tensor,
    missing: Tensor | None = None,
    *,
    alpha: float = 0.2,
    risk_scale: float | str = "minmax",
    risk_power: int = 2,
    reliability: str | None = "multiply",
    nan_risk: str = "neutral",
    n_attributes: int | None = None,
) -> Tensor:
    """The matrix W of the CLEF loss, stored: for plots and debugging, not for training.

    Args:
        risk: (B,) or (B, K) risk scores, NaN = unknown.
        missing: (B,) fraction of missing inputs, or counts with ``n_attributes``.
        alpha: Minimum dissimilarity in [0, 1].
        risk_scale: ``"minmax"`` or a fixed positive scale.
        risk_power: q, 2 or 1.
        reliability: ``"multiply"``, ``"revert"`` or None.
        nan_risk: ``"neutral"``, ``"zero"`` or ``"raise"``.
        n_attributes: What integer ``missing`` is counted out of.

    Returns:
        (B, B) weights, symmetric, 0 on the diagonal, in the widest dtype of the device.

    Raises:
        ValueError: for shapes, ranges or options that are not accepted, naming the argument.
        TypeError: for wrong types or dtypes.

    Example:
        >>> risk_weights(torch.tensor([0.0, 0.1, 0.2]))[0]  # alpha + (1 - alpha) / 4, and 1
        tensor([0.0000, 0.4000, 1.0000], dtype=torch.float64)
    """
    ClefOptions(
        alpha=alpha, risk_scale=risk_scale, risk_power=risk_power, reliability=reliability, nan_risk=nan_risk
    )  # checks
    _validate.check_risk(risk, risk, nan_risk=nan_risk)
    if missing is not None:
        _validate.check_missing(missing, risk, n_attributes)
    weights = RiskWeights.of(
        risk,
        missing,
        alpha=alpha,
        risk_scale=risk_scale,
        risk_power=risk_power,
        reliability=reliability,
        nan_risk=nan_risk,
        n_attributes=n_attributes,
    )
    return weights.matrix.tile(torch.arange(weights.n_samples, device=risk.device), weights.values.dtype)


def similarity_matrix(q: Tensor, k: Tensor | None = None) -> Tensor:
    """Cosine similarities S = q^ k^T, stored: for plots and debugging, not for training.

    Args:
        q: (N, D) embeddings, any float dtype.
        k: (M, D) embeddings; None: q.

    Returns:
        (N, M) in fp32 or wider, differentiable.

    Raises:
        ValueError: for shapes that do not fit.
        TypeError: for embeddings that are no float tensors.

    Example:
        >>> similarity_matrix(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        tensor([[1.0000, 0.8000],
                [0.8000, 1.0000]])
    """
    _validate.check_matrix("q", q)
    rows = normalise(q)
    if k is None:
        return rows @ rows.T
    _validate.check_matrix("k", k)
    if k.shape[1] != q.shape[1]:
        raise ValueError(f"k must have the width of q, {q.shape[1]}; got {k.shape[1]}")
    return rows @ normalise(k).T
