"""torch.library ops of the C++ and Triton kernels, one per pass: ``ecgloss::pair_stats`` and ``pair_stats_backward``.

Both have fake kernels, so that torch.compile sees shapes only; the forward has an autograd formula, and the gradient of
a gradient is refused. Embeddings come as they are, normalised inside; ``q2`` holds further rows of q, so that two views
need no copy. What the ops are told of a rule is :class:`ecgloss.engine.description.Description`.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import torch
from torch import Tensor

from ecgloss.engine.cpp_kernels import sizes_of
from ecgloss.engine.normalise import refuse_gradient

_SIDE = (
    "Tensor? values, Tensor? column_values, Tensor? missing, Tensor? row_labels, Tensor? column_labels, "
    "SymInt[] rule, float[] numbers, SymInt[] layout, int similarity, float[] term_weights, "
    "str engine"
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
        positive_sum, positive_lse, positive_count, negative_lse; and two buffers the backward needs: embeddings as
        the engine holds them, and numbers of the rows and of the batch.
    """
    if torch.compiler.is_compiling():
        outputs: tuple[Tensor, ...] = _FORWARD(q, q2, k, temperature, *rest)
    else:
        outputs = _differentiable(q, q2, k, temperature, *rest)
    return outputs


def _differentiable(q: Tensor, q2: Tensor | None, k: Tensor | None, temperature: Tensor, *rest: Any) -> Any:
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (q, q2, k, temperature)):
        return _PairStats.apply(q, q2, k, temperature, rest)
    return _below_autograd(_FORWARD, _engine(rest[-1]).forward, q, q2, k, temperature, *rest)


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
        outputs = _below_autograd(_FORWARD, _engine(rest[-1]).forward, q, q2, k, temperature, *rest)
        panels, saved = outputs[-2:]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(panels, saved)
        ctx.save_for_backward(panels, saved, temperature)
        ctx.rest = rest  # side information is data, without gradient
        ctx.sizes = sizes_of(q, q2, k)
        ctx.dtypes = (q.dtype, q.dtype if k is None else k.dtype)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        wanted = ctx.needs_input_grad[:4]
        arguments = (*grads[:4], *ctx.saved_tensors, *ctx.rest, ctx.sizes, *ctx.dtypes, wanted)
        gradients = _below_autograd(_BACKWARD, _engine(ctx.rest[-1]).backward, *arguments)
        if torch.is_grad_enabled():  # create_graph=True
            gradients = [refuse_gradient(g.detach().requires_grad_()) for g in gradients]
        return (*(g if wants else None for g, wants in zip(gradients, wanted)), None)


@functools.cache
def _engine(name: str) -> Any:
    """The module behind the ops' word for it, imported when it is first used."""
    return importlib.import_module(f"ecgloss.engine.{name}_kernels")


def _forward(*arguments: Any) -> tuple[Tensor, ...]:
    outputs: tuple[Tensor, ...] = _engine(arguments[_FORWARD_ENGINE]).forward(*arguments)
    return outputs


def _forward_shapes(*arguments: Any) -> tuple[Tensor, ...]:
    outputs: tuple[Tensor, ...] = _engine(arguments[_FORWARD_ENGINE]).forward_shapes(*arguments)
    return outputs


def _backward(*arguments: Any) -> tuple[Tensor, ...]:
    outputs: tuple[Tensor, ...] = _engine(arguments[_BACKWARD_ENGINE]).backward(*arguments)
    return outputs


def _backward_shapes(*arguments: Any) -> tuple[Tensor, ...]:
    outputs: tuple[Tensor, ...] = _engine(arguments[_BACKWARD_ENGINE]).backward_shapes(*arguments)
    return outputs


_FORWARD_ENGINE, _BACKWARD_ENGINE = -1, -5  # where an op's arguments name the engine
_FORWARD = torch.ops.ecgloss.pair_stats.default
_BACKWARD = torch.ops.ecgloss.pair_stats_backward.default
_LIBRARY.impl("pair_stats", _differentiable, "Autograd")
for _key in ("CPU", "CUDA"):
    _LIBRARY.impl("pair_stats", _forward, _key)
    _LIBRARY.impl("pair_stats_backward", _backward, _key)
torch.library.register_fake(_FORWARD, _forward_shapes, lib=_LIBRARY)
torch.library.register_fake(_BACKWARD, _backward_shapes, lib=_LIBRARY)
