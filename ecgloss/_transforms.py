"""Which transforms of torch are at work around a loss: whether a kernel may be used, and values looked at."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling

_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # since torch 2.7
_PLAIN = (Tensor, torch.nn.Parameter)
_in_torch_func = torch._C._are_functorch_transforms_active
_modes = torch._C._len_torch_dispatch_stack


def needs_definition() -> bool:
    """Whether torch.func or forward-mode differentiation is at work.

    They differentiate what plain torch does, and know no kernels: losses are then computed by their definition.
    """
    return not is_compiling() and (forward_ad._current_level >= 0 or _in_torch_func())


def needs_plain_torch() -> bool:
    """Whether an autograd.Function of ours would not be understood: as above, or by torch.export.

    torch.export (strict) keeps the forward of such a function and forgets its gradient; ops it keeps as they are.
    """
    return _is_exporting() or needs_definition()


def differentiates_forward() -> bool:
    """Whether forward-mode differentiation is at work."""
    return not is_compiling() and forward_ad._current_level >= 0


def is_watched() -> bool:
    """Whether tensors are replaced by others that only look like them: what is made now must not be kept.

    By torch.compile, fake tensors, make_fx or torch.func.
    """
    return is_compiling() or _modes() > 0 or _in_torch_func()


def has_values(x: Tensor) -> bool:
    """Whether x holds numbers that may be read: not where tensors are watched, nor of a tensor of another class."""
    return type(x) in _PLAIN and not is_watched()


def refuse_recomputation(what: str) -> None:
    """Raise in a backward pass, where torch.utils.checkpoint computes a forward pass a second time."""
    if not is_compiling() and torch._C._current_graph_task_id() != -1:
        raise RuntimeError(
            f"{what} writes to its queue in every forward pass, and torch.utils.checkpoint repeats the pass; "
            "checkpoint the encoder alone and call the loss outside"
        )


def refuse_tracing() -> None:
    """Raise under torch.jit.trace, which would keep the size of the example batch as a constant."""
    if not is_compiling() and torch._C._is_tracing():
        raise RuntimeError(
            "torch.jit.trace would fix the batch size of an ecgloss loss to that of the example; trace the encoder "
            "alone, or use torch.export (with dynamic_shapes) or torch.compile for the loss"
        )
