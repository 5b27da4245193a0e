"""torch.library ops of the C++ kernels: ``ecgloss::pair_stats`` and its backward, one op per pass.

Both have fake kernels (so that torch.compile sees shapes only) and the forward has an autograd formula; the gradient of
a gradient is refused. The ops take any embeddings; what they are told of a rule is described in
:class:`ecgloss.engine.cpp.Description`.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from ecgloss.engine.normalise import SECOND_DERIVATIVE

PANEL = 48  # rows, as in csrc/problem.h
SCALARS = 11  # of csrc/engine.h
Side = tuple[Tensor | None, ...]

_SIDE = (
    "Tensor? values, Tensor? column_values, Tensor? known, Tensor? missing, Tensor? numbers, Tensor? row_labels, "
    "Tensor? column_labels, SymInt[] rule, float number, SymInt[] layout, int similarity"
)
_LIBRARY = torch.library.Library("ecgloss", "DEF")
_LIBRARY.define(
    f"pair_stats(Tensor q, Tensor? k, Tensor temperature, {_SIDE}) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    "pair_stats_backward(Tensor? g_positive_sum, Tensor? g_positive_lse, Tensor? g_negative_lse, Tensor? g_error, "
    f"Tensor panels, Tensor saved, Tensor temperature, {_SIDE}, SymInt n, SymInt m, SymInt width, "
    "ScalarType q_dtype, ScalarType k_dtype, bool wants_k, bool wants_temperature) -> (Tensor, Tensor, Tensor)"
)
pair_stats = torch.ops.ecgloss.pair_stats.default
pair_stats_backward = torch.ops.ecgloss.pair_stats_backward.default


def _extension() -> Any:
    return importlib.import_module("ecgloss._C")


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _padded(n: int) -> int:
    """Rows in whole panels."""
    return (n + PANEL - 1) // PANEL * PANEL


def _sizes(q: Tensor, k: Tensor | None, layout: list[int]) -> tuple[int, int, int]:
    """n, m and how many rows lie in panels."""
    n = q.shape[0]
    m = n if k is None else k.shape[0]
    return n, m, _padded(n) + (0 if k is None else _padded(m))


def _outputs(q: Tensor, k: Tensor | None, layout: list[int]) -> tuple[Tensor, ...]:
    """Empty results: positive_sum, positive_lse, positive_count, negative_lse, error, panels and norms, saved sums."""
    n, m, padded = _sizes(q, k, layout)
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    rows = [q.new_empty(n, dtype=dtype) for _ in range(4)]
    panels = q.new_empty(padded * (q.shape[1] + 1), dtype=dtype)
    saved = q.new_empty(2 * n + 2 * (_padded(n) // PANEL) + SCALARS, dtype=torch.float64)
    return (*rows, q.new_empty((), dtype=dtype), panels, saved)


def _parts(panels: Tensor, n: int, m: int, width: int, square: bool) -> tuple[list[int], list[int]]:
    """Addresses of the panels and of the norms of q and k."""
    size = panels.element_size()
    q_panels = panels.data_ptr()
    k_panels = q_panels + _padded(n) * width * size
    rows = _padded(n) + (0 if square else _padded(m))
    norms = q_panels + rows * width * size
    return [q_panels, k_panels], [norms, norms + _padded(n) * size]


def _saved_parts(saved: Tensor, n: int) -> list[int]:
    """Addresses of the log-sum-exps, the blocks' extremes and the scalars."""
    start = saved.data_ptr()
    return [start, start + 16 * n, start + 16 * (n + _padded(n) // PANEL)]


def _widened(x: Tensor) -> Tensor:
    return (x if x.dtype == torch.float64 else x.float()).contiguous()


def _forward(
    q: Tensor,
    k: Tensor | None,
    temperature: Tensor,
    values: Tensor | None,
    column_values: Tensor | None,
    known: Tensor | None,
    missing: Tensor | None,
    numbers: Tensor | None,
    row_labels: Tensor | None,
    column_labels: Tensor | None,
    rule: list[int],
    number: float,
    layout: list[int],
    similarity: int,
) -> tuple[Tensor, ...]:
    outputs = _outputs(q, k, layout)
    *rows, error, panels, saved = outputs
    n, m, _ = _sizes(q, k, layout)
    width = q.shape[1]
    q_wide, k_wide = _widened(q), None if k is None else _widened(k)
    side = [_contiguous(x) for x in (values, column_values, known, missing, numbers, row_labels, column_labels)]
    extension = _extension()
    run = extension.forward_double if panels.dtype == torch.float64 else extension.forward_single
    saved_parts = _saved_parts(saved, n)
    error_value = run(
        extension.Sizes(n, m, width),
        [q_wide.data_ptr(), _address(k_wide)],
        *_parts(panels, n, m, width, k is None),
        [*(x.data_ptr() for x in rows), *saved_parts],
        layout,
        rule,
        [_address(x) for x in side],
        number,
        temperature.item(),
        similarity,
        torch.get_num_threads(),
    )
    error.fill_(error_value)
    return outputs


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _forward_shapes(q: Tensor, k: Tensor | None, temperature: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return _outputs(q, k, rest[-2])


def _backward(
    g_positive_sum: Tensor | None,
    g_positive_lse: Tensor | None,
    g_negative_lse: Tensor | None,
    g_error: Tensor | None,
    panels: Tensor,
    saved: Tensor,
    temperature: Tensor,
    values: Tensor | None,
    column_values: Tensor | None,
    known: Tensor | None,
    missing: Tensor | None,
    numbers: Tensor | None,
    row_labels: Tensor | None,
    column_labels: Tensor | None,
    rule: list[int],
    number: float,
    layout: list[int],
    similarity: int,
    n: int,
    m: int,
    width: int,
    q_dtype: torch.dtype,
    k_dtype: torch.dtype,
    wants_k: bool,
    wants_temperature: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    square = bool(layout[0])
    gradients = [_contiguous(g) for g in (g_positive_sum, g_positive_lse, g_negative_lse)]
    side = [_contiguous(x) for x in (values, column_values, known, missing, numbers, row_labels, column_labels)]
    dq = panels.new_empty(n, width)
    dk = panels.new_empty(m if wants_k else 0, width)
    q_sum = panels.new_zeros(_padded(n) * width)
    k_sum = panels.new_zeros(_padded(m) * width) if wants_k else None
    extension = _extension()
    run = extension.backward_double if panels.dtype == torch.float64 else extension.backward_single
    dtemperature = run(
        extension.Sizes(n, m, width),
        [_address(g) for g in gradients],
        0.0 if g_error is None else g_error.item(),
        *_parts(panels, n, m, width, square),
        _saved_parts(saved, n),
        [q_sum.data_ptr(), _address(k_sum)],
        [dq.data_ptr(), dk.data_ptr() if wants_k else 0],
        layout,
        rule,
        [_address(x) for x in side],
        number,
        temperature.item(),
        similarity,
        torch.get_num_threads(),
        wants_temperature,
        [torch.finfo(q_dtype).max, torch.finfo(k_dtype).max],
    )
    return dq.to(q_dtype), dk.to(k_dtype), temperature.new_full((), dtemperature)


def _backward_shapes(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    panels, temperature = arguments[4], arguments[6]
    n, m, width, q_dtype, k_dtype, wants_k, _ = arguments[-7:]
    return (
        panels.new_empty(n, width, dtype=q_dtype),
        panels.new_empty(m if wants_k else 0, width, dtype=k_dtype),
        temperature.new_empty(()),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q, k, temperature, *rest = inputs
    *_, panels, saved = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[2], panels, saved)
    ctx.save_for_backward(panels, saved, temperature, *rest[:7])
    ctx.constants = rest[7:]
    ctx.shapes = (q.shape[0], q.shape[0] if k is None else k.shape[0], q.shape[1])
    ctx.dtypes = (q.dtype, q.dtype if k is None else k.dtype)


def _gradients(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    g_sum, g_lse, _, g_negative, g_error, _, _ = grads
    wants_q, wants_k, wants_temperature, *_ = ctx.needs_input_grad
    nothing = (None,) * 11
    if g_sum is None and g_lse is None and g_negative is None and g_error is None:
        return (None, None, None, *nothing)
    dq, dk, dtemperature = pair_stats_backward(
        g_sum, g_lse, g_negative, g_error, *ctx.saved_tensors, *ctx.constants, *ctx.shapes, *ctx.dtypes,
        wants_k, wants_temperature,
    )  # fmt: skip
    return (
        dq if wants_q else None,
        dk if wants_k else None,
        dtemperature if wants_temperature else None,
        *nothing,
    )


def _refuse(ctx: Any, *_: Tensor) -> None:
    raise RuntimeError(SECOND_DERIVATIVE)


_LIBRARY.impl("pair_stats", _forward, "CPU")
_LIBRARY.impl("pair_stats_backward", _backward, "CPU")
torch.library.register_fake(pair_stats, _forward_shapes, lib=_LIBRARY)
torch.library.register_fake(pair_stats_backward, _backward_shapes, lib=_LIBRARY)
torch.library.register_autograd(pair_stats, _gradients, setup_context=_setup, lib=_LIBRARY)
torch.library.register_autograd(pair_stats_backward, _refuse, lib=_LIBRARY)
