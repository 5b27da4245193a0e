"""What auto computes few pairs with where there are no kernels: as accurate as plain code, and differentiable alike."""

from __future__ import annotations

import itertools

import error_rule
import pytest
import torch
from covering import each_value
from rule_cases import RULES, problem
from torch import Tensor

import ecgloss.functional as F
from ecgloss.engine import availability, dispatch

SINGLE = [rule for rule in RULES if problem(rule, "random", 8, 3, 0.1).setting.rule.layout.positive is not None]
pytestmark = pytest.mark.filterwarnings("ignore:ecgloss. the C.. extension:RuntimeWarning")


@pytest.fixture(autouse=True)
def _not_built(monkeypatch):
    monkeypatch.setattr(availability, "EXTENSION", None)


def test_auto_picks_it_for_few_pairs_with_single_positives(monkeypatch):
    rules = {name: problem(name, "random", 8, 3, 0.1).setting.rule for name in ("uniform", "labels")}
    cpu = torch.device("cpu")
    assert dispatch.select_backend("auto", cpu, rule=rules["uniform"]) == "dense"
    assert dispatch.select_backend("auto", cpu, rule=rules["labels"]) == "reference"
    monkeypatch.setattr(dispatch, "FEW_PAIRS", 63)
    assert dispatch.select_backend("auto", cpu, rule=rules["uniform"]) == "chunked"
    with pytest.raises(ValueError, match="backend must be one of"):
        dispatch.select_backend("dense", cpu)


@each_value(
    rule=SINGLE,
    kind=["random", "nearly parallel", "duplicates", "zero rows"],
    dtype=[torch.float32, torch.float16],
    tau=[0.02, 0.07, 10.0],
)
def test_loss_and_gradients_are_those_of_the_definition(rule, kind, dtype, tau):
    error_rule.assert_as_accurate_as_plain_code(rule, kind, 24, 7, tau, dtype, backend="auto")


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_every_term_has_its_gradient(preset, rng):
    z = [torch.randn(9, 5, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2)]
    risk, tau = torch.rand(9, generator=rng), torch.tensor(0.2, dtype=torch.float64, requires_grad=True)

    def gradients(combine, backend: str) -> tuple[Tensor, ...]:
        terms = F.clef(*z, risk, preset=preset, temperature=tau, backend=backend, return_terms=True)
        return torch.autograd.grad(combine(terms), [*z, tau])

    combinations = [lambda t: t.loss, lambda t: 2 * t.contrastive, lambda t: t.loss + t.alignment.square()]
    for combine in combinations:
        for mine, true in zip(gradients(combine, "auto"), gradients(combine, "reference")):
            torch.testing.assert_close(mine, true, rtol=1e-9, atol=1e-13)  # fp64 with sums in another order


def test_losses_of_anchors_and_a_frozen_view(rng):
    z = [torch.randn(6, 5, generator=rng).double() for _ in range(2)]
    z[0].requires_grad_()
    for loss, weight in itertools.product((F.ntxent, lambda *z, **o: F.clef(*z, z[0][:, 0].detach(), **o)), (None, 6)):
        options = {"reduction": "none", "weight": None if weight is None else torch.rand(weight, generator=rng)}
        mine, true = (loss(*z, backend=backend, **options) for backend in ("auto", "reference"))
        torch.testing.assert_close(mine, true)
        gradients = [torch.autograd.grad(x.square().sum(), z[0])[0] for x in (mine, true)]
        torch.testing.assert_close(*gradients)


def test_a_second_derivative_is_that_of_the_definition(rng):
    z = torch.randn(2, 5, 4, generator=rng).requires_grad_()
    found = []
    for backend in ("auto", "reference"):
        (gradient,) = torch.autograd.grad(F.ntxent(*z, backend=backend), z, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), z)[0])
    torch.testing.assert_close(*found)


@pytest.mark.slow
def test_it_compiles_in_one_graph(rng):
    z = [torch.randn(6, 5, generator=rng).requires_grad_() for _ in range(2)]
    risk = torch.rand(6, generator=rng)
    expected = F.clef(*z, risk, preset="official")
    compiled = torch.compile(lambda a, b: F.clef(a, b, risk, preset="official"), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*z), expected)
    for mine, true in zip(torch.autograd.grad(compiled(*z), z), torch.autograd.grad(expected, z)):
        torch.testing.assert_close(mine, true)
