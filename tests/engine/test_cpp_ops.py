"""The torch ops of the C++ kernels: what torch's own machinery (opcheck, autocast, autograd) may ask of them."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import pytest
import torch
from backends import needs_cpp
from covering import each_value
from rule_cases import Problem, evaluate, problem
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ecgloss.functional as F
from ecgloss.engine import cpp, pair_stats
from ecgloss.engine.ops import ALIGNMENTS, dtype_name, sizes_of
from ecgloss.pairs.encoding import encode_layout

pytestmark = needs_cpp
FORWARD, BACKWARD = torch.ops.ecgloss.pair_stats.default, torch.ops.ecgloss.pair_stats_backward.default
DTYPES = [torch.float32, torch.bfloat16, torch.float64]
RULES = ["uniform", "clef paper", "clef official", "labels", "features or labels", "gaussian", "uniform, matched"]


def arguments(p: Problem, requires_grad: bool, two_parts: bool = False) -> list[Any]:
    """What the forward op takes."""
    q, q2 = (p.q[:-2], p.q[-2:]) if two_parts else (p.q, None)
    q, q2, k = (None if x is None else x.clone().requires_grad_(requires_grad) for x in (q, q2, p.k))
    code, numbers, side = p.setting.rule.encode(torch.float64)
    alignment = ALIGNMENTS.index(p.setting.alignment)
    tau = torch.tensor(p.tau, requires_grad=requires_grad)
    rest = [list(code), list(numbers), encode_layout(p.setting.rule.layout), alignment, [1.0, 0.5]]
    return [q, q2, k, tau, *side, *rest]


@pytest.mark.slow
@each_value(rule=RULES, dtype=DTYPES, requires_grad=[True, False])
def test_opcheck_accepts_the_forward(rule, dtype, requires_grad):
    p = problem(rule, "random", 6, 5, 0.3).rounded(dtype)
    torch.library.opcheck(FORWARD, arguments(p, requires_grad, two_parts=p.k is None))


@pytest.mark.slow
@each_value(rule=RULES, dtype=DTYPES)
def test_opcheck_accepts_the_backward(rule, dtype):
    p = problem(rule, "random", 6, 5, 0.3).rounded(dtype)
    given = arguments(p, requires_grad=False)
    loss, _, _, rows, panels, saved = FORWARD(*given)
    sizes = [6, 6, 6 if p.k is None else len(p.k), 5]
    for row_gradient, wants_k in itertools.product([None, torch.ones_like(rows)], {False, p.k is not None}):
        gradients = [torch.ones_like(loss), None, torch.full_like(loss, 2.0), row_gradient]
        wanted = [True, False, wants_k, True]
        tail = [sizes, dtype_name(p.q.dtype), dtype_name((p.q if p.k is None else p.k).dtype), wanted]
        torch.library.opcheck(BACKWARD, [*gradients, panels, saved, given[3], *given[4:], *tail])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rule", ["uniform", "clef official", "labels", "uniform, matched"])
def test_autocast_does_not_change_a_bit(rule, dtype):
    p = problem(rule, "random", 54, 23, 0.07).rounded(torch.float32)
    expected = evaluate(p, "cpp")
    with torch.autocast("cpu", dtype):
        assert evaluate(p, "cpp").same_bits(expected)


def test_evaluation_without_gradients_keeps_nothing(rng):
    z1, z2 = (torch.randn(9, 5, generator=rng).requires_grad_() for _ in range(2))
    expected = F.ntxent(z1, z2, backend="cpp").detach()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            loss = F.ntxent(z1, z2, backend="cpp")
        assert not loss.requires_grad
        assert torch.equal(loss, expected)


@pytest.mark.parametrize("rule", ["uniform", "clef official", "labels", "uniform, matched"])
def test_a_second_derivative_is_that_of_the_definition(rule):
    p = problem(rule, "random", 6, 5, 0.3)
    q, tau = p.q.clone().requires_grad_(), torch.tensor(0.3, requires_grad=True, dtype=torch.float64)
    k = None if p.k is None else p.k.clone().requires_grad_()
    leaves = [leaf for leaf in (q, tau, k) if leaf is not None]
    found = {}
    for backend in ("cpp", "reference"):
        stats = pair_stats(q, k, tau, p.setting.rule, alignment=p.setting.alignment, backend=backend)
        gradients = torch.autograd.grad(stats.positive_sum.sum(), leaves, create_graph=True)
        found[backend] = torch.autograd.grad(sum(g.square().sum() for g in gradients), leaves)
    torch.testing.assert_close(found["cpp"], found["reference"])


class Wanted(TorchDispatchMode):
    """What was asked of the backward op, and the shapes it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[list[bool], list[int]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is BACKWARD:
            self.calls.append((list(args[-1]), [len(g) for g in result[:3]]))
        return result


@pytest.mark.parametrize("rule", ["uniform, matched", "risk queue, mean", "labels, columns"])
def test_a_queue_without_gradient_costs_none(rule):
    p = problem(rule, "random", 6, 5, 0.3).rounded(torch.float32)
    full = evaluate(p, "cpp")
    q = p.q.clone().requires_grad_()
    with Wanted() as seen:
        stats = pair_stats(q, p.k, p.tau, p.setting.rule, backend="cpp")
        (stats.positive_sum.sum() + stats.negative_lse.sum()).backward()
    assert seen.calls == [([True, False, False, False], [6, 0, 0])]
    assert full.k_gradient is not None


def test_only_what_requires_a_gradient_gets_one_and_the_same_one(rng):
    p = problem("uniform, matched", "random", 6, 5, 0.3).rounded(torch.float32)
    expected = evaluate(p, "cpp").named()
    for chosen in itertools.product([False, True], repeat=3):
        if not any(chosen):
            continue
        names = ("q_gradient", "k_gradient", "tau_gradient")
        values = (p.q, p.k, torch.tensor(p.tau, dtype=torch.float64))
        leaves = [x.clone().requires_grad_(wanted) for x, wanted in zip(values, chosen)]
        pair_stats(*leaves, p.setting.rule, backend="cpp").loss().backward()
        for name, leaf, wanted in zip(names, leaves, chosen):
            assert (leaf.grad is not None) == wanted
            assert not wanted or torch.equal(leaf.grad, expected[name]), name


def gradients(loss: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, leaves, retain_graph=True, materialize_grads=True))


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("tau_dtype", [torch.float32, torch.float64], ids=str)
def test_each_term_and_any_multiple_of_it_can_be_differentiated(preset, tau_dtype, rng):
    b = 27  # two panels of rows
    leaves = [torch.randn(b, 7, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2)]
    leaves.append(torch.tensor(0.3, dtype=tau_dtype, requires_grad=True))
    risk, missing = torch.rand(b, generator=rng), torch.rand(b, generator=rng)
    options = {"preset": preset, "temperature": leaves[2], "contrastive_weight": 0.7, "align_weight": 1.9}
    mine, true = (
        F.clef(*leaves[:2], risk, missing, return_terms=True, backend=backend, **options)
        for backend in ("cpp", "reference")
    )
    combinations = [
        lambda t: t.loss,
        lambda t: t.contrastive,
        lambda t: t.alignment,
        lambda t: -3 * t.loss,
        lambda t: t.contrastive.square() + 5 * t.alignment + t.loss,
    ]
    for combine in combinations:
        torch.testing.assert_close(combine(mine), combine(true), rtol=1e-10, atol=0)
        for g, h in zip(gradients(combine(mine), leaves), gradients(combine(true), leaves)):
            assert g.dtype == h.dtype
            # fp64 with sums in another order; a temperature in fp32 rounds its own gradient.
            torch.testing.assert_close(g, h, rtol=1e-9 if g.dtype == torch.float64 else 1e-6, atol=1e-13)


def test_gradients_accumulate_over_two_losses_of_one_batch(rng):
    z1, z2 = (torch.randn(9, 5, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2))
    risk = torch.rand(9, generator=rng)

    def loss(backend: str) -> Tensor:
        return F.ntxent(z1, z2, backend=backend) + F.clef(z1, z2, risk, preset="official", backend=backend)

    mine, true = (torch.autograd.grad(loss(backend), (z1, z2)) for backend in ("cpp", "reference"))
    for g, h in zip(mine, true):
        torch.testing.assert_close(g, h, rtol=1e-9, atol=1e-13)  # fp64 with sums in another order


def test_python_and_cpp_agree_on_the_size_of_buffers():
    extension = importlib.import_module("ecgloss._C")
    for n, m, width in itertools.product([1, 47, 48, 49, 97], [None, 48, 50], [1, 7]):
        q, k = torch.empty(n, width), None if m is None else torch.empty(m, width)
        packed, saved = cpp.forward_shapes(q, None, k)[-2:]
        assert (len(packed), len(saved)) == extension.buffer_sizes(sizes_of(q, None, k), k is None)


def test_a_temperature_first_seen_while_evaluating_can_be_trained_with(rng):
    z = torch.randn(2, 5, 4, generator=rng)
    with torch.inference_mode():
        expected = F.ntxent(*z, temperature=0.0731, backend="cpp")
    z.requires_grad_()
    loss = F.ntxent(*z, temperature=0.0731, backend="cpp")
    loss.backward()
    assert torch.equal(loss.detach(), expected.clone())
    assert z.grad is not None
