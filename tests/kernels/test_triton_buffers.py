"""No result of the Triton kernels depends on memory they were not given, nor on what buffers held before."""

from __future__ import annotations

import pytest
import torch
from backends import HALF, TRITON_DEVICE, needs_triton
from covering import each_value, exhaustive_except
from poison import PLACES, inside, poison_new_tensors
from rule_cases import MAIN, RULES, Problem, evaluate, problem
from torch import Tensor

import ecgloss.functional as F

pytestmark = needs_triton
DTYPES = [torch.float32, HALF[-1]]


@each_value(rule=exhaustive_except(MAIN, RULES), dtype=DTYPES)
def test_every_entry_of_a_new_buffer_is_written_before_it_is_read(rule, dtype, monkeypatch):
    p = problem(rule, "random", 50, 13, 0.07).rounded(dtype)
    expected = evaluate(p, "triton", TRITON_DEVICE)
    filled = poison_new_tensors(monkeypatch)
    assert evaluate(p, "triton", TRITON_DEVICE).same_bits(expected)
    assert sum(filled) > 50 * 13, "buffers must be made with new_empty, or this test proves nothing"


@each_value(rule=["uniform", "clef official", "features or labels", "risk queue, mean"], place=PLACES)
def test_embeddings_that_are_part_of_a_larger_tensor_are_read_alone(rule, place):
    p = problem(rule, "random", 50, 13, 0.07).rounded(torch.float32).on(TRITON_DEVICE)
    part = Problem(p.setting, inside(p.q, place), None if p.k is None else inside(p.k, place), p.tau)
    assert evaluate(part, "triton").same_bits(evaluate(p, "triton"))


def test_views_sliced_from_one_batch_are_read_alone(rng):
    """As a data loader's stacked views come: (B, 2, D)."""
    batch, risk = (torch.randn(shape, generator=rng).to(TRITON_DEVICE) for shape in ((33, 2, 9), (33,)))
    parts = [batch[:, view].requires_grad_() for view in (0, 1)]
    wholes = [batch[:, view].contiguous().requires_grad_() for view in (0, 1)]
    losses = [F.clef(*views, risk, preset="official", backend="triton") for views in (parts, wholes)]
    assert torch.equal(*losses)
    for mine, expected in zip(torch.autograd.grad(losses[0], parts), torch.autograd.grad(losses[1], wholes)):
        assert torch.equal(mine, expected)


@pytest.mark.parametrize("scale", [1e-30, 1e-13, 1e25])
def test_embeddings_of_any_length_have_the_same_loss(scale, rng):
    """Squares of 1e-30 and 1e25 are no fp32 numbers; below 1e-12 a row is not divided by its length any more."""
    z = torch.randn(2, 17, 9, generator=rng).to(TRITON_DEVICE)
    expected = F.ntxent(*z, backend="reference")
    if scale < 1e-12:
        expected = F.ntxent(*(scale * z).double(), backend="reference").float()
    torch.testing.assert_close(F.ntxent(*(scale * z), backend="triton"), expected, rtol=1e-5, atol=0)


def test_memory_of_the_backward_grows_with_rows_times_width_only(rng):
    """What autograd keeps: embeddings as they are and normalised, in their own dtype, and a few numbers per row."""
    kept: list[int] = []

    def pack(x: Tensor) -> Tensor:
        kept.append(x.numel() * x.element_size())
        return x

    n, d = 128, 64
    z = [torch.randn(n // 2, d, generator=rng).half().to(TRITON_DEVICE).requires_grad_() for _ in range(2)]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        F.clef(*z, torch.rand(n // 2, generator=rng).to(TRITON_DEVICE), backend="triton")
    assert n * d * 2 <= sum(kept) <= 2 * n * d * 2 + 20 * 4 * n  # u is padded to whole blocks of 128 rows
