"""F.ntxent is SimCLR's loss."""

from __future__ import annotations

import pytest
import torch
from backends import BACKENDS
from oracles import naive_ntxent

import ecgloss
import ecgloss.functional as F


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tau", [0.07, 0.5, 2.0])
def test_equals_the_double_loop(backend, tau, rng):
    z1, z2 = (torch.randn(7, 5, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2))
    t = torch.tensor(tau, dtype=torch.float64, requires_grad=True)
    loss, expected = F.ntxent(z1, z2, temperature=t, backend=backend), naive_ntxent(z1, z2, t)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)  # fp64, same terms in another order
    for mine, theirs in zip(torch.autograd.grad(loss, (z1, z2, t)), torch.autograd.grad(expected, (z1, z2, t))):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck(backend, rng):
    z1, z2 = (torch.randn(6, 3, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2))
    t = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b, c: F.ntxent(a, b, temperature=c, backend=backend), (z1, z2, t))


def test_module_equals_function_and_trains_its_temperature(rng):
    z1, z2 = torch.randn(8, 4, generator=rng), torch.randn(8, 4, generator=rng)
    assert ecgloss.NTXentLoss(0.3)(z1, z2) == F.ntxent(z1, z2, temperature=0.3)
    module = ecgloss.NTXentLoss(torch.nn.Parameter(torch.tensor(0.3)))
    module(z1, z2).backward()
    assert [name for name, _ in module.named_parameters()] == ["temperature"]
    assert module.temperature.grad.abs() > 0
    assert "temperature" in ecgloss.NTXentLoss(torch.tensor(0.3)).state_dict()


def test_clef_module_equals_function(rng):
    z1, z2 = torch.randn(8, 4, generator=rng), torch.randn(8, 4, generator=rng)
    risk, counts = torch.rand(8, generator=rng), torch.randint(0, 7, (8,), generator=rng)
    module = ecgloss.CLEFLoss("official", alpha=0.3, reliability="revert", n_attributes=6)
    options = {"preset": "official", "alpha": 0.3, "reliability": "revert", "n_attributes": 6}
    assert module(z1, z2, risk, counts) == F.clef(z1, z2, risk, counts, **options)
    assert module.terms(z1, z2, risk, counts) == F.clef(z1, z2, risk, counts, **options, return_terms=True)
    assert "alpha=0.3" in repr(module)
    trained = ecgloss.CLEFLoss(temperature=torch.nn.Parameter(torch.tensor(0.1)))
    trained(z1, z2, risk).backward()
    assert trained.temperature.grad.abs() > 0
