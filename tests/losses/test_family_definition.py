"""Every loss is its published formula: value and gradients against loops over pairs in fp64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import loss_oracles as naive
import pytest
import torch
from backends import BACKENDS
from torch import Tensor

import ecgloss.functional as F

# fp64 against fp64 with sums in another order; 1 / tau^2 = 25 magnifies rounding in the temperature's gradient.
TIGHT = {"rtol": 1e-10, "atol": 1e-12}
BACKEND = pytest.mark.parametrize("backend", BACKENDS)
POSITIVES = pytest.mark.parametrize("positives", ["mean_out", "sum_in"])


@pytest.fixture
def tau() -> Tensor:
    return torch.tensor(0.2, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def make(rng) -> Callable[..., Tensor]:
    """Rows of length other than 1, so that normalisation shows."""
    return lambda n, d=4: (3 * torch.randn(n, d, generator=rng, dtype=torch.float64)).requires_grad_()


def assert_same(loss: Tensor, expected: Tensor, inputs: Sequence[Tensor], constants: Sequence[Tensor] = ()) -> None:
    """Value and gradients; ``constants`` get none."""
    torch.testing.assert_close(loss, expected, **TIGHT)
    theirs = torch.autograd.grad(expected, inputs, retain_graph=True)
    mine = torch.autograd.grad(loss, [*inputs, *constants], allow_unused=True)
    for g, h in zip(mine, theirs):
        assert h.abs().max() > 0
        torch.testing.assert_close(g, h, **TIGHT)
    assert all(g is None for g in mine[len(inputs) :])


@BACKEND
@pytest.mark.parametrize("m", [6, 9, 23])
def test_info_nce_contrasts_a_query_with_every_key(backend, m, make, tau):
    q, k = make(6), make(m)
    expected = naive.mean(naive.info_nce(q, k, tau))
    assert_same(F.info_nce(q, k, temperature=tau, backend=backend), expected, (q, k, tau))


@BACKEND
def test_symmetric_info_nce_is_the_loss_of_clip(backend, make, tau):
    q, k = make(7), make(7)
    expected = naive.mean(naive.info_nce(q, k, tau, symmetric=True))
    assert_same(F.info_nce(q, k, temperature=tau, symmetric=True, backend=backend), expected, (q, k, tau))


@BACKEND
def test_info_nce_with_negatives_uses_those_alone(backend, make, tau):
    q, k, negatives = make(5), make(5), make(8)
    expected = naive.mean(naive.moco(q, k, negatives, tau))
    loss = F.info_nce(q, k, negatives=negatives, temperature=tau, backend=backend)
    assert_same(loss, expected, (q, tau), constants=(k, negatives))


@BACKEND
@pytest.mark.parametrize("size", [1, 3, 11])
def test_moco_contrasts_a_query_with_its_key_and_the_queue(backend, size, make, tau):
    q, k, queue = make(5), make(5), make(size)
    expected = naive.mean(naive.moco(q, k, queue, tau))
    assert_same(F.moco(q, k, queue, temperature=tau, backend=backend), expected, (q, tau), constants=(k, queue))


@BACKEND
@pytest.mark.parametrize("norm", ["none", "mean", "softmax"])
@pytest.mark.parametrize("unknown", ["none", "some", "queue", "all"])
@pytest.mark.parametrize("scale", ["minmax", 0.05])
def test_moco_weighs_queue_entries_by_risk(backend, norm, unknown, scale, make, tau, rng):
    q, k, queue = make(4), make(4), make(9)
    risk, queue_risk = (torch.rand(n, generator=rng, dtype=torch.float64) ** 2 for n in (4, 9))
    if unknown == "some":
        risk[1], queue_risk[::3] = torch.nan, torch.nan
    if unknown in ("queue", "all"):
        queue_risk[:] = torch.nan
    if unknown == "all":
        risk[:] = torch.nan
    fixed = None if scale == "minmax" else scale
    omega = naive.queue_weights(risk.tolist(), queue_risk.tolist(), norm, alpha=0.3, scale=fixed)
    expected = naive.mean(naive.moco(q, k, queue, tau, omega))
    options = {"weight_norm": norm, "alpha": 0.3, "risk_scale": scale, "temperature": tau, "backend": backend}
    loss = F.moco(q, k, queue, risk=risk, queue_risk=queue_risk, **options)
    assert_same(loss, expected, (q, tau), constants=(k, queue))


@BACKEND
@POSITIVES
def test_supcon_attracts_rows_of_the_same_label(backend, positives, make, tau):
    z, labels = make(9), [0, 1, 0, 5, 1, 0, 1, 1, -3]  # 5 and -3 have one member
    expected = naive.over_counted(naive.supcon(z, labels, tau, positives))
    loss = F.supcon(z, torch.tensor(labels), temperature=tau, positives=positives, backend=backend)
    assert_same(loss, expected, (z, tau))


@BACKEND
@POSITIVES
def test_a_class_of_one_member_contributes_nothing_and_is_still_a_negative(backend, positives, make, tau):
    z, labels = make(5), [0, 0, 1, 1, 2]
    options = {"temperature": tau, "positives": positives, "backend": backend}
    terms = F.supcon(z, torch.tensor(labels), return_terms=True, **options)
    assert terms.counted == 4
    assert terms.rows[4] == 0
    without = F.supcon(z[:4], torch.tensor(labels[:4]), **options)
    assert terms.loss > without  # the mean is over the same four rows, each with one negative more


@BACKEND
def test_cmsc_is_supcon_with_patients_as_labels(backend, make, tau):
    """CLOCS: views, segments and leads of a patient are positives; here two views of six recordings."""
    z1, z2, patients = make(6), make(6), [17, 4, 17, 9, 4, 200]
    z = torch.cat([z1, z2])
    expected = naive.over_counted(naive.supcon(z, patients * 2, tau, "mean_out"))
    loss = F.supcon(z, torch.tensor(patients * 2), temperature=tau, backend=backend)
    assert_same(loss, expected, (z1, z2, tau))


@BACKEND
@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("bandwidth", [0.3, 2.0])
def test_y_aware_shares_positives_by_the_kernel_of_metadata(backend, k, bandwidth, make, tau, rng):
    z1, z2 = make(5), make(5)
    metadata = 60 + torch.randn(*((5, k) if k else (5,)), generator=rng, dtype=torch.float64)
    expected = naive.mean(naive.y_aware(z1, z2, metadata.reshape(5, -1).tolist(), bandwidth, tau))
    loss = F.y_aware(z1, z2, metadata, bandwidth=bandwidth, temperature=tau, backend=backend)
    assert_same(loss, expected, (z1, z2, tau))


def test_byol_is_the_squared_distance_of_unit_vectors_and_trains_predictions_only(make):
    p, z = make(6), make(6)
    assert_same(F.byol(p, z), naive.mean(naive.byol(p, z)), (p,), constants=(z,))


def test_byol_keeps_its_digits_where_prediction_and_target_agree(make):
    """2 - 2 cos cancels there: in fp32 its error would be as large as the loss."""
    z = make(6).detach()
    p = z + 1e-4 * make(6).detach()
    expected = naive.mean(naive.byol(p, z))
    value = F.byol(p.float(), z.float())
    assert 1e-10 < expected < 1e-7
    torch.testing.assert_close(value.double(), expected, rtol=0.01, atol=0)  # what the rounding of p and z leaves


def test_a_row_of_zeros_has_cosine_zero_in_byol(make):
    p, z = make(3).detach(), make(3).detach()
    p[0], z[1], p[2], z[2] = 0, 0, 0, 0
    leaf = p.requires_grad_()
    rows = F.byol(leaf, z, reduction="none")
    torch.testing.assert_close(rows, torch.full_like(rows, 2.0), **TIGHT)
    assert torch.isfinite(torch.autograd.grad(rows.sum(), leaf)[0]).all()


@BACKEND
def test_an_anchor_far_from_its_positive_keeps_its_digits(backend):
    """log(1 + e^x) is more than x, also for x = 20.5, by 1e-9; the gradient's share is as much less than 1."""
    unit = torch.eye(2, dtype=torch.float64)
    for angle in (0.0, 60.0, 90.0):
        radians = torch.tensor(angle, dtype=torch.float64).deg2rad()
        q = torch.stack([radians.cos(), radians.sin()])[None].requires_grad_()
        tau = torch.tensor(1 / 20.5, dtype=torch.float64, requires_grad=True)
        expected = naive.mean(naive.moco(q, unit[:1], unit[1:], tau))
        assert_same(F.moco(q, unit[:1], unit[1:], temperature=tau, backend=backend), expected, (q, tau))


def physioclr_batch(make: Callable[..., Tensor], rng: torch.Generator):
    """Ten anchors, with unknown features at 4 (alone) and at 5 (of a patient with another recording)."""
    angle = torch.tensor([0.0, 10, 20, 100, 0, 0, 190, 200, 350, 275], dtype=torch.float64).deg2rad()
    features = torch.stack([angle.cos(), angle.sin()], 1) * (1 + torch.rand(10, 1, generator=rng, dtype=torch.float64))
    features[4, 0] = torch.nan
    features[5, 1] = torch.nan
    patient = torch.tensor([1, 2, 1, 3, 4, 5, 5, 1, 6, 6])  # 0 and 7 are one patient with unlike features
    return make(10), make(10), make(10), features, patient


@BACKEND
@POSITIVES
@pytest.mark.parametrize("denominator", ["negatives", "all"])
@pytest.mark.parametrize("include_self", [False, True])
def test_physioclr_is_its_sets_of_positives_and_negatives(
    backend, denominator, positives, include_self, make, tau, rng
):
    h, shuffled, neighbour, features, patient = physioclr_batch(make, rng)
    options = {"threshold": 0.4, "denominator": denominator, "positives": positives, "include_self": include_self}
    for with_patient, with_neighbour in itertools.product([False, True], repeat=2):
        names = patient if with_patient else None
        beside = neighbour if with_neighbour else None
        known = None if names is None else names.tolist()
        rows = naive.physioclr(h, shuffled, features.tolist(), beside, known, tau, **options)
        assert any(row is None for row in rows) == (denominator == "negatives")  # anchor 4 and, if so, 5
        chosen = {"h_neighbour": beside, "patient": names, "temperature": tau, "backend": backend}
        loss = F.physioclr(h, shuffled, features, **chosen, **options)
        inputs = (h, shuffled, tau, neighbour) if with_neighbour else (h, shuffled, tau)
        assert_same(loss, naive.over_counted(rows), inputs)


@BACKEND
def test_physioclr_skips_and_counts_out_an_anchor_without_negatives(backend, make, rng):
    h, shuffled, _, features, _ = physioclr_batch(make, rng)
    terms = F.physioclr(h, shuffled, features, backend=backend, return_terms=True)
    assert terms.counted == 8
    assert terms.rows[4] == terms.rows[5] == 0
    torch.testing.assert_close(terms.loss, terms.rows.sum() / 8)
    (g,) = torch.autograd.grad(terms.loss, h)
    assert torch.isfinite(g).all()
    assert (g[4:6] == 0).all(), "nobody compares itself with an anchor whose features are unknown"


@BACKEND
@POSITIVES
@pytest.mark.parametrize("denominator", ["negatives", "all"])
@pytest.mark.parametrize("with_patient", [False, True])
def test_physioclr_without_features_pushes_away_from_all_other_patients(
    backend, denominator, positives, with_patient, make, tau, rng
):
    """As if features were alike within a patient and unlike otherwise."""
    h, shuffled, neighbour, _, patient = physioclr_batch(make, rng)
    codes = torch.eye(10)[patient if with_patient else torch.arange(10)].tolist()
    options = {"denominator": denominator, "positives": positives}
    rows = naive.physioclr(h, shuffled, codes, neighbour, None, tau, threshold=0.5, include_self=False, **options)
    known = patient if with_patient else None
    terms = F.physioclr(
        h, shuffled, None, h_neighbour=neighbour, patient=known, temperature=tau, backend=backend, **options
    )
    assert_same(terms, naive.over_counted(rows), (h, shuffled, tau, neighbour))


@BACKEND
@POSITIVES
@pytest.mark.parametrize("denominator", ["negatives", "all"])
def test_physioclr_leaves_out_neighbours_that_are_not_there(backend, denominator, positives, make, tau, rng):
    h, shuffled, neighbour, features, patient = physioclr_batch(make, rng)
    there = torch.tensor([True, False, True, False, True, False, True, True, False, True])
    options = {"threshold": 0.4, "denominator": denominator, "positives": positives}
    both = [
        naive.physioclr(h, shuffled, features.tolist(), beside, patient.tolist(), tau, include_self=False, **options)
        for beside in (None, neighbour)
    ]
    rows = [both[int(known)][i] for i, known in enumerate(there)]
    garbage = torch.where(there[:, None], neighbour, 1e6)
    loss = F.physioclr(
        h,
        shuffled,
        features,
        h_neighbour=garbage,
        has_neighbour=there,
        patient=patient,
        temperature=tau,
        backend=backend,
        **options,
    )
    assert_same(loss, naive.over_counted(rows), (h, shuffled, tau, neighbour))


@pytest.mark.exhaustive
@pytest.mark.parametrize(("n", "denominator"), [(1024, "negatives"), (4096, "all")])
def test_physioclr_of_many_recordings_and_50_features_is_that_of_the_reference(n, denominator):
    g = torch.Generator().manual_seed(3)
    h, shuffled, neighbour = (torch.randn(n, 32, generator=g).requires_grad_() for _ in range(3))
    features, patient = torch.randn(n, 50, generator=g), torch.randint(n // 2, (n,), generator=g)
    values = []
    for backend in ("reference", "chunked", "auto"):
        loss = F.physioclr(
            h,
            shuffled,
            features,
            h_neighbour=neighbour,
            has_neighbour=patient % 3 > 0,
            patient=patient,
            threshold=0.2,
            denominator=denominator,
            backend=backend,
        )
        values.append((loss.detach(), *torch.autograd.grad(loss, (h, shuffled, neighbour))))
    for found in values[1:]:
        for mine, other in zip(found, values[0]):  # fp32, sums of n terms in another order
            torch.testing.assert_close(mine, other, rtol=2e-4, atol=2e-9)


@pytest.mark.parametrize("peaks", [0.0, 0.3, 1.0])
def test_peak_aware_mse_adds_the_error_in_peaks(peaks, make, rng):
    x_hat, x = make(3, 20), make(3, 20)
    mask = torch.rand(3, 20, generator=rng) < peaks
    expected = naive.peak_aware_mse(x_hat, x, mask.tolist(), 0.7, 0.4)
    assert_same(F.peak_aware_mse(x_hat, x, mask, global_weight=0.7, peak_weight=0.4), expected, (x_hat, x))


def test_peak_aware_mse_takes_one_mask_for_all_leads_and_the_weights_of_the_paper(make, rng):
    x_hat, x = make(12, 20).reshape(2, 6, 20), make(12, 20).reshape(2, 6, 20)
    mask = torch.rand(2, 1, 20, generator=rng) < 0.3
    spread = mask.expand(2, 6, 20).reshape(12, 20)
    expected = naive.peak_aware_mse(x_hat.reshape(12, 20), x.reshape(12, 20), spread.tolist(), 0.2, 0.1)
    torch.testing.assert_close(F.peak_aware_mse(x_hat, x, mask), expected, **TIGHT)


def test_peak_aware_mse_of_half_precision_signals_is_computed_in_fp32(make, rng):
    """Differences and squares of fp16 numbers take more digits than fp16 has, and their sum overflows it."""
    x_hat, x = 100 * make(3, 200).detach().half(), make(3, 200).detach().half()
    mask = torch.rand(3, 200, generator=rng) < 0.3
    error = x_hat.double() - x.double()
    expected = 0.2 * error.square().mean() + 0.1 * error[mask].square().mean()
    for mixed in (x, x.float()):
        torch.testing.assert_close(F.peak_aware_mse(x_hat, mixed, mask), expected.float(), rtol=1e-6, atol=0)  # fp32
    wide = F.peak_aware_mse(x_hat.double(), x, mask)
    torch.testing.assert_close(wide, expected, rtol=1e-12, atol=0)
