"""Checks at the public boundary of the losses. Inside, everything trusts its input.

Shapes, dtypes and options are always checked. Values (NaN, ranges) are checked where looking is free: in eager mode on
CPU tensors. A CUDA tensor is looked at only on request (``check_finite=True``), because it would stall the stream.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from ecgloss._transforms import has_values, refuse_tracing

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def values_are_free(x: Tensor) -> bool:
    """Whether the values of ``x`` are there and can be looked at without a graph break or a device synchronisation."""
    return x.device.type == "cpu" and has_values(x)


def check_option(name: str, value: object, accepted: Collection[object]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``accepted``."""
    if value not in accepted:
        options = ", ".join(repr(option) for option in accepted)
        raise ValueError(f"{name} must be one of {options}; got {value!r}")


def check_number(name: str, value: float, *, low: float, high: float = float("inf"), open_low: bool = False) -> None:
    """Raise unless ``value`` is a real number in [low, high] (or (low, high] with ``open_low``)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number; got {type(value).__name__}")
    inside = low < value <= high if open_low else low <= value <= high
    if not inside or value == float("inf"):
        bracket = "(" if open_low else "["
        raise ValueError(f"{name} must lie in {bracket}{low:g}, {high:g}]; got {value!r}")


def check_views(z1: Tensor, z2: Tensor, *, check_finite: bool) -> None:
    """Two views of a batch: float tensors of one shape (B, D), dtype and device, with B >= 2 and D >= 1."""
    refuse_tracing()
    for name, z in (("z1", z1), ("z2", z2)):
        if not isinstance(z, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor; got {type(z).__name__}")
        if z.dtype not in FLOATS:
            raise TypeError(f"{name} must be float16, bfloat16, float32 or float64; got {z.dtype}")
        if z.dim() != 2:
            raise ValueError(f"{name} must have shape (B, D); got {tuple(z.shape)}")
    for what in ("shape", "dtype", "device"):
        first, second = getattr(z1, what), getattr(z2, what)
        if first != second:
            raise ValueError(f"z1 and z2 must have the same {what}; got {first} and {second}")
    batch, width = z1.shape
    if batch < 2:
        raise ValueError(f"z1 and z2 must hold at least 2 samples to compare; got B = {batch}")
    if width < 1:
        raise ValueError("z1 and z2 must have an embedding width D of at least 1; got D = 0")
    if check_finite:
        for name, z in (("z1", z1), ("z2", z2)):
            rows = (~torch.isfinite(z)).any(dim=1).nonzero().flatten().tolist()
            if rows:
                raise ValueError(f"{name} has NaN or infinite values in {len(rows)} rows: {_shorten(rows)}")


def check_matrix(name: str, z: Tensor) -> None:
    """Rows of embeddings: a float tensor (N, D) with N >= 1 and D >= 1."""
    refuse_tracing()
    if not isinstance(z, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor; got {type(z).__name__}")
    if z.dtype not in FLOATS:
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64; got {z.dtype}")
    if z.dim() != 2 or z.shape[0] < 1 or z.shape[1] < 1:
        raise ValueError(f"{name} must have shape (N, D) with N >= 1 and D >= 1; got {tuple(z.shape)}")


def check_temperature(temperature: float | Tensor) -> None:
    """A positive float, or a floating 0-d tensor (whose sign is looked at where that is free)."""
    if isinstance(temperature, Tensor):
        if temperature.dim() != 0 or not temperature.is_floating_point():
            raise ValueError(
                "temperature must be a positive float or a 0-d floating tensor; "
                f"got shape {tuple(temperature.shape)}, dtype {temperature.dtype}"
            )
        if values_are_free(temperature):
            check_number("temperature", temperature.item(), low=0.0, open_low=True)
    else:
        check_number("temperature", temperature, low=0.0, open_low=True)


def as_tensor(x: Any, like: Tensor) -> Any:
    """A copy on the device of ``like`` of what is an array, such as NumPy's or a column of pandas; else x itself."""
    if isinstance(x, Tensor) or not hasattr(x, "__array__"):
        return x
    return torch.tensor(x.__array__(), device=like.device)


def check_risk(risk: Tensor, z1: Tensor, *, nan_risk: str, name: str = "risk") -> None:
    """Risk scores: (B,) or (B, K), real numbers, no gradient, on the device of the embeddings."""
    _check_side(name, risk, z1, dims=(1, 2))
    if risk.dim() == 2 and risk.shape[1] == 0:
        raise ValueError(f"{name} must have at least one column; got shape {tuple(risk.shape)}")
    if values_are_free(risk) and risk.is_floating_point() and _has_infinite(risk):
        raise ValueError(f"{name} must not be infinite (NaN marks an unknown risk)")
    if nan_risk == "raise" and risk.is_floating_point():
        unknown = torch.isnan(risk.reshape(risk.shape[0], -1)).any(dim=1).nonzero().flatten().tolist()
        if unknown:
            raise ValueError(
                f"{name} is NaN for {len(unknown)} samples: {_shorten(unknown)}; "
                'pass nan_risk="neutral" or "zero" to accept unknown risks'
            )


def check_missing(missing: Tensor, z1: Tensor, n_attributes: int | None) -> None:
    """Missing inputs per sample: a fraction in [0, 1], or a count out of ``n_attributes``."""
    _check_side("missing", missing, z1, dims=(1,))
    if n_attributes is None:
        if not missing.is_floating_point():
            raise TypeError(
                f"missing holds counts ({missing.dtype}); pass n_attributes, the number of inputs they are counted "
                "out of, or pass fractions in [0, 1]"
            )
    elif isinstance(n_attributes, bool) or not isinstance(n_attributes, int) or n_attributes < 1:
        raise ValueError(f"n_attributes must be a positive int; got {n_attributes!r}")
    if values_are_free(missing):
        top = 1 if n_attributes is None else n_attributes
        bad = ~((missing >= 0) & (missing <= top))
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            what = "fractions in [0, 1]" if n_attributes is None else f"counts in [0, n_attributes = {top}]"
            raise ValueError(f"missing must hold {what}; got {missing[row].item()!r} at row {row}")


def _has_infinite(x: Tensor) -> bool:
    """Whether any value is infinite; a finite sum, which is quicker to look at, says no."""
    return not math.isfinite(x.sum().item()) and bool(torch.isinf(x).any())


def _check_side(name: str, x: Tensor, z1: Tensor, dims: tuple[int, ...]) -> None:
    """What risk and missing have in common."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor; got {type(x).__name__}")
    if x.is_complex() or x.dtype == torch.bool:
        raise TypeError(f"{name} must hold real numbers; got {x.dtype}")
    if x.dim() not in dims or x.shape[0] != z1.shape[0]:
        shapes = " or ".join(f"({z1.shape[0]},{' K' if d == 2 else ''})" for d in dims)
        raise ValueError(f"{name} must have shape {shapes}, one row per sample; got {tuple(x.shape)}")
    if x.device != z1.device:
        raise ValueError(f"{name} must be on the device of z1, {z1.device}; got {x.device}")
    if x.requires_grad:
        raise ValueError(f"{name} is data, no gradient flows to it; pass {name}.detach()")


def _shorten(rows: list[int]) -> str:
    """The first few row numbers, so that a message stays one line."""
    return ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
