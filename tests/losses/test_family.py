"""Every loss on every backend and dtype, eager and compiled, with and without gradients, gives what reference gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from backends import BACKENDS, HALF, INTERPRETED, TRITON_DEVICE, needs_triton
from covering import each_value, pairwise
from loss_cases import CASES, SIMILARITIES, Side, side
from torch import Tensor

B, D = 12, 6
# Both widen the embeddings first, so that values and temperatures' gradients differ by other orders of summation (fp32:
# 2^-24 of S, magnified by 1 / tau and, in the min-max of "clef official", by 1 / (max S - min S)).
VALUE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 1e-5, torch.bfloat16: 1e-5}
# Gradients are stored in the embeddings' dtype; where two parts are added there, in two roundings.
GRADIENT = {
    **VALUE,
    torch.float16: 2 * torch.finfo(torch.float16).eps,
    torch.bfloat16: 2 * torch.finfo(torch.bfloat16).eps,
}
PLAIN_DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def computed(plain: list[torch.dtype], triton: list[torch.dtype]) -> list[Any]:
    """Backends with the dtypes they compute in, as one parameter."""
    named = [(b, ()) if isinstance(b, str) else (b.values[0], b.marks) for b in BACKENDS]
    chosen = [(name, marks, dtype) for name, marks in named for dtype in plain]
    chosen += [("triton", needs_triton, dtype) for dtype in triton]
    return [pytest.param((name, dtype), marks=marks, id=f"{name}-{dtype}") for name, marks, dtype in chosen]


def batch(backend: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Side]:
    device = TRITON_DEVICE if backend == "triton" else "cpu"
    g = torch.Generator().manual_seed(5)
    z1 = torch.randn(B, D, generator=g, dtype=torch.float64)
    z2 = z1 + 0.5 * torch.randn(B, D, generator=g, dtype=torch.float64)
    leaves = [z.to(device=device, dtype=dtype).requires_grad_() for z in (z1, z2)]
    return leaves[0], leaves[1], side(B, D, g).on(device)


def function(loss: str, backend: str, s: Side) -> Callable[[Tensor, Tensor], Tensor]:
    options = {"backend": backend} if CASES[loss].similarities else {}
    return lambda a, b: CASES[loss].call(a, b, s, **options)


def gradients(value: Tensor, z1: Tensor, z2: Tensor) -> list[Tensor]:
    """Of both; a loss that trains one side only has none for the other."""
    return [g for g in torch.autograd.grad(value, (z1, z2), allow_unused=True) if g is not None]


def assert_same(value: Tensor, mine: list[Tensor], expected: Tensor, theirs: list[Tensor], dtype: torch.dtype) -> None:
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value.dim() == 0
    assert torch.isfinite(value)
    torch.testing.assert_close(value, expected, rtol=VALUE[dtype], atol=VALUE[dtype])
    assert len(mine) == len(theirs) >= 1
    for g, h in zip(mine, theirs):
        assert g.dtype == dtype
        assert torch.isfinite(g).all()
        assert h.double().norm() > 1e-3  # a batch without gradients would prove nothing
        assert (g.double() - h.double()).norm() <= GRADIENT[dtype] * h.double().norm()


@pairwise(loss=CASES, how=computed(PLAIN_DTYPES, [torch.float32, *HALF]))
def test_no_backend_or_dtype_changes_a_loss(loss, how):
    backend, dtype = how
    z1, z2, s = batch(backend, dtype)
    value, expected = (function(loss, name, s)(z1, z2) for name in (backend, "reference"))
    assert_same(value, gradients(value, z1, z2), expected, gradients(expected, z1, z2), dtype)


@each_value(loss=CASES, how=computed(PLAIN_DTYPES, [torch.float32, *HALF]))
def test_evaluation_without_gradients_gives_the_same_loss(loss, how):
    backend, dtype = how
    z1, z2, s = batch(backend, dtype)
    expected = function(loss, backend, s)(z1, z2)
    with torch.no_grad():
        value = function(loss, backend, s)(z1, z2)
    assert expected.requires_grad
    assert not value.requires_grad
    torch.testing.assert_close(value, expected.detach(), rtol=VALUE[dtype], atol=VALUE[dtype])


STEPS = [
    pytest.param((loss, training), id=f"{loss}-{name}")
    for training, name in ((True, "train"), (False, "no_grad"))
    for loss in CASES
]


@pytest.mark.slow
@each_value(step=STEPS, how=computed([torch.float32], [] if INTERPRETED else [torch.float32]))
def test_every_loss_compiles_without_graph_breaks(step, how):
    (loss, training), (backend, dtype) = step, how
    torch._dynamo.reset()
    z1, z2, s = batch(backend, dtype)
    compiled = torch.compile(function(loss, backend, s), fullgraph=True, backend="aot_eager")
    expected = function(loss, "reference", s)(z1, z2)
    with torch.set_grad_enabled(training):
        value = compiled(z1, z2)
    assert value.requires_grad == training
    if training:
        assert_same(value, gradients(value, z1, z2), expected, gradients(expected, z1, z2), dtype)
    else:
        torch.testing.assert_close(value, expected.detach(), rtol=VALUE[dtype], atol=VALUE[dtype])


@pytest.mark.parametrize("loss", SIMILARITIES)
@pytest.mark.parametrize("dtype", PLAIN_DTYPES, ids=str)
def test_auto_takes_every_loss_and_dtype(loss, dtype):
    z1, z2, s = batch("auto", dtype)
    value, expected = (function(loss, name, s)(z1, z2) for name in ("auto", "reference"))
    torch.testing.assert_close(value, expected, rtol=VALUE[dtype], atol=VALUE[dtype])
