"""Embeddings on the unit sphere, always in fp32 or wider: z^ = z / max(|z|, 1e-12)."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

NORM_EPSILON = 1e-12

SECOND_DERIVATIVE = (
    "ecgloss losses have first derivatives only: the gradient of a loss cannot be differentiated again "
    "(call backward() or torch.autograd.grad without differentiating the result)"
)


def normalise(z: Tensor) -> Tensor:
    """Unit rows of z.

    Args:
        z: (N, D) embeddings; half precision is widened to fp32 first, where 1e-12 is not 0.

    Returns:
        (N, D) in fp32 (fp64 for fp64), whose gradient refuses to be differentiated.
    """
    unit: Tensor = _Normalise.apply(z)
    return unit


def without_autocast(device_type: str) -> contextlib.AbstractContextManager[Any]:
    """No autocast for what follows; no context at all where there is none, which saves 10 microseconds."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return contextlib.nullcontext()


def first_order(x: Tensor) -> Tensor:
    """x itself, whose gradient refuses to be differentiated, with a message that says so."""
    same: Tensor = _FirstOrder.apply(x)
    return same


def refuse_gradient(g: Tensor) -> Tensor:
    """g itself; differentiating it is an error that says so."""
    refused: Tensor = _Refuse.apply(g)
    return refused


def unit_rows(z: Tensor) -> tuple[Tensor, Tensor]:
    """z^ in fp32 or wider (N, D), and |z| (N, 1)."""
    wide = z if z.dtype == torch.float64 else z.float()
    norm = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    return wide / norm.clamp(min=NORM_EPSILON), norm


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        unit, norm = unit_rows(z)
        ctx.save_for_backward(unit, norm)
        ctx.dtype = z.dtype
        return unit

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        with torch.no_grad():
            unit, norm = ctx.saved_tensors
            dz = through_sphere(g, unit, norm, ctx.dtype)
        return refuse_gradient(dz.requires_grad_()) if torch.is_grad_enabled() else dz  # create_graph=True


def through_sphere(g: Tensor, unit: Tensor, norm: Tensor, dtype: torch.dtype) -> Tensor:
    """The gradient of z from that of its unit rows."""
    tiny = norm < NORM_EPSILON
    inward = torch.where(tiny, 0.0, (unit * g).sum(1, keepdim=True))
    dz = (g - unit * inward) / norm.clamp(min=NORM_EPSILON)
    # A zero row's gradient is 1e12 times g, more than fp16 holds. Saturate those rows only: elsewhere an overflow must
    # stay visible to a gradient scaler.
    limit = torch.finfo(dtype).max
    finite: Tensor = torch.where(tiny, dz.clamp(-limit, limit), dz).to(dtype)
    return finite


class _FirstOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return refuse_gradient(g)


class _Refuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor) -> Tensor:
        return g.view_as(g)

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Tensor:
        raise RuntimeError(SECOND_DERIVATIVE)
