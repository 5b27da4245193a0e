"""Bad input of the loss family gets a message that names the argument, what came and what is accepted."""

from __future__ import annotations

import math

import pytest
import torch
from loss_cases import ANCHORED, CASES, SIMILARITIES, side

import ecgloss
import ecgloss.functional as F

G = torch.Generator().manual_seed(0)
Z = torch.randn(4, 3, generator=G)
QUEUE = torch.randn(6, 3, generator=G)
LABELS = torch.arange(4)
FEATURES = torch.randn(4, 2, generator=G)
RISK = torch.tensor([0.1, 0.2, 0.3, 0.4])
QUEUE_RISK = torch.rand(6, generator=G)
MASK = Z > 0


def by_risk(risk=RISK, queue_risk=QUEUE_RISK, **options):
    return F.moco(Z, Z, QUEUE, risk=risk, queue_risk=queue_risk, **options)


BAD = {
    "info_nce: no tensor": (lambda: F.info_nce(Z.tolist(), Z), TypeError, "q must be a torch.Tensor; got list"),
    "info_nce: integers": (lambda: F.info_nce(Z, Z.int()), TypeError, "k must be float16, .*; got torch.int32"),
    "info_nce: fewer keys": (lambda: F.info_nce(Z, Z[:3]), ValueError, "k must have at least the 4 rows of q; got 3"),
    "info_nce: symmetric": (lambda: F.info_nce(Z[:3], Z, symmetric=True), ValueError, "k must have 3 rows; got 4"),
    "info_nce: widths": (lambda: F.info_nce(Z, Z[:, :2]), ValueError, "k must have the width of q, 3; got 2"),
    "info_nce: dtypes": (lambda: F.info_nce(Z, Z.double()), ValueError, "q and k must both be float64, or neither"),
    "info_nce: both": (lambda: F.info_nce(Z, Z, negatives=Z, symmetric=True), ValueError, "got negatives as well"),
    "info_nce: keys": (lambda: F.info_nce(Z[:3], Z, negatives=Z), ValueError, r"k must .*\(3, 3\).*\(4, 3\)"),
    "info_nce: vector": (lambda: F.info_nce(Z[0], Z), ValueError, r"q must have shape \(N, D\).*got \(3,\)"),
    "moco: fewer keys": (lambda: F.moco(Z, Z[:3], QUEUE), ValueError, r"k must .* of q, \(4, 3\) on cpu; got \(3, 3\)"),
    "moco: device": (lambda: F.moco(Z, Z.to("meta"), QUEUE), ValueError, "k must have the .*device of q.*on meta"),
    "moco: queue's width": (lambda: F.moco(Z, Z, QUEUE[:, :2]), ValueError, "queue must have the width.*3.*; got 2"),
    "moco: queue's dtype": (lambda: F.moco(Z, Z, QUEUE.double()), ValueError, "q and queue must both be float64"),
    "moco: empty queue": (lambda: F.moco(Z, Z, QUEUE[:0]), ValueError, r"queue must have shape .*N >= 1.*\(0, 3\)"),
    "moco: risk alone": (lambda: by_risk(queue_risk=None), ValueError, "risk needs queue_risk as well; got risk alone"),
    "moco: queue_risk alone": (lambda: by_risk(risk=None), ValueError, "queue_risk needs risk as well"),
    "moco: risk's shape": (lambda: by_risk(RISK[:3]), ValueError, r"risk must have shape \(4,\) or"),
    "moco: queue_risk's shape": (lambda: by_risk(queue_risk=RISK), ValueError, r"queue_risk must have shape \(6,\) or"),
    "moco: scores": (lambda: by_risk(torch.rand(4, 2)), ValueError, "queue_risk must hold as many scores per entry"),
    "moco: weight_norm": (lambda: by_risk(weight_norm="sum"), ValueError, "weight_norm must be one of .*; got 'sum'"),
    "moco: alpha": (lambda: by_risk(alpha=1.5), ValueError, r"alpha must lie in \[0, 1\]; got 1.5"),
    "moco: risk_scale": (lambda: by_risk(risk_scale=-1.0), ValueError, "risk_scale must lie in"),
    "supcon: list": (lambda: F.supcon(Z, [0, 0, 1, 1]), TypeError, "labels must be a torch.Tensor; got list"),
    "supcon: floats": (lambda: F.supcon(Z, RISK), TypeError, "labels must hold integers; got torch.float32"),
    "supcon: length": (lambda: F.supcon(Z, LABELS[:3]), ValueError, r"labels must have shape \(4,\).*got \(3,\)"),
    "supcon: device": (lambda: F.supcon(Z, LABELS.to("meta")), ValueError, "labels must be on the device"),
    "supcon: positives": (lambda: F.supcon(Z, LABELS, positives="out"), ValueError, "positives must be one of"),
    "y_aware: integers": (lambda: F.y_aware(Z, Z, LABELS), TypeError, "metadata must be float16.*; got torch.int64"),
    "y_aware: length": (lambda: F.y_aware(Z, Z, RISK[:3]), ValueError, r"metadata must have shape \(4,\).*got \(3,\)"),
    "y_aware: no column": (lambda: F.y_aware(Z, Z, Z[:, :0]), ValueError, "metadata must .*K >= 1"),
    "y_aware: NaN": (lambda: F.y_aware(Z, Z, RISK.log1p() * math.nan), ValueError, "metadata must be finite.*row 0"),
    "y_aware: bandwidth": (lambda: F.y_aware(Z, Z, RISK, bandwidth=0), ValueError, r"bandwidth must lie in \(0"),
    "y_aware: views": (lambda: F.y_aware(Z, Z[:3], RISK), ValueError, "z1 and z2 must have the same shape"),
    "physioclr: features": (lambda: F.physioclr(Z, Z, FEATURES[:3]), ValueError, r"features must have shape \(4, F\)"),
    "physioclr: no feature": (lambda: F.physioclr(Z, Z, FEATURES[:, :0]), ValueError, "features must .*F >= 1"),
    "physioclr: list": (lambda: F.physioclr(Z, Z, FEATURES.tolist()), TypeError, "features must be a torch.Tensor"),
    "physioclr: integers": (lambda: F.physioclr(Z, Z, FEATURES.int()), TypeError, "features must be float16"),
    "physioclr: shuffled": (lambda: F.physioclr(Z, Z[:3], FEATURES), ValueError, r"h_shuffled must .*got \(3, 3\)"),
    "physioclr: neighbour": (
        lambda: F.physioclr(Z, Z, FEATURES, h_neighbour=Z[:, :2]), ValueError, r"h_neighbour must .*got \(4, 2\)",
    ),
    "physioclr: neighbours alone": (
        lambda: F.physioclr(Z, Z, FEATURES, has_neighbour=torch.ones(4, dtype=torch.bool)), ValueError,
        "has_neighbour says which rows of h_neighbour count",
    ),
    "physioclr: neighbour numbers": (
        lambda: F.physioclr(Z, Z, FEATURES, h_neighbour=Z, has_neighbour=LABELS), TypeError, "has_neighbour must be",
    ),
    "physioclr: neighbour count": (
        lambda: F.physioclr(Z, Z, FEATURES, h_neighbour=Z, has_neighbour=torch.ones(3, dtype=torch.bool)), ValueError,
        r"has_neighbour must have shape \(4,\)",
    ),
    "physioclr: self without features": (
        lambda: F.physioclr(Z, Z, None, include_self=True), ValueError, "include_self needs features",
    ),
    "physioclr: patient": (lambda: F.physioclr(Z, Z, FEATURES, patient=RISK), TypeError, "patient must hold integers"),
    "physioclr: patients": (
        lambda: F.physioclr(Z, Z, FEATURES, patient=LABELS[:3]), ValueError, r"patient must have shape \(4,\)",
    ),
    "physioclr: threshold": (lambda: F.physioclr(Z, Z, FEATURES, threshold=2), ValueError, r"threshold .*\[-1, 1\]"),
    "physioclr: denominator": (
        lambda: F.physioclr(Z, Z, FEATURES, denominator="both"), ValueError, "denominator must be one of 'negatives'",
    ),
    "physioclr: positives": (lambda: F.physioclr(Z, Z, FEATURES, positives="in"), ValueError, "positives must be one"),
    "byol: shape": (lambda: F.byol(Z, Z[:3]), ValueError, r"z must have the shape .* \(4, 3\) on cpu; got \(3, 3\)"),
    "byol: integers": (lambda: F.byol(Z.int(), Z), TypeError, "p must be float16"),
    "peaks: list": (lambda: F.peak_aware_mse(Z.tolist(), Z, MASK), TypeError, "x_hat must be a torch.Tensor; got list"),
    "peaks: integers": (lambda: F.peak_aware_mse(Z, Z.int(), MASK), TypeError, "x must be float16.*; got torch.int32"),
    "peaks: mask": (lambda: F.peak_aware_mse(Z, Z, Z), TypeError, "peak_mask must be bool; got torch.float32"),
    "peaks: shape": (lambda: F.peak_aware_mse(Z, Z[:3], MASK), ValueError, r"x_hat must .* \(3, 3\); got \(4, 3\)"),
    "peaks: broadcast": (
        lambda: F.peak_aware_mse(Z, Z, MASK[:3]), ValueError, r"peak_mask must broadcast to \(4, 3\); got \(3, 3\)",
    ),
    "peaks: weight": (lambda: F.peak_aware_mse(Z, Z, MASK, peak_weight=-1), ValueError, "peak_weight must lie in"),
    "peaks: global": (lambda: F.peak_aware_mse(Z, Z, MASK, global_weight=math.nan), ValueError, "global_weight must"),
    "LogTemperature: initial": (lambda: ecgloss.LogTemperature(1e-3), ValueError, r"initial must lie in \[0.01, 10\]"),
    "LogTemperature: low": (lambda: ecgloss.LogTemperature(low=0.0), ValueError, r"low must lie in \(0"),
    "LogTemperature: high": (lambda: ecgloss.LogTemperature(high=0.005), ValueError, "high must lie in"),
    "MoCoLoss: size": (lambda: ecgloss.MoCoLoss(3, 0), ValueError, "size must be an int of at least 1; got 0"),
    "MoCoLoss: width": (lambda: ecgloss.MoCoLoss(2.5), ValueError, "width must be an int of at least 1; got 2.5"),
    "MoCoLoss: weight_norm": (lambda: ecgloss.MoCoLoss(3, weight_norm="sum"), ValueError, "weight_norm must be one of"),
    "MoCoLoss: alpha": (lambda: ecgloss.MoCoLoss(3, alpha=-1), ValueError, "alpha must lie in"),
    "MoCoLoss: risk_scale": (lambda: ecgloss.MoCoLoss(3, risk_scale=0), ValueError, "risk_scale must lie in"),
    "MoCoLoss: queries": (lambda: ecgloss.MoCoLoss(3, 8)(Z.tolist(), Z), TypeError, "q must be a torch.Tensor"),
    "MoCoLoss: keys": (lambda: ecgloss.MoCoLoss(3, 8)(Z, Z[:3]), ValueError, r"k must .*\(4, 3\).*\(3, 3\)"),
    "MoCoLoss: width of keys": (
        lambda: ecgloss.MoCoLoss(5, 8)(Z, Z), ValueError, "k must have the width of the queue, 5; got 3",
    ),
    "MoCoLoss: batch": (
        lambda: ecgloss.MoCoLoss(3, 3)(Z, Z), ValueError, "k must not hold more keys than the queue, 3; got 4",
    ),
    "MoCoLoss: scores": (
        lambda: ecgloss.MoCoLoss(3, 8)(Z, Z, torch.rand(4, 2)), ValueError, r"risk must have shape \(4,\).*\(4, 2\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("loss", ANCHORED)
def test_every_loss_checks_its_weights_and_reduction(loss):
    s = side(4, 3, torch.Generator().manual_seed(0))
    anchors = CASES[loss].views * 4
    for options, error, message in (
        ({"reduction": "avg"}, ValueError, "reduction must be one of 'mean', 'sum', 'none'; got 'avg'"),
        ({"weight": [1.0] * anchors}, TypeError, "weight must be a float tensor; got list"),
        ({"weight": torch.ones(anchors).int()}, TypeError, "weight must be a float tensor; got torch.int32"),
        ({"weight": torch.ones(anchors + 1)}, ValueError, rf"weight must have shape .*\({anchors},\); got"),
        ({"weight": torch.ones(anchors, 1)}, ValueError, "weight must have shape"),
        ({"weight": torch.ones(anchors).to("meta")}, ValueError, "weight must be on the device .*cpu; got meta"),
        ({"weight": -torch.ones(anchors)}, ValueError, "weight must hold numbers of at least 0"),
        ({"weight": torch.full((anchors,), math.nan)}, ValueError, "weight must hold numbers"),
        ({"weight": torch.full((anchors,), math.inf)}, ValueError, "weight must hold numbers"),
    ):
        with pytest.raises(error, match=message):
            CASES[loss].call(Z, Z.flip(0), s, **options)
    with pytest.raises(ValueError, match="reduction must be one of"):
        CASES[loss].module(Z, s, reduction="avg")


@pytest.mark.parametrize("loss", SIMILARITIES)
def test_every_loss_checks_its_temperature_and_backend(loss):
    s = side(4, 3, torch.Generator().manual_seed(0))
    for options, error, message in (
        ({"temperature": 0.0}, ValueError, r"temperature must lie in \(0, inf\]; got 0.0"),
        ({"temperature": "warm"}, TypeError, "temperature must be a number; got str"),
        ({"temperature": torch.ones(1)}, ValueError, r"temperature must be .*0-d.*got shape \(1,\)"),
        ({"temperature": torch.tensor(-0.1)}, ValueError, "temperature must lie in"),
        ({"backend": "cuda"}, ValueError, "backend must be one of .*; got 'cuda'"),
    ):
        with pytest.raises(error, match=message):
            CASES[loss].call(Z, Z.flip(0), s, **options)
    with pytest.raises(ValueError, match="temperature"):
        CASES[loss].module(Z, s, temperature=-1.0)


def test_shown_options_are_those_in_use():
    assert "temperature=0.2" in repr(ecgloss.SupConLoss(0.2))
    for shown in (
        repr(ecgloss.CLEFLoss(temperature=ecgloss.LogTemperature(0.2))),
        repr(ecgloss.NTXentLoss(ecgloss.LogTemperature())),
    ):
        assert "LogTemperature(low=0.01, high=10.0)" in shown
        assert "temperature=0.07" not in shown, "the preset's, which is not used"
