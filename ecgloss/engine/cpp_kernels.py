"""Tensors to addresses: how the C++ kernels are called, and the buffers they fill."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

PANEL = 48  # rows, as in csrc/problem.h
SCALARS = 14  # of csrc/engine.h


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
    rule: list[int],
    numbers: list[float],
    layout: list[int],
    similarity: int,
    term_weights: list[float],
    engine: str,
) -> tuple[Tensor, ...]:
    """The op on a CPU; arguments and results as :func:`ecgloss.engine.ops.run` has them."""
    outputs = _empty_outputs(q, q2, k)
    panels, saved = outputs[-2:]
    sizes = sizes_of(q, q2, k)
    inputs = [None if x is None else _widened(x) for x in (q, q2, k)]
    side = [_contiguous(x) for x in (values, column_values, missing, row_labels, column_labels)]
    extension = _extension()
    compute = extension.forward_double if panels.dtype == torch.float64 else extension.forward_single
    compute(
        extension.Sizes(*sizes),
        [_address(x) for x in inputs],
        *_parts(panels, sizes),
        [*(x.data_ptr() for x in outputs[:4]), *_saved_parts(saved, sizes[0])],
        layout,
        rule,
        numbers,
        [_address(x) for x in side],
        temperature.item(),
        similarity,
        term_weights,
        torch.get_num_threads(),
    )
    return outputs


def forward_shapes(q: Tensor, q2: Tensor | None, k: Tensor | None, *_: Any) -> tuple[Tensor, ...]:
    """What the forward returns, without values."""
    return _empty_outputs(q, q2, k)


def backward(
    g_loss: Tensor | None,
    g_cross_entropy: Tensor | None,
    g_error: Tensor | None,
    g_rows: Tensor | None,
    panels: Tensor,
    saved: Tensor,
    temperature: Tensor,
    values: Tensor | None,
    column_values: Tensor | None,
    missing: Tensor | None,
    row_labels: Tensor | None,
    column_labels: Tensor | None,
    rule: list[int],
    numbers: list[float],
    layout: list[int],
    similarity: int,
    term_weights: list[float],
    engine: str,
    sizes: list[int],
    q_dtype: torch.dtype,
    k_dtype: torch.dtype,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    """Gradients for q, q2, k and the temperature; empty where ``wanted`` says no."""
    n, _, m, width = sizes
    g_rows = _contiguous(g_rows)
    g_terms = [_number(g_cross_entropy) + _number(g_loss) * term_weights[0]]
    g_terms += [_number(g_error) + _number(g_loss) * term_weights[1]]
    side = [_contiguous(x) for x in (values, column_values, missing, row_labels, column_labels)]
    outputs = _empty_gradients(panels, sizes, wanted, panels.dtype, panels.dtype)
    q_sum = panels.new_zeros(_padded(n) * width)
    k_sum = panels.new_zeros(_padded(m) * width) if wanted[2] else None
    extension = _extension()
    compute = extension.backward_double if panels.dtype == torch.float64 else extension.backward_single
    dtemperature = compute(
        extension.Sizes(*sizes),
        _address(g_rows),
        *g_terms,
        *_parts(panels, sizes),
        _saved_parts(saved, n),
        [q_sum.data_ptr(), _address(k_sum)],
        [x.data_ptr() if wants else 0 for x, wants in zip(outputs, wanted)],
        layout,
        rule,
        numbers,
        [_address(x) for x in side],
        temperature.item(),
        similarity,
        torch.get_num_threads(),
        wanted[3],
        (torch.finfo(q_dtype).max, torch.finfo(k_dtype).max),
    )
    dq, dq2, dk = outputs
    if q_dtype != dq.dtype:
        dq, dq2 = dq.to(q_dtype), dq2.to(q_dtype)
    if k_dtype != dk.dtype:
        dk = dk.to(k_dtype)
    return dq, dq2, dk, temperature.new_full((), dtemperature)


def backward_shapes(*arguments: Any) -> tuple[Tensor, ...]:
    """What the backward returns, without values."""
    panels, temperature = arguments[4], arguments[6]
    sizes, q_dtype, k_dtype, wanted = arguments[-4:]
    return (*_empty_gradients(panels, sizes, wanted, q_dtype, k_dtype), temperature.new_empty(()))


def sizes_of(q: Tensor, q2: Tensor | None, k: Tensor | None) -> list[int]:
    """Rows of q with q2, of q alone, of k (of q where k is q), and the width."""
    n = q.shape[0] if q2 is None else q.shape[0] + q2.shape[0]
    return [n, q.shape[0], n if k is None else k.shape[0], q.shape[1]]


def _padded(n: int) -> int:
    """Rows in whole panels."""
    return (n + PANEL - 1) // PANEL * PANEL


def _empty_outputs(q: Tensor, q2: Tensor | None, k: Tensor | None) -> tuple[Tensor, ...]:
    n, _, m, width = sizes_of(q, q2, k)
    padded = _padded(n) + (0 if k is None else _padded(m))
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    panels = q.new_empty(padded * (width + 1), dtype=dtype)
    saved = q.new_empty(4 * n + 2 * (_padded(n) // PANEL) + SCALARS, dtype=torch.float64)
    loss, entropy, error = panels.new_empty(()), panels.new_empty(()), panels.new_empty(())
    return loss, entropy, error, panels.new_empty(4, n), panels, saved


def _empty_gradients(
    panels: Tensor, sizes: list[int], wanted: list[bool], q_dtype: torch.dtype, k_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """For q, q2 and k; no rows where none is wanted."""
    n, first, m, width = sizes
    return (
        panels.new_empty(first if wanted[0] else 0, width, dtype=q_dtype),
        panels.new_empty(n - first if wanted[1] else 0, width, dtype=q_dtype),
        panels.new_empty(m if wanted[2] else 0, width, dtype=k_dtype),
    )


def _parts(panels: Tensor, sizes: list[int]) -> tuple[list[int], list[int]]:
    """Addresses of the panels and of the norms of q and k; those of k lie behind the end where k is q."""
    n, _, _, width = sizes
    size = panels.element_size()
    q_panels, rows = panels.data_ptr(), _padded(n)
    k_panels = q_panels + rows * width * size
    norms = q_panels + panels.numel() // (width + 1) * width * size
    return [q_panels, k_panels], [norms, norms + rows * size]


def _saved_parts(saved: Tensor, n: int) -> list[int]:
    """Addresses of the rows' sums, the blocks' extremes and the scalars."""
    start = saved.data_ptr()
    return [start, start + 32 * n, start + 32 * n + 16 * (_padded(n) // PANEL)]


def _widened(x: Tensor) -> Tensor:
    return (x if x.dtype in (torch.float32, torch.float64) else x.float()).contiguous()


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _number(x: Tensor | None) -> float:
    return 0.0 if x is None else x.item()


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _extension() -> Any:
    return importlib.import_module("ecgloss._C")
