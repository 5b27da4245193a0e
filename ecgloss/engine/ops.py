"""torch.library ops of the C++ kernels: ``ecgloss::pair_stats`` and ``ecgloss::pair_stats_backward``, one per pass.

Both have fake kernels, so that torch.compile sees shapes only; the forward has an autograd formula, and the gradient of
a gradient is refused. Embeddings come as they are, normalised inside; ``q2`` holds further rows of q, so that two views
need no copy. What the ops are told of a rule is :class:`ecgloss.engine.cpp.Description`.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from ecgloss.engine.normalise import SECOND_DERIVATIVE

PANEL = 48  # rows, as in csrc/problem.h
SCALARS = 14  # of csrc/engine.h

_SIDE = (
    "Tensor? values, Tensor? column_values, Tensor? missing, Tensor? row_labels, Tensor? column_labels, "
    "SymInt[] rule, float[] numbers, SymInt[] layout, int similarity, float[] term_weights"
)
_LIBRARY = torch.library.Library("ecgloss", "DEF")
_LIBRARY.define(
    f"pair_stats(Tensor q, Tensor? q2, Tensor? k, Tensor temperature, {_SIDE}) -> ({', '.join(['Tensor'] * 6)})"
)
_LIBRARY.define(
    "pair_stats_backward(Tensor? g_loss, Tensor? g_cross_entropy, Tensor? g_error, Tensor? g_rows, "
    f"Tensor panels, Tensor saved, Tensor temperature, {_SIDE}, SymInt[] sizes, "
    "ScalarType q_dtype, ScalarType k_dtype, bool[] wanted) -> (Tensor, Tensor, Tensor, Tensor)"
)


def run(q: Tensor, q2: Tensor | None, k: Tensor | None, temperature: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    """The forward op with its gradient, by the shortest way.

    Returns:
        loss = w_0 cross_entropy + w_1 error with the term weights w, cross_entropy, error (0-d); rows (4, N):
        positive_sum, positive_lse, positive_count, negative_lse; and what the backward needs: panels and norms, sums in
        fp64.
    """
    if torch.compiler.is_compiling():
        outputs: tuple[Tensor, ...] = _FORWARD(q, q2, k, temperature, *rest)
    else:
        outputs = _differentiable(q, q2, k, temperature, *rest)
    return outputs


def _differentiable(q: Tensor, q2: Tensor | None, k: Tensor | None, temperature: Tensor, *rest: Any) -> Any:
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (q, q2, k, temperature)):
        return _PairStats.apply(q, q2, k, temperature, rest)
    return _below_autograd(_FORWARD, _forward, q, q2, k, temperature, *rest)


def _below_autograd(op: Any, implementation: Any, *arguments: Any) -> Any:
    """An op without its autograd formula; where nobody watches ops, its implementation.

    The dispatcher takes 10 to 20 microseconds to convert a list of arguments this long, twice per step: a tenth of
    the whole loss at N = 128.
    """
    if torch._C._len_torch_dispatch_stack() == 0 and all(type(x) in _PLAIN for x in arguments[:5]):
        return implementation(*arguments)
    with torch._C._AutoDispatchBelowAutograd():
        return op(*arguments)


_PLAIN = (Tensor, torch.nn.Parameter, type(None))


class _PairStats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, q2: Tensor | None, k: Tensor | None, temperature: Tensor, rest: tuple[Any, ...]
    ) -> Any:
        outputs = _below_autograd(_FORWARD, _forward, q, q2, k, temperature, *rest)
        panels, saved = outputs[-2:]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(panels, saved)
        ctx.save_for_backward(panels, saved, temperature)
        ctx.rest = rest  # side information is data, without gradient
        ctx.sizes = _sizes(q, q2, k)
        ctx.dtypes = (q.dtype, q.dtype if k is None else k.dtype)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        wanted = ctx.needs_input_grad[:4]
        arguments = (*grads[:4], *ctx.saved_tensors, *ctx.rest, ctx.sizes, *ctx.dtypes, wanted)
        gradients = _below_autograd(_BACKWARD, _backward, *arguments)
        if torch.is_grad_enabled():  # create_graph=True
            gradients = [_Refuse.apply(g.detach().requires_grad_()) for g in gradients]
        return (*(g if wants else None for g, wants in zip(gradients, wanted)), None)


class _Refuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor) -> Tensor:
        return g.view_as(g)

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Tensor:
        raise RuntimeError(SECOND_DERIVATIVE)


def _forward(
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
) -> tuple[Tensor, ...]:
    outputs = _empty_outputs(q, q2, k)
    panels, saved = outputs[-2:]
    sizes = _sizes(q, q2, k)
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


def _forward_shapes(q: Tensor, q2: Tensor | None, k: Tensor | None, *_: Any) -> tuple[Tensor, ...]:
    return _empty_outputs(q, q2, k)


def _backward(
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
    sizes: list[int],
    q_dtype: torch.dtype,
    k_dtype: torch.dtype,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
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


def _backward_shapes(*arguments: Any) -> tuple[Tensor, ...]:
    panels, temperature = arguments[4], arguments[6]
    sizes, q_dtype, k_dtype, wanted = arguments[-4:]
    return (*_empty_gradients(panels, sizes, wanted, q_dtype, k_dtype), temperature.new_empty(()))


def _sizes(q: Tensor, q2: Tensor | None, k: Tensor | None) -> list[int]:
    """Rows of q with q2, of q alone, of k (of q where k is q), and the width."""
    n = q.shape[0] if q2 is None else q.shape[0] + q2.shape[0]
    return [n, q.shape[0], n if k is None else k.shape[0], q.shape[1]]


def _padded(n: int) -> int:
    """Rows in whole panels."""
    return (n + PANEL - 1) // PANEL * PANEL


def _empty_outputs(q: Tensor, q2: Tensor | None, k: Tensor | None) -> tuple[Tensor, ...]:
    n, _, m, width = _sizes(q, q2, k)
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


_FORWARD = torch.ops.ecgloss.pair_stats.default
_BACKWARD = torch.ops.ecgloss.pair_stats_backward.default
_LIBRARY.impl("pair_stats", _forward, "CPU")
_LIBRARY.impl("pair_stats", _differentiable, "Autograd")
_LIBRARY.impl("pair_stats_backward", _backward, "CPU")
torch.library.register_fake(_FORWARD, _forward_shapes, lib=_LIBRARY)
torch.library.register_fake(_BACKWARD, _backward_shapes, lib=_LIBRARY)
