"""Symmetries of the losses, on batches hypothesis invents."""

from __future__ import annotations

import pytest
import torch
from backends import BACKENDS, STREAMING, USABLE
from hypothesis import given, settings
from hypothesis import strategies as st

import ecgloss.functional as F

CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # fp64 with sums in another order
options = st.fixed_dictionaries(
    {
        "weight_norm": st.sampled_from(["none", "mean", "softmax"]),
        "similarity": st.sampled_from(["cosine", "minmax"]),
        "reliability": st.sampled_from(["multiply", "revert", None]),
        "risk_scale": st.sampled_from(["minmax", 0.05]),
        "risk_power": st.sampled_from([1, 2]),
        "alpha": st.floats(0.01, 1.0),
        "temperature": st.floats(0.05, 2.0),
        "backend": st.sampled_from(USABLE),
    }
)
# Widths from 2: on a line all cosines are 1 or -1, and where they are equal the min-max divides rounding by 1e-6.
batches = st.tuples(st.integers(2, 12), st.integers(2, 9), st.integers(0, 2**31))


def make(shape):
    b, d, seed = shape
    g = torch.Generator().manual_seed(seed)
    z1, z2 = (torch.randn(b, d, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    risk = torch.rand(b, generator=g, dtype=torch.float64)
    risk[torch.rand(b, generator=g) < 0.2] = torch.nan
    return z1, z2, risk, torch.rand(b, generator=g, dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(batches, options, st.randoms(use_true_random=False))
def test_permuting_patients_permutes_gradients(shape, chosen, random):
    z1, z2, risk, missing = make(shape)
    order = list(range(len(risk)))
    random.shuffle(order)
    loss = F.clef(z1, z2, risk, missing, **chosen)
    shuffled = F.clef(z1[order], z2[order], risk[order], missing[order], **chosen)
    torch.testing.assert_close(shuffled, loss, **CLOSE)
    g, h = torch.autograd.grad(loss, z1)[0], torch.autograd.grad(shuffled, z1)[0]
    torch.testing.assert_close(h, g, **CLOSE)  # both are gradients of the same z1, row by row


@settings(max_examples=60, deadline=None)
@given(batches, options)
def test_swapping_the_views_leaves_the_loss_and_swaps_the_gradients(shape, chosen):
    z1, z2, risk, missing = make(shape)
    loss, swapped = (F.clef(a, b, risk, missing, **chosen) for a, b in ((z1, z2), (z2, z1)))
    torch.testing.assert_close(swapped, loss, **CLOSE)
    for g, h in zip(torch.autograd.grad(loss, (z1, z2)), torch.autograd.grad(swapped, (z1, z2))):
        torch.testing.assert_close(h, g, **CLOSE)


@settings(max_examples=60, deadline=None)
@given(batches, options, st.floats(1e-3, 1e3))
def test_rescaling_rows_leaves_the_loss(shape, chosen, factor):
    z1, z2, risk, missing = make(shape)
    rescaled = z1 * torch.linspace(1, factor, len(z1), dtype=torch.float64)[:, None]
    loss = F.clef(z1, z2, risk, missing, **chosen)
    torch.testing.assert_close(F.clef(rescaled, z2, risk, missing, **chosen), loss, **CLOSE)


@settings(max_examples=60, deadline=None)
@given(batches, options, st.floats(-10, 10))
def test_shifting_all_risks_leaves_the_loss(shape, chosen, shift):
    z1, z2, risk, missing = make(shape)
    loss = F.clef(z1, z2, risk, missing, **chosen)
    # The shift itself rounds the risks to 1e-15, which the min-max over a narrow range can magnify a thousandfold.
    torch.testing.assert_close(F.clef(z1, z2, risk + shift, missing, **chosen), loss, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
@settings(max_examples=25, deadline=None)
@given(shape=batches, risk=st.floats(0, 1))
def test_equal_risks_with_mean_weights_are_ntxent(backend, alpha, shape, risk):
    z1, z2, *_ = make(shape)
    equal = torch.full((len(z1),), risk, dtype=torch.float64)
    loss = F.clef(z1, z2, equal, weight_norm="mean", align_weight=0.0, alpha=alpha, backend=backend)
    expected = F.ntxent(z1, z2, backend=backend)
    torch.testing.assert_close(loss, expected, **CLOSE)
    for g, h in zip(torch.autograd.grad(loss, (z1, z2)), torch.autograd.grad(expected, (z1, z2))):
        torch.testing.assert_close(g, h, **CLOSE)


@pytest.mark.parametrize("backend", STREAMING)
@settings(max_examples=60, deadline=None)
@given(shape=batches, chosen=options)
def test_backends_agree(backend, shape, chosen):
    z1, z2, risk, missing = make(shape)
    chosen = {name: value for name, value in chosen.items() if name != "backend"}
    loss, other = (F.clef(z1, z2, risk, missing, backend=b, **chosen) for b in (backend, "reference"))
    torch.testing.assert_close(loss, other, **CLOSE)
    for g, h in zip(torch.autograd.grad(loss, (z1, z2)), torch.autograd.grad(other, (z1, z2))):
        torch.testing.assert_close(g, h, rtol=1e-7, atol=1e-10)
