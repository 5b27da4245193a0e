"""Reconstruction that looks at the waves: the second and third term of PhysioCLR."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ecgloss import _validate
from ecgloss._transforms import refuse_tracing


def peak_aware_mse(
    x_hat: Tensor, x: Tensor, peak_mask: Tensor, *, global_weight: float = 0.2, peak_weight: float = 0.1
) -> Tensor:
    """The reconstruction terms of PhysioCLR (arXiv 2509.08116): a MSE(x^, x) + b MSE over samples of P, QRS and T.

    Args:
        x_hat: (..., T) reconstructed signals.
        x: (..., T) signals.
        peak_mask: (..., T) bool, or a shape that broadcasts to it: samples inside P, QRS or T. Without any, the second
            term is 0.
        global_weight: a >= 0.
        peak_weight: b >= 0.

    Returns:
        0-d, fp32 or wider.

    Raises:
        ValueError: for shapes that differ or negative weights.
        TypeError: for signals that are no float tensors or a mask that is not bool.

    Example:
        >>> x, mask = torch.zeros(1, 4), torch.tensor([[True, False, False, True]])
        >>> round(peak_aware_mse(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), x, mask).item(), 4)  # 0.2 / 4 + 0.1 / 2
        0.1
    """
    refuse_tracing()
    _validate.check_number("global_weight", global_weight, low=0.0)
    _validate.check_number("peak_weight", peak_weight, low=0.0)
    for name, signal in (("x_hat", x_hat), ("x", x), ("peak_mask", peak_mask)):
        if not isinstance(signal, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor; got {type(signal).__name__}")
        if name != "peak_mask" and signal.dtype not in _validate.FLOATS:
            raise TypeError(f"{name} must be float16, bfloat16, float32 or float64; got {signal.dtype}")
    if x_hat.shape != x.shape:
        raise ValueError(f"x_hat must have the shape of x, {tuple(x.shape)}; got {tuple(x_hat.shape)}")
    if peak_mask.dtype != torch.bool:
        raise TypeError(f"peak_mask must be bool; got {peak_mask.dtype}")
    try:
        mask = peak_mask.expand(x.shape)
    except RuntimeError as error:
        raise ValueError(f"peak_mask must broadcast to {tuple(x.shape)}; got {tuple(peak_mask.shape)}") from error
    sums = squared_errors(x_hat, x, mask)
    return global_weight * sums.all / mask.numel() + peak_weight * sums.peaks / sums.peak_samples.clamp(min=1)


class SquaredErrors(NamedTuple):
    """Sums over a batch, 0-d each: of all samples, of those inside waves, and how many these are."""

    all: Tensor
    peaks: Tensor
    peak_samples: Tensor


def squared_errors(x_hat: Tensor, x: Tensor, peak_mask: Tensor) -> SquaredErrors:
    """What :func:`peak_aware_mse` is made of, before it divides: sums that can be added over processes."""
    wide = torch.promote_types(torch.promote_types(x_hat.dtype, x.dtype), torch.float32)
    squares = (x_hat.to(wide) - x.to(wide)).square()  # the difference of half-precision signals needs more digits
    mask = peak_mask.expand(x.shape)
    return SquaredErrors(squares.sum(), torch.where(mask, squares, 0.0).sum(), mask.sum())
