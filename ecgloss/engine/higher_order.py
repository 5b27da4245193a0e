"""Gradients that can be differentiated again: the definition stands in for a pass that has a gradient only.

The backward pass of a kernel is no function that autograd can differentiate. Where its gradients are to be
differentiated (``create_graph=True``), or where torch.func or forward-mode differentiation surrounds it, the forward
pass is computed anew by its definition in plain torch, S and all, and autograd differentiates that. It needs O(N M)
memory, and nobody pays for it who has no use for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ecgloss._transforms import needs_definition

OVERWRITTEN = (
    "one of the tensors that an ecgloss loss was computed from has been modified by an inplace operation, and a second "
    "derivative needs it as it was; pass a copy (x.clone()) to the loss"
)


def needs_graph(*grads: Tensor | None) -> bool:
    """Whether a backward pass must be plain torch: its result is differentiated, or its gradients are no numbers."""
    if torch.is_grad_enabled() or needs_definition():
        return True
    return not is_compiling() and any(_is_batched(g) for g in grads if g is not None)  # is_grads_batched=True


_is_batched = torch._C._functorch.is_legacy_batchedtensor


def differentiable_gradients(
    definition: Callable[..., Sequence[Tensor | None]],
    inputs: Sequence[Tensor | None],
    wanted: Sequence[bool],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Gradients of ``definition(*inputs)`` in plain torch; they have a graph where grad mode is on.

    Args:
        definition: Maps the inputs to tensors, one per entry of ``grads``.
        inputs: Tensors, connected with the graph that is differentiated, or None.
        wanted: Which inputs get a gradient.
        grads: Gradients of the results; None for 0.

    Returns:
        A gradient per input, None where it is not wanted or 0.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views: two inputs may be one tensor, each with its own gradient.
        own = [x if x is None or not wants else x.view_as(x) for x, wants in zip(inputs, wanted)]
        results = definition(*own)
    chosen = [(x, g) for x, g in zip(results, grads) if g is not None and x is not None and x.requires_grad]
    asked = [x for x, wants in zip(own, wanted) if wants]
    if not chosen or not asked:
        return [None] * len(own)
    outputs, upstream = zip(*chosen)
    found = iter(
        torch.autograd.grad(outputs, asked, upstream, create_graph=create_graph, allow_unused=True)  # type: ignore[arg-type]
    )
    return [next(found) if wants else None for wants in wanted]


def inputs_to_save(ctx: Any, *inputs: Tensor | None) -> tuple[Tensor | None, ...]:
    """Inputs of a pass for ``save_for_backward``, should a second derivative be asked for.

    Those without a gradient, such as a queue that is written to before the backward pass, stay out: the first
    derivative does not need them.
    """
    ctx.others = None
    if is_compiling():  # torch.compile has first derivatives only, and says so
        return (None,) * len(inputs)
    needs = ctx.needs_input_grad
    for i, x in enumerate(inputs):
        if x is not None and not needs[i]:
            ctx.others = ctx.others or [None] * len(inputs)
            ctx.others[i] = x, _version(x)
    if ctx.others is None:
        return inputs
    return tuple(x if needs[i] else None for i, x in enumerate(inputs))


def _version(x: Tensor) -> int:
    """How often x was written to, as far as that is known."""
    return 0 if x.is_inference() else x._version


def saved_inputs(ctx: Any, saved: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """The inputs that :func:`inputs_to_save` took apart; an error where one has been overwritten."""
    if ctx.others is None:
        return tuple(saved)
    if any(other is not None and _version(other[0]) != other[1] for other in ctx.others):
        raise RuntimeError(OVERWRITTEN)
    return tuple(x if other is None else other[0] for x, other in zip(saved, ctx.others))


def without_second_derivative(g: Tensor, *inputs: Tensor) -> Tensor:
    """g, a gradient that depends on inputs in a way not known here: differentiating it raises, however asked."""
    same: Tensor = _Refuse.apply(g, *inputs)
    return same


class _Refuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, *inputs: Tensor) -> Tensor:
        return g.view_as(g)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(ACROSS_RANKS)


ACROSS_RANKS = (
    "a loss that spans a process group has first derivatives only; for a second one, compute the loss of each rank's "
    "own rows (group=None)"
)
