"""What the test suites of other packages assert of their losses holds here too, or differs as docs/switching.md says.

The claims are those of lightly (tests/loss), pytorch-metric-learning (tests/losses), solo-learn (tests/losses) and
SupContrast (losses.py); they are written anew, and need none of these packages.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from backends import BACKENDS
from torch import Tensor

import ecgloss
import ecgloss.functional as F

BACKEND = pytest.mark.parametrize("backend", BACKENDS)
ANGLES = (0, 10, 20, 50, 60, 80)  # of unit vectors in a plane, in degrees
LABELS = (0, 0, 0, 1, 1, 2)


def on_circle(angles) -> Tensor:
    radians = torch.deg2rad(torch.tensor(angles, dtype=torch.float64))
    return torch.stack([radians.cos(), radians.sin()], 1).requires_grad_()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.inner(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


# lightly


@BACKEND
def test_ntxent_is_algorithm_1_of_simclr(rng, backend):
    for n, width, tau in product((2, 4), (1, 16), (0.1, 10.0)):
        z1, z2 = torch.randn(2, n, width, generator=rng)
        z, total = torch.cat([z1, z2]).numpy(), 0.0
        for i in range(2 * n):
            others = [math.exp(cosine(z[i], z[k]) / tau) for k in range(2 * n) if k != i]
            total -= math.log(math.exp(cosine(z[i], z[(i + n) % (2 * n)]) / tau) / sum(others))
        loss = F.ntxent(z1, z2, temperature=tau, backend=backend)
        assert loss.item() == pytest.approx(total / (2 * n), abs=1e-5)
        assert F.ntxent(z2, z1, temperature=tau, backend=backend).item() == pytest.approx(loss.item(), abs=1e-5)


@BACKEND
@pytest.mark.parametrize("n", [2, 8, 16])
def test_where_all_rows_point_the_same_way_the_loss_is_the_logarithm_of_their_number(rng, n, backend):
    z1, z2 = (torch.rand(n, 1, generator=rng) * torch.tensor([1.0, 2.0]) + 1e-3 for _ in range(2))
    for tau in (0.1, 1.0, 7.0):
        loss = F.ntxent(z1, z1, temperature=tau, backend=backend).item()
        assert loss == pytest.approx(math.log(2 * n - 1), rel=1e-5)
        for size in (1, 2, 8, 15, 16, 17):
            if size < n:  # the bank is smaller than the batch: refused, where lightly keeps the first keys
                continue
            module = ecgloss.MoCoLoss(2, size, tau, backend=backend)
            for _ in range(size // n + 2):
                loss = module(z1.requires_grad_(), z1.detach()).item()
            assert loss == pytest.approx(math.log(size + 1), rel=1e-5)
    assert F.ntxent(z1, z2, backend=backend) > 0


def test_the_batch_enters_the_bank_after_its_loss(rng):
    batch, size = 3, 9
    module = ecgloss.MoCoLoss(2, size)
    for place in (*range(0, size, batch), *range(0, size, batch)):
        queries, keys = torch.randn(2, batch, 2, generator=rng)
        before = module.queue.clone()
        loss = module(queries, keys)
        unit = torch.nn.functional.normalize(keys, dim=1)
        assert (before[place : place + batch] - unit).norm() > 1e-5
        torch.testing.assert_close(module.queue[place : place + batch], unit)
        torch.testing.assert_close(loss, F.info_nce(queries, keys, negatives=before, temperature=0.07))


def test_a_bank_of_no_or_negative_size_and_a_negative_temperature_are_refused():
    for size in (0, -1):
        with pytest.raises(ValueError, match="size"):
            ecgloss.MoCoLoss(2, size)
    with pytest.raises(ValueError, match="temperature"):  # lightly accepts -1
        F.ntxent(torch.ones(2, 2), torch.ones(2, 2), temperature=-1.0)


@BACKEND
def test_supcon_without_labels_is_ntxent(rng, backend):
    z = torch.rand(16, 10, generator=rng)
    names = torch.arange(8).repeat(2)
    mine = F.supcon(z, names, temperature=0.5, backend=backend)
    torch.testing.assert_close(mine, F.ntxent(z[:8], z[8:], temperature=0.5, backend=backend))


# pytorch-metric-learning and SupContrast


@BACKEND
def test_supcon_on_a_circle_is_the_double_loop_over_pairs(backend):
    z, tau = on_circle(ANGLES), 0.1
    x, losses = z.detach().numpy(), []
    for a, label in enumerate(LABELS):
        positives = [p for p in range(len(x)) if p != a and LABELS[p] == label]
        total = sum(math.exp(x[a] @ x[n] / tau) for n in range(len(x)) if n != a)
        terms = [math.log(total) - x[a] @ x[p] / tau for p in positives]
        losses += [sum(terms) / len(terms)] if terms else []
    loss = F.supcon(z, torch.tensor(LABELS), temperature=tau, backend=backend)
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-9)
    loss.backward()
    assert torch.isfinite(z.grad).all()


@BACKEND
@pytest.mark.parametrize(("angles", "labels"), [([0], [0]), ([0, 40, 60], [1, 2, 3])])
def test_without_a_positive_pair_supcon_is_0_and_has_a_gradient_of_0(angles, labels, backend):
    z = on_circle(angles)
    loss = F.supcon(z, torch.tensor(labels), temperature=0.1, backend=backend)
    loss.backward()
    assert loss == 0
    assert (z.grad == 0).all()


@BACKEND
def test_supcontrast_scales_its_loss_by_tau_over_a_base_temperature(rng, backend):
    """(B, views, D) there, rows here; its mean is over all rows, which all have a positive: their other view."""
    features = torch.nn.functional.normalize(torch.randn(6, 3, 5, generator=rng, dtype=torch.float64), dim=-1)
    labels, tau, base = torch.tensor([0, 1, 0, 2, 1, 0]), 0.2, 0.07
    z, names, losses = features.transpose(0, 1).flatten(0, 1), labels.repeat(3), []
    for i in range(len(z)):
        logits = z @ z[i] / tau
        others = torch.arange(len(z)) != i
        log_prob = logits - torch.logsumexp(logits[others], 0)
        losses.append(-(tau / base) * log_prob[others & (names == names[i])].mean())
    mine = F.supcon(z, names, temperature=tau, backend=backend)
    assert (tau / base) * mine.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-9)


# solo-learn


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: F.ntxent(a, b, temperature=0.1),
        lambda a, b: F.supcon(torch.cat([a, b]), torch.arange(32).repeat(2), temperature=0.1),
        lambda a, b: F.info_nce(a, b, temperature=0.1),
        lambda a, b: F.byol(a, b.detach()) + F.byol(b, a.detach()),
    ],
    ids=["simclr", "supcon", "info_nce", "byol"],
)
def test_twenty_steps_of_gradient_descent_lower_the_loss(rng, loss):
    z1, z2 = (torch.randn(32, 128, generator=rng).requires_grad_() for _ in range(2))
    values = []
    for _ in range(20):
        value = loss(z1, z2)
        values.append(value.item())
        for z, g in zip((z1, z2), torch.autograd.grad(value, (z1, z2))):
            z.data.sub_(0.5 * g)
    assert values[-1] < values[0] != 0
