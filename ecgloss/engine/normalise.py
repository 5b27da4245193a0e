"""Embeddings on the unit sphere, always in fp32 or wider: z^ = z / max(|z|, 1e-12)."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from ecgloss._transforms import needs_plain_torch
from ecgloss.pairs.weight_matrix import wide_dtype


def least_norm() -> float:
    """What a norm is cut to; a function, as torch.compile(dynamic=True) makes a variable of a module's float."""
    return 1e-12


def normalise(z: Tensor) -> Tensor:
    """Unit rows of z.

    Args:
        z: (N, D) embeddings; half precision is widened to fp32 first, where 1e-12 is not 0.

    Returns:
        (N, D) in fp32 (fp64 for fp64).
    """
    if needs_plain_torch():
        return _definition(z)
    unit: Tensor = _Normalise.apply(z)[0]
    return unit


def without_autocast(device_type: str) -> contextlib.AbstractContextManager[Any]:
    """No autocast for what follows; no context at all where there is none, which saves 10 microseconds."""
    if device_type != "meta" and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return contextlib.nullcontext()


def unit_rows(z: Tensor) -> tuple[Tensor, Tensor]:
    """z^ in fp32 or wider (..., N, D), and |z| (..., N, 1); squares are added in fp64, which holds those of 1e25."""
    wide = z if z.dtype == torch.float64 else z.float()
    norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True, dtype=wide_dtype(z.device)).to(wide.dtype)
    return wide / norm.clamp(min=least_norm()), norm


def _definition(z: Tensor) -> Tensor:
    """z^ of functions that have every derivative, also at rows of zeros."""
    wide = z if z.dtype == torch.float64 else z.float()
    squares = wide.to(wide_dtype(z.device)).square().sum(1, keepdim=True)
    return wide / squares.clamp(min=least_norm() ** 2).sqrt().to(wide.dtype)


class _Normalise(torch.autograd.Function):
    """:func:`unit_rows`. Its backward is plain torch on its own results, so that it can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> tuple[Tensor, Tensor]:
        unit, norm = unit_rows(z)
        ctx.save_for_backward(unit, norm)
        ctx.set_materialize_grads(False)
        ctx.dtype = z.dtype
        return unit, norm

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, g_norm: Tensor | None) -> Tensor | None:
        unit, norm = ctx.saved_tensors
        dz = None if g is None else through_sphere(g, unit, norm, ctx.dtype)
        if g_norm is None:  # always, but in a second derivative
            return dz
        along = g_norm * torch.where(norm < least_norm(), 0.0, unit)
        return along.to(ctx.dtype) if dz is None else dz + along.to(ctx.dtype)


def through_sphere(g: Tensor, unit: Tensor, norm: Tensor, dtype: torch.dtype) -> Tensor:
    """The gradient of z from that of its unit rows."""
    tiny = norm < least_norm()
    inward = (unit * g).sum(1, keepdim=True).masked_fill(tiny, 0.0)
    dz = torch.addcmul(g, unit, inward, value=-1) / norm.clamp(min=least_norm())
    if dtype == torch.float16:
        # A zero row's gradient is 1e12 times g, more than fp16 holds. Saturate those rows only: elsewhere an overflow
        # must stay visible to a gradient scaler.
        limit = torch.finfo(dtype).max
        dz = torch.where(tiny, dz.clamp(-limit, limit), dz)
    return dz.to(dtype)
