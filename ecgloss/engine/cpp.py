"""The ops on a CPU: allocates outputs and buffers, and calls the C++ kernels, which check all they are given."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import torch
from torch import Tensor

from ecgloss.engine.ops import dtype_of, sizes_of

PANEL = 48  # rows of a panel, as in csrc/panel.h
SCALARS = 18  # numbers of the batch, as in csrc/buffers.h


def forward(
    q: Tensor,
    q2: Tensor | None,
    k: Tensor | None,
    temperature: Tensor,
    values: Tensor | None,
    column_values: Tensor | None,
    missing: Tensor | None,
    row_labels: Tensor | None,
    column_labels: Tensor | None,
    code: list[int],
    numbers: list[float],
    layout: list[int],
    alignment: int,
    term_weights: list[float],
) -> tuple[Tensor, ...]:
    """The op on a CPU; arguments and results as :func:`ecgloss.engine.ops.run` has them."""
    sizes = sizes_of(q, q2, k)
    outputs = _empty_outputs(q, sizes, k is None)
    _kernels("forward", outputs[0].dtype)(
        _widened(q),
        _widened(q2),
        _widened(k),
        _contiguous(values),
        _contiguous(column_values),
        _contiguous(missing),
        _contiguous(row_labels),
        _contiguous(column_labels),
        *outputs,
        code,
        numbers,
        layout,
        temperature.item(),
        alignment,
        term_weights,
        torch.get_num_threads(),
    )
    return outputs


def forward_shapes(q: Tensor, q2: Tensor | None, k: Tensor | None, *_: Any) -> tuple[Tensor, ...]:
    """The tensors that the forward returns, uninitialised."""
    return _empty_outputs(q, sizes_of(q, q2, k), k is None)


def backward(
    g_loss: Tensor | None,
    g_contrastive: Tensor | None,
    g_alignment: Tensor | None,
    g_rows: Tensor | None,
    packed: Tensor,
    saved: Tensor,
    temperature: Tensor,
    values: Tensor | None,
    column_values: Tensor | None,
    missing: Tensor | None,
    row_labels: Tensor | None,
    column_labels: Tensor | None,
    code: list[int],
    numbers: list[float],
    layout: list[int],
    alignment: int,
    term_weights: list[float],
    sizes: list[int],
    q_dtype: str,
    k_dtype: str,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    """Gradients for q, q2, k and the temperature; without rows where one is not ``wanted``."""
    n, _, m, width = sizes
    q_type, k_type = dtype_of(q_dtype), dtype_of(k_dtype)
    g_rows = _contiguous(g_rows)
    outer = _number(g_loss)  # reaches both terms
    outputs = _empty_gradients(packed, sizes, wanted, packed.dtype, packed.dtype)
    dq_unit = packed.new_empty(_padded(n) * width)  # of the unit rows
    dk_unit = packed.new_empty(_padded(m) * width) if wanted[2] else None
    dtemperature = _kernels("backward", packed.dtype)(
        g_rows,
        _number(g_contrastive) + outer * term_weights[0],
        _number(g_alignment) + outer * term_weights[1],
        packed,
        saved,
        _contiguous(values),
        _contiguous(column_values),
        _contiguous(missing),
        _contiguous(row_labels),
        _contiguous(column_labels),
        dq_unit,
        dk_unit,
        *(x if wants else None for x, wants in zip(outputs, wanted)),
        sizes,
        code,
        numbers,
        layout,
        temperature.item(),
        alignment,
        torch.get_num_threads(),
        wanted[3],
        [torch.finfo(q_type).max, torch.finfo(k_type).max],
    )
    dq, dq2, dk = outputs
    if q_type != dq.dtype:
        dq, dq2 = dq.to(q_type), dq2.to(q_type)
    if k_type != dk.dtype:
        dk = dk.to(k_type)
    return dq, dq2, dk, temperature.new_full((), dtemperature)


def backward_shapes(*arguments: Any) -> tuple[Tensor, ...]:
    """The tensors that the backward returns, uninitialised."""
    packed, temperature = arguments[4], arguments[6]
    sizes, q_dtype, k_dtype, wanted = arguments[-4:]
    return (*_empty_gradients(packed, sizes, wanted, dtype_of(q_dtype), dtype_of(k_dtype)), temperature.new_empty(()))


def _padded(n: int) -> int:
    """n, padded to whole panels."""
    return (n + PANEL - 1) // PANEL * PANEL


def _empty_outputs(q: Tensor, sizes: list[int], square: bool) -> tuple[Tensor, ...]:
    """Loss, L_w, L_d (0-d), row statistics (4, N), and the buffers packed and saved, laid out in csrc/buffers.h."""
    n, _, m, width = sizes
    padded = _padded(n) + (0 if square else _padded(m))
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    packed = q.new_empty(padded * (width + 1), dtype=dtype)
    saved = q.new_empty(4 * n + 2 * (_padded(n) // PANEL) + SCALARS, dtype=torch.float64)
    loss, contrastive, aligned = packed.new_empty(()), packed.new_empty(()), packed.new_empty(())
    return loss, contrastive, aligned, packed.new_empty(4, n), packed, saved


def _empty_gradients(
    packed: Tensor, sizes: list[int], wanted: list[bool], q_type: torch.dtype, k_type: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """For q, q2 and k; no rows where none is wanted."""
    n, first, m, width = sizes
    return (
        packed.new_empty(first if wanted[0] else 0, width, dtype=q_type),
        packed.new_empty(n - first if wanted[1] else 0, width, dtype=q_type),
        packed.new_empty(m if wanted[2] else 0, width, dtype=k_type),
    )


def _widened(x: Tensor | None) -> Tensor | None:
    """x contiguous, in fp32 or fp64."""
    if x is None:
        return None
    return _contiguous(x if x.dtype in (torch.float32, torch.float64) else x.float())


def _contiguous(x: Tensor | None) -> Tensor | None:
    """x in memory as it is: contiguous, and not negated only when it is read (``torch.Tensor.is_neg``)."""
    if x is None:
        return None
    return (x.resolve_neg() if x.is_neg() else x).contiguous()


def _number(x: Tensor | None) -> float:
    return 0.0 if x is None else x.item()


@functools.cache
def _kernels(name: str, dtype: torch.dtype) -> Any:
    """The function of the extension for a pass and a dtype."""
    suffix = "double" if dtype == torch.float64 else "single"
    return getattr(importlib.import_module("ecgloss._C"), f"{name}_{suffix}")
