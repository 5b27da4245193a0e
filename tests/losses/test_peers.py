"""The losses that other packages have too give what theirs give. `make peers` installs those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from backends import BACKENDS
from torch import Tensor

import ecgloss
import ecgloss.functional as F

B, D = 32, 48
BACKEND = pytest.mark.parametrize("backend", BACKENDS)
TAU = pytest.mark.parametrize("tau", [0.07, 0.1, 0.5])


@pytest.fixture
def lightly() -> Any:
    reason = "lightly is installed by `make peers`"
    return pytest.importorskip("lightly.loss", reason=reason, exc_type=ImportError)


@pytest.fixture
def metric_learning() -> Any:
    reason = "pytorch-metric-learning is installed by `make peers`"
    return pytest.importorskip("pytorch_metric_learning.losses", reason=reason, exc_type=ImportError)


@pytest.fixture
def views(rng) -> tuple[Tensor, Tensor]:
    z1 = torch.randn(B, D, generator=rng)
    return z1.requires_grad_(), (z1.detach() + 0.7 * torch.randn(B, D, generator=rng)).requires_grad_()


def assert_same(mine: Tensor, theirs: Tensor, inputs: Sequence[Tensor]) -> None:
    """Both are fp32: S is rounded to 2^-24, which 1 / tau magnifies, differently in each."""
    torch.testing.assert_close(mine, theirs, rtol=2e-6, atol=2e-6)
    for g, h in zip(torch.autograd.grad(mine, inputs), torch.autograd.grad(theirs, inputs)):
        assert h.norm() > 1e-3
        assert (g - h).norm() <= 1e-5 * h.norm()


@BACKEND
@TAU
def test_ntxent_is_that_of_lightly(lightly, views, tau, backend):
    theirs = lightly.NTXentLoss(temperature=tau)(*views)
    assert_same(F.ntxent(*views, temperature=tau, backend=backend), theirs, views)


@BACKEND
@TAU
def test_ntxent_is_that_of_pytorch_metric_learning(metric_learning, views, tau, backend):
    """Theirs contrasts each positive pair with the negatives: the two views of a sample share a label."""
    labels = torch.arange(B).repeat(2)
    theirs = metric_learning.NTXentLoss(temperature=tau)(torch.cat(views), labels)
    assert_same(F.ntxent(*views, temperature=tau, backend=backend), theirs, views)
    default = metric_learning.NTXentLoss()(torch.cat(views), labels)
    assert_same(ecgloss.NTXentLoss(backend=backend)(*views), default, views)


@BACKEND
@TAU
@pytest.mark.parametrize("labels", ["classes", "views", "with strangers"])
def test_supcon_is_that_of_pytorch_metric_learning(metric_learning, views, tau, backend, labels):
    """Theirs averages over the losses that are not 0, which are those of rows with positives."""
    names = torch.arange(B).repeat(2) if labels == "views" else torch.arange(2 * B) % 7
    if labels == "with strangers":
        names[::5] = 100 + torch.arange(len(names[::5]))
    theirs = metric_learning.SupConLoss(temperature=tau)(torch.cat(views), names)
    assert_same(F.supcon(torch.cat(views), names, temperature=tau, backend=backend), theirs, views)


def test_supcon_has_another_default_temperature_than_pytorch_metric_learning(metric_learning, views):
    names = torch.arange(B).repeat(2)
    theirs = metric_learning.SupConLoss()(torch.cat(views), names)
    assert_same(F.supcon(torch.cat(views), names, temperature=0.1), theirs, views)
    with pytest.raises(AssertionError):
        assert_same(F.supcon(torch.cat(views), names), theirs, views)


@BACKEND
@TAU
def test_moco_is_that_of_lightly_over_several_batches(lightly, rng, tau, backend):
    """With batches that divide the queue: of others lightly drops the keys that would go around its end."""
    batch, size = 8, 24
    theirs = lightly.NTXentLoss(temperature=tau, memory_bank_size=(size, D))
    mine = ecgloss.MoCoLoss(D, size, tau, backend=backend)
    mine.queue.copy_(theirs.memory_bank.bank)
    for step in range(7):  # twice around
        q = torch.randn(batch, D, generator=rng).requires_grad_()
        k = q.detach() + 3 * torch.randn(batch, D, generator=rng)  # no loss near 0, where the softmax of theirs cancels
        negatives = mine.queue.clone()
        expected = theirs(q, k)
        alone = F.info_nce(q, k, negatives=negatives, temperature=tau, backend=backend)
        torch.testing.assert_close(alone, expected.detach(), rtol=2e-6, atol=2e-6)
        assert_same(mine(q, k), expected, (q,))
        assert int(mine.position) == (step + 1) * batch % size == int(theirs.memory_bank.bank_ptr)
        torch.testing.assert_close(mine.queue, theirs.memory_bank.bank, rtol=0, atol=1e-7)  # both normalised in fp32


def test_byol_is_that_of_lightly(lightly, views):
    p, z = views
    theirs = 2 + 2 * lightly.NegativeCosineSimilarity()(p, z.detach())
    assert_same(F.byol(p, z), theirs, (p,))
    q, y = p.detach().flip(0).requires_grad_(), z.detach().flip(0)
    both = 2 + lightly.NegativeCosineSimilarity()(p, y) + lightly.NegativeCosineSimilarity()(q, z.detach())
    assert_same(ecgloss.BYOLLoss()(p, q, z, y), both, (p, q))
