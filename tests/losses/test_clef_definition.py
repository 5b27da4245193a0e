"""F.clef is the loss of the paper: value and gradient against loops over pairs, for every option."""

from __future__ import annotations

import itertools

import pytest
import torch
from backends import BACKENDS
from covering import pairwise
from oracles import naive_clef, released_clef

import ecgloss.functional as F

B, D = 5, 4
# fp64 against fp64 with other orders of summation: rounding times the 1/tau of the smallest temperature below.
TIGHT = {"rtol": 1e-9, "atol": 1e-11}
SWEEP = {
    "weight_norm": ["none", "mean", "softmax"],
    "similarity": ["cosine", "minmax"],
    "reliability": ["multiply", "revert", None],
    "nan_risk": ["neutral", "zero"],
    "risk_scale": ["minmax", 0.02],
    "risk_power": [1, 2],
}
COMBINATIONS = [dict(zip(SWEEP, values)) for values in itertools.product(*SWEEP.values())]


def batch(seed: int = 0, b: int = B, d: int = D, k: int = 0, dtype: torch.dtype = torch.float64):
    g = torch.Generator().manual_seed(seed)
    z1, z2 = (torch.randn(b, d, generator=g, dtype=dtype).requires_grad_() for _ in range(2))
    risk = 0.4 * torch.rand(*((b, k) if k else (b,)), generator=g, dtype=torch.float64) ** 2
    missing = torch.randint(0, 7, (b,), generator=g) / 6
    return z1, z2, risk, missing


@pytest.mark.parametrize("backend", BACKENDS)
def test_value_and_gradients_equal_the_definition_for_every_combination_of_options(backend):
    z1, z2, risk, missing = batch()
    risk[1] = torch.nan
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    for options in COMBINATIONS:
        options = {**options, "alpha": 0.15, "contrastive_weight": 0.7, "align_weight": 1.3}
        expected = naive_clef(z1, z2, risk, missing, temperature=tau, **options)
        loss = F.clef(z1, z2, risk, missing, temperature=tau, backend=backend, **options)
        torch.testing.assert_close(loss, expected, **TIGHT, msg=lambda m, o=options: f"{o}: {m}")
        inputs = (z1, z2, tau)
        for mine, theirs in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs)):
            torch.testing.assert_close(mine, theirs, **TIGHT, msg=lambda m, o=options: f"{o}: {m}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("scale", ["minmax", 0.05])
def test_several_risk_scores_add_up(backend, power, scale):
    z1, z2, risk, missing = batch(k=3)
    risk[2, 1] = torch.nan
    options = {"risk_power": power, "risk_scale": scale, "reliability": "revert", "temperature": 0.2}
    expected = naive_clef(z1, z2, risk, missing, **options)
    torch.testing.assert_close(F.clef(z1, z2, risk, missing, backend=backend, **options), expected, **TIGHT)


@pairwise(backend=BACKENDS, **SWEEP)
def test_gradcheck(backend, weight_norm, similarity, reliability, nan_risk, risk_scale, risk_power):
    """Derivatives of the embeddings and the temperature, numerically."""
    options = {
        "weight_norm": weight_norm,
        "similarity": similarity,
        "reliability": reliability,
        "nan_risk": nan_risk,
        "risk_scale": risk_scale,
        "risk_power": risk_power,
    }
    z1, z2, risk, missing = batch(seed=3)
    risk[0] = torch.nan
    tau = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

    def loss(a, b, t):
        return F.clef(a, b, risk, missing, temperature=t, backend=backend, **options)

    assert torch.autograd.gradcheck(loss, (z1, z2, tau))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset", ["paper", "official"])
def test_gradcheck_of_the_presets_and_of_each_term_alone(backend, preset):
    z1, z2, risk, missing = batch(seed=4)
    for weights in ({}, {"contrastive_weight": 0.0}, {"align_weight": 0.0}):

        def loss(a, b, w=weights):
            return F.clef(a, b, risk, missing, preset=preset, backend=backend, **w)

        assert torch.autograd.gradcheck(loss, (z1, z2))


@pairwise(
    backend=BACKENDS,
    b=[4, 17, 64, 256],
    d=[8, 256],
    tau=[0.05, 0.07, 0.5],
    case=["random", "equal risks", "unknown risks"],
)
def test_preset_official_is_the_released_code(backend, b, d, tau, case):
    g = torch.Generator().manual_seed(b + d)
    z1 = torch.randn(b, d, generator=g)
    z2 = (z1 + 0.3 * torch.randn(b, d, generator=g)).requires_grad_()
    z1.requires_grad_()
    risk = torch.rand(b, generator=g) ** 3
    if case == "equal risks":
        risk = torch.full_like(risk, 0.1)
    elif case == "unknown risks":
        risk[::3] = torch.nan
    loss = F.clef(z1, z2, risk, preset="official", temperature=tau, backend=backend)
    # Its 1e-8 inside the logarithm guards against underflow, and shows where the nearest negative is far away; without
    # it only fp32 rounding is left.
    views = (z1, z2)
    gradients = torch.autograd.grad(loss, views)
    rounded = torch.autograd.grad(released_clef(z1, z2, risk, tau), views)  # the released code itself, in fp32
    for epsilon, tolerance in ((0.0, 1e-5), (1e-8, 1e-4)):
        expected = released_clef(z1.double(), z2.double(), risk.double(), tau, epsilon=epsilon)
        torch.testing.assert_close(loss.double(), expected, rtol=tolerance, atol=1e-7)
        for mine, theirs, fp32 in zip(gradients, torch.autograd.grad(expected, views), rounded):
            allowed = max(tolerance * theirs.norm(), 2 * (fp32 - theirs).norm())
            assert (mine - theirs).norm() <= allowed


def test_terms_add_up_to_the_loss():
    z1, z2, risk, missing = batch()
    terms = F.clef(z1, z2, risk, missing, contrastive_weight=2.0, align_weight=0.25, return_terms=True)
    torch.testing.assert_close(terms.loss, 2 * terms.contrastive + 0.25 * terms.alignment)
    alone = F.clef(z1, z2, risk, missing, contrastive_weight=0.0)
    torch.testing.assert_close(alone, terms.alignment)


def test_counts_of_missing_inputs_are_fractions_of_n_attributes():
    z1, z2, risk, _ = batch()
    counts = torch.tensor([0, 1, 2, 3, 6])
    by_count = F.clef(z1, z2, risk, counts, n_attributes=6)
    assert by_count == F.clef(z1, z2, risk, counts.double() / 6)
    assert by_count != F.clef(z1, z2, risk)


def test_every_option_changes_the_loss():
    """A test batch in which an option makes no difference would prove nothing about it."""
    z1, z2, risk, missing = batch()
    risk[1] = torch.nan
    base = F.clef(z1, z2, risk, missing)
    changes = [{name: value} for name, values in SWEEP.items() for value in values]
    changes += [{"alpha": 0.4}, {"temperature": 0.1}, {"preset": "official"}, {"align_weight": 0.5}]
    same = [change for change in changes if F.clef(z1, z2, risk, missing, **change) == base]
    assert same == [
        {"weight_norm": "none"},
        {"similarity": "cosine"},
        {"reliability": "multiply"},
        {"nan_risk": "neutral"},
        {"risk_scale": "minmax"},
        {"risk_power": 2},
    ]
