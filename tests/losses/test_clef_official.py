"""preset="official" is the table of the definition, materialised in fp64, over the whole range of batches in use."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
from backends import BACKENDS
from covering import pairwise
from torch import Tensor

import ecgloss.functional as F

# Smallest, ragged and largest batches and widths.
SIZES = [(4, 8), (4, 1024), (33, 100), (64, 256), (256, 8), (256, 1024)]
RISKS = ["random", "equal", "unknown", "all unknown"]


def materialised(z1: Tensor, z2: Tensor, risk: Tensor, missing: Tensor | None, tau: float) -> Tensor:
    """Halves of softmax-weighted NT-Xent and min-max alignment, W = M D with unknown risks 0, every matrix N x N."""
    b = len(risk)
    n = 2 * b
    sample = torch.arange(n) % b
    r = torch.where(torch.isnan(risk), torch.zeros_like(risk), risk)[sample]
    delta = (r[:, None] - r[None, :]) ** 2
    d = 0.2 + 0.8 * (delta - delta.min()) / (delta.max() - delta.min() + 1e-6)
    if missing is not None:
        f = missing[sample]
        d = d * torch.exp(-f[:, None] * f[None, :])
    w = torch.where(sample[:, None] == sample[None, :], 0.0, d)
    z = torch.cat([z1, z2])
    z = z / z.norm(dim=1, keepdim=True)
    s = z @ z.T
    own = s.roll(b, 1).diagonal() / tau  # s of row i and column i - b, its other view
    omega = torch.exp(w) / torch.exp(w).sum(1, keepdim=True)
    negatives = sample[:, None] != sample[None, :]
    mass = torch.where(negatives, omega * torch.exp(s / tau - 1 / tau), 0.0).sum(1)
    contrastive = (torch.log(torch.exp(own - 1 / tau) + mass) + 1 / tau - own).mean()
    hat = (s - s.min()) / (s.max() - s.min() + 1e-6)
    return 0.5 * contrastive + 0.5 * ((hat - (1 - w)) ** 2).mean()


def batch(b: int, d: int, risks: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1000 * b + d)
    z1 = torch.randn(b, d, generator=g)
    z2 = z1 + 0.7 * torch.randn(b, d, generator=g)
    risk = torch.rand(b, generator=g) ** 3
    if risks == "equal":
        risk[:] = 0.125
    elif risks == "unknown":
        risk[::3] = torch.nan
    elif risks == "all unknown":
        risk[:] = torch.nan
    missing = torch.randint(0, 7, (b,), generator=g) / 6
    return z1.requires_grad_(), z2.requires_grad_(), risk, missing


@functools.cache  # the same for every backend
def definition(b: int, d: int, risks: str, tau: float, with_missing: bool) -> tuple[float, Tensor]:
    """Value, and gradients of both views, in fp64."""
    z1, z2, risk, missing = batch(b, d, risks)
    wide = [z.detach().double().requires_grad_() for z in (z1, z2)]
    loss = materialised(*wide, risk.double(), missing.double() if with_missing else None, tau)
    return loss.item(), torch.cat(torch.autograd.grad(loss, wide))


@pairwise(backend=BACKENDS, size=SIZES, risks=RISKS)
def test_value_and_gradient_follow_the_definition_to_fp32_rounding(backend, size, risks):
    b, d = size
    z1, z2, risk, missing = batch(b, d, risks)
    for tau, with_missing in itertools.product([0.05, 0.5], [False, True]):
        known = missing if with_missing else None
        loss = F.clef(z1, z2, risk, known, preset="official", temperature=tau, backend=backend)
        gradient = torch.cat(torch.autograd.grad(loss, (z1, z2))).double()
        expected, expected_gradient = definition(b, d, risks, tau, with_missing)
        # 1e-5: S is rounded to 2^-24, which 1 / tau = 20 magnifies in the exponent and sums over N average out again.
        assert abs(loss.item() - expected) <= 1e-5 * expected
        assert (gradient - expected_gradient).norm() <= 1e-5 * expected_gradient.norm()


@pytest.mark.parametrize("risks", RISKS[:3])
def test_missing_fractions_matter(risks):
    """Else the test above would not tell whether they are used."""
    z1, z2, risk, missing = batch(33, 8, risks)
    with_missing, without = (F.clef(z1, z2, risk, f, preset="official") for f in (missing, None))
    assert (with_missing - without).abs() > 1e-3 * without
