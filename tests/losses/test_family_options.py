"""Weights, reductions, terms and trained temperatures mean the same in every loss; bad input is named; limits hold."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from backends import BACKENDS
from covering import pairwise
from loss_cases import ANCHORED, CASES, MODULES, SIMILARITIES, Side, side
from loss_oracles import logits
from torch import Tensor, nn

import ecgloss
import ecgloss.functional as F

B, D = 8, 5
BACKEND = pytest.mark.parametrize("backend", BACKENDS)
ANCHORS = pytest.mark.parametrize("loss", ANCHORED)
WITH_TAU = pytest.mark.parametrize("loss", SIMILARITIES)
CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # fp64 with sums in another order
CLEF = ("clef paper", "clef official")
SKIPPING = ("supcon", "supcon sum_in", "physioclr")  # their batches have anchors that do not count


def batch(seed: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Side]:
    g = torch.Generator().manual_seed(seed)
    z1, z2 = (torch.randn(B, D, generator=g, dtype=torch.float64).to(dtype).requires_grad_() for _ in range(2))
    return z1, z2, side(B, D, g)


def anchor_weights(loss: str) -> Tensor:
    """One positive number per anchor, all different; and 0 for anchor 2."""
    weight = torch.linspace(0.5, 2.0, CASES[loss].views * B, dtype=torch.float64)
    weight[2] = 0
    return weight


def rows_and_constant(loss: str, z1: Tensor, z2: Tensor, s: Side) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of every anchor, which anchors count, and what is added to the loss of each (CLEF's alignment)."""
    rows = CASES[loss].call(z1, z2, s, reduction="none")
    if loss not in CLEF:
        counts = rows != 0 if loss in SKIPPING else torch.ones_like(rows, dtype=torch.bool)
        return rows, counts, torch.zeros(())
    terms = CASES[loss].call(z1, z2, s, reduction="none", return_terms=True)
    half = 0.5 if loss == "clef official" else 1.0
    torch.testing.assert_close(terms.loss, half * (terms.contrastive + terms.alignment), **CLOSE)
    constant = half * terms.alignment
    return rows - constant, torch.ones_like(rows, dtype=torch.bool), constant


@ANCHORS
def test_reductions_are_sums_and_means_over_the_anchors_that_count(loss):
    z1, z2, s = batch()
    rows, counts, constant = rows_and_constant(loss, z1, z2, s)
    assert rows.shape == (CASES[loss].views * B,)
    assert len(rows.unique()) >= B - 2  # rows that are all alike would prove nothing
    total, mean = (CASES[loss].call(z1, z2, s, reduction=name) for name in ("sum", "mean"))
    torch.testing.assert_close(total, rows.sum() + len(rows) * constant, **CLOSE)
    torch.testing.assert_close(mean, rows.sum() / counts.sum() + constant, **CLOSE)
    torch.testing.assert_close(CASES[loss].call(z1, z2, s), mean, rtol=0, atol=0)


@ANCHORS
def test_weights_multiply_anchors_and_the_mean_is_over_weights(loss):
    z1, z2, s = batch()
    rows, counts, constant = rows_and_constant(loss, z1, z2, s)
    weight = anchor_weights(loss)
    none, total, mean = (CASES[loss].call(z1, z2, s, weight=weight, reduction=name) for name in ("none", "sum", "mean"))
    torch.testing.assert_close(none, weight * rows + constant, **CLOSE)
    torch.testing.assert_close(total, (weight * rows).sum() + len(rows) * constant, **CLOSE)
    torch.testing.assert_close(mean, (weight * rows).sum() / weight[counts].sum() + constant, **CLOSE)
    ones = CASES[loss].call(z1, z2, s, weight=torch.ones_like(weight))
    torch.testing.assert_close(ones, CASES[loss].call(z1, z2, s), **CLOSE)


@ANCHORS
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradients_of_weighted_losses_are_weighted_gradients(loss, reduction):
    z1, z2, s = batch()
    weight = anchor_weights(loss)
    upstream = torch.linspace(-1, 2, len(weight), dtype=torch.float64) if reduction == "none" else torch.ones(())
    rows, counts, constant = rows_and_constant(loss, z1, z2, s)
    share = {"none": upstream, "sum": 1.0, "mean": 1 / weight[counts].sum()}[reduction]
    repeats = {"none": upstream.sum(), "sum": float(len(weight)), "mean": 1.0}[reduction]
    expected = torch.autograd.grad((share * weight * rows).sum() + repeats * constant, z1)[0]
    mine = torch.autograd.grad(CASES[loss].call(z1, z2, s, weight=weight, reduction=reduction), z1, upstream)[0]
    torch.testing.assert_close(mine, expected, **CLOSE)


@pytest.mark.parametrize("loss", [name for name in ANCHORED if CASES[name].views == 2 and name != "supcon"])
def test_one_weight_per_sample_weighs_both_views(loss):
    z1, z2, s = batch()
    weight = anchor_weights(loss)[:B]
    once, twice = (CASES[loss].call(z1, z2, s, weight=w) for w in (weight, weight.repeat(2)))
    assert once == twice
    assert once != CASES[loss].call(z1, z2, s, weight=weight.flip(0))


@ANCHORS
def test_weights_of_zero_everywhere_give_zero_and_not_nan(loss):
    z1, z2, s = batch()
    *_, constant = rows_and_constant(loss, z1, z2, s)
    value = CASES[loss].call(z1, z2, s, weight=torch.zeros(CASES[loss].views * B, dtype=torch.float64))
    torch.testing.assert_close(value, constant.to(value), **CLOSE)
    assert torch.isfinite(torch.autograd.grad(value, z1)[0]).all()


@pytest.mark.parametrize("loss", [name for name in SIMILARITIES if name not in CLEF])
@BACKEND
def test_terms_are_what_the_loss_is_made_of(loss, backend):
    z1, z2, s = batch()
    weight = anchor_weights(loss)
    terms = CASES[loss].call(z1, z2, s, weight=weight, return_terms=True, backend=backend)
    rows, counts, _ = rows_and_constant(loss, z1, z2, s)
    torch.testing.assert_close(terms.loss, CASES[loss].call(z1, z2, s, weight=weight), **CLOSE)
    torch.testing.assert_close(terms.rows, rows, **CLOSE)
    assert terms.counted.shape == ()
    assert terms.counted == counts.sum()
    assert counts.all() == (loss not in SKIPPING)


def denominators(loss: str, z1: Tensor, z2: Tensor, s: Side, tau: float) -> list[Tensor] | None:
    """The plain log-sum-exp of every anchor, pair by pair; None where test_family_definition has the sets."""
    z = torch.cat([z1, z2])
    if loss in ("ntxent", "supcon", "y_aware"):
        pairs = logits(z, z, tau)
        kept = [[x for k, x in enumerate(row) if k != i] for i, row in enumerate(pairs)]
    elif loss == "supcon sum_in":
        pairs = logits(z1 + z2, z1 + z2, tau)
        kept = [[x for k, x in enumerate(row) if k != i] for i, row in enumerate(pairs)]
    elif loss == "info_nce":
        kept = logits(z1, torch.cat([z2, s.queue]), tau)
    elif loss == "info_nce symmetric":
        kept = logits(z1, z2, tau)
    elif loss == "moco":
        own = logits(z1, z2.detach(), tau)
        kept = [[own[i][i], *row] for i, row in enumerate(logits(z1, s.queue, tau))]
    else:
        return None
    return [torch.stack(row).logsumexp(0) for row in kept]


@pytest.mark.parametrize(
    "loss", ["ntxent", "supcon", "supcon sum_in", "y_aware", "info_nce", "info_nce symmetric", "moco"]
)
@BACKEND
def test_lse_is_the_differentiable_log_sum_exp_of_the_denominator(loss, backend):
    """For regularisers such as a z-loss, which have a gradient of their own."""
    z1, z2, s = batch()
    expected = denominators(loss, z1, z2, s, 0.3)
    assert expected is not None
    lse = CASES[loss].call(z1, z2, s, temperature=0.3, return_terms=True, backend=backend).lse
    torch.testing.assert_close(lse, torch.stack(expected), **CLOSE)
    mine, theirs = (torch.autograd.grad(x.square().mean(), z1)[0] for x in (lse, torch.stack(expected)))
    assert theirs.norm() > 1e-2
    torch.testing.assert_close(mine, theirs, **CLOSE)


@BACKEND
@pytest.mark.parametrize("denominator", ["negatives", "all"])
def test_lse_of_physioclr_is_that_of_its_denominator(denominator, backend):
    z1, z2, s = batch()
    options = {"denominator": denominator, "temperature": 0.3, "return_terms": True, "backend": backend}
    lse = F.physioclr(z1, z2, s.features, **options).lse
    pairs, own, unit = logits(z1, z1, 0.3), logits(z1, z2, 0.3), nn.functional.normalize(s.features, dim=1)
    expected = []
    for i, k in itertools.product(range(B), range(B)):
        if k == 0:
            expected.append([own[i][i]] if denominator == "all" else [])
        cosine = float(unit[i] @ unit[k])
        if k != i and (cosine < 0.25 or (denominator == "all" and cosine >= 0.25)):  # not NaN
            expected[i].append(pairs[i][k])
    known = [i for i in range(B) if expected[i]]
    plain = torch.stack([torch.stack(expected[i]).logsumexp(0) for i in known])
    assert torch.isfinite(lse).nonzero().flatten().tolist() == known
    torch.testing.assert_close(lse[known], plain, **CLOSE)
    mine, theirs = (torch.autograd.grad(x.sum(), z1)[0] for x in (lse[known], plain))
    torch.testing.assert_close(mine, theirs, **CLOSE)


@WITH_TAU
@BACKEND
def test_a_plain_temperature_equals_a_tensor_and_gets_its_gradient(loss, backend):
    z1, z2, s = batch()
    tau = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    value = CASES[loss].call(z1, z2, s, temperature=tau, backend=backend)
    torch.testing.assert_close(value, CASES[loss].call(z1, z2, s, temperature=0.2, backend=backend), **CLOSE)
    (g,) = torch.autograd.grad(value, tau)
    step = 1e-5
    up, down = (CASES[loss].call(z1, z2, s, temperature=t, backend=backend) for t in (0.2 + step, 0.2 - step))
    torch.testing.assert_close(g, (up - down) / (2 * step), rtol=1e-6, atol=1e-8)  # second order in the step


@pytest.mark.parametrize("loss", MODULES)
def test_modules_give_what_the_functions_give(loss):
    z1, z2, s = batch()
    case = CASES[loss]
    options = {"temperature": 0.2, "backend": "chunked"} if case.similarities else {}
    for reduction in ("mean", "sum", "none"):
        weight = anchor_weights(loss)
        value = case.forward(case.module(z1, s, reduction=reduction, **options), z1, z2, s, weight=weight)
        torch.testing.assert_close(value, case.call(z1, z2, s, weight=weight, reduction=reduction, **options), **CLOSE)


@pytest.mark.parametrize("loss", [name for name in MODULES if CASES[name].similarities])
def test_every_module_trains_a_temperature(loss):
    z1, z2, s = batch()
    case = CASES[loss]
    tau = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(case.call(z1, z2, s, temperature=tau), tau)
    direct = case.module(z1, s, temperature=nn.Parameter(tau.detach().clone()))
    case.forward(direct, z1, z2, s).backward()
    assert [name for name, _ in direct.named_parameters()] == ["temperature"]
    torch.testing.assert_close(direct.temperature.grad, expected, **CLOSE)
    by_log = case.module(z1, s, temperature=ecgloss.LogTemperature(0.2)).double()
    case.forward(by_log, z1, z2, s).backward()
    assert [name for name, _ in by_log.named_parameters()] == ["log_temperature.log"]
    # d tau / d log tau = tau; the logarithm was rounded to fp32 when the module was made.
    torch.testing.assert_close(by_log.log_temperature.log.grad, 0.2 * expected, rtol=1e-5, atol=1e-9)
    fixed = case.module(z1, s, temperature=torch.tensor(0.2, dtype=torch.float64))
    assert "temperature" in fixed.state_dict()
    assert not list(fixed.parameters())


def test_a_trained_temperature_stays_in_its_bounds_and_can_leave_them_again():
    """A plain clamp has no gradient outside: the temperature would stay at the bound for the rest of the training."""
    temperature = ecgloss.LogTemperature(0.02, low=0.01, high=1.0)
    optimiser = torch.optim.SGD(temperature.parameters(), lr=1.0)
    for direction, bound in ((1, 0.01), (-1, 1.0)):
        for _ in range(1000):
            optimiser.zero_grad()
            (direction * 5 * temperature()).backward()
            optimiser.step()
        assert temperature().item() == pytest.approx(bound, rel=1e-6)
    for start in (0.01, 1.0):  # the bounds themselves, which a rounded logarithm may miss
        assert ecgloss.LogTemperature(start, low=0.01, high=1.0)().item() == pytest.approx(start, rel=1e-6)


@pytest.mark.slow
def test_a_trained_temperature_compiles():
    z1, z2, _ = batch(dtype=torch.float32)
    criterion = ecgloss.NTXentLoss(ecgloss.LogTemperature(0.1), backend="chunked")
    value = torch.compile(criterion, fullgraph=True, backend="aot_eager")(z1, z2)
    torch.testing.assert_close(value, criterion(z1, z2), rtol=1e-5, atol=0)  # fp32
    (g,) = torch.autograd.grad(value, criterion.log_temperature.log)
    torch.testing.assert_close(g, torch.autograd.grad(criterion(z1, z2), criterion.log_temperature.log)[0])


@BACKEND
@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_equal_risks_with_mean_weights_are_plain_moco(backend, alpha):
    z1, z2, s = batch()
    risk, queue_risk = torch.full((B,), 0.07), torch.full((len(s.queue),), 0.07)
    options = {"weight_norm": "mean", "alpha": alpha, "backend": backend}
    by_risk = F.moco(z1, z2, s.queue, risk=risk, queue_risk=queue_risk, **options)
    plain = F.moco(z1, z2, s.queue, backend=backend)
    torch.testing.assert_close(by_risk, plain, **CLOSE)
    torch.testing.assert_close(torch.autograd.grad(by_risk, z1), torch.autograd.grad(plain, z1), **CLOSE)


@BACKEND
@pytest.mark.parametrize("positives", ["mean_out", "sum_in"])
@pytest.mark.parametrize("n", [1, 2, B])
def test_supcon_of_strangers_is_zero_with_zero_gradients(backend, positives, n):
    z1, _, _ = batch()
    tau = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    z = z1[:n].detach().requires_grad_()
    options = {"temperature": tau, "positives": positives, "backend": backend}
    terms = F.supcon(z, torch.arange(n), return_terms=True, **options)
    assert terms.loss == 0
    assert terms.counted == 0
    for g in torch.autograd.grad(terms.loss, (z, tau)):
        assert torch.equal(g, torch.zeros_like(g))


@BACKEND
@pytest.mark.parametrize("positives", ["mean_out", "sum_in"])
@pytest.mark.parametrize("features", ["all alike", "all unknown"])
def test_physioclr_without_negatives_is_zero_with_zero_gradients(backend, positives, features):
    z1, z2, _ = batch()
    tau = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    known = torch.full((B, 3), 1.0 if features == "all alike" else torch.nan)
    options = {"temperature": tau, "positives": positives, "backend": backend}
    terms = F.physioclr(z1, z2, known, return_terms=True, **options)
    assert terms.loss == 0
    assert terms.counted == 0
    for g in torch.autograd.grad(terms.loss, (z1, z2, tau)):
        assert torch.equal(g, torch.zeros_like(g))


@BACKEND
@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("risk", [[0.1, 0.3], [0.2, 0.2], [0.1, math.nan], [math.nan, math.nan]])
def test_clef_of_two_samples_is_finite(backend, preset, risk):
    z1, z2 = (z[:2].detach().requires_grad_() for z in batch()[:2])
    value = F.clef(z1, z2, torch.tensor(risk), torch.tensor([0.0, 0.5]), preset=preset, backend=backend)
    assert torch.isfinite(value)
    for g in torch.autograd.grad(value, (z1, z2)):
        assert torch.isfinite(g).all()
        assert g.abs().max() > 0


@pairwise(
    loss=SIMILARITIES,
    backend=BACKENDS,
    tau=[0.01, 0.02],
    dtype=[torch.float32, torch.bfloat16],
    spread=[0.0, 1e-4, 0.05],
)
def test_no_loss_breaks_on_nearly_parallel_embeddings_at_a_low_temperature(loss, backend, tau, dtype, spread):
    """As an untrained encoder gives them."""
    z1, z2, s = batch()
    common = torch.randn(D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z1, z2 = ((common + spread * z.detach()).to(dtype).requires_grad_() for z in (z1, z2))
    value = CASES[loss].call(z1, z2, s, temperature=tau, backend=backend)
    assert torch.isfinite(value)
    for g in torch.autograd.grad(value, (z1, z2), allow_unused=True):
        assert g is None or torch.isfinite(g).all()
