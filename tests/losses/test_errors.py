"""Bad input gets a message that names the argument, what came and what is accepted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ecgloss
import ecgloss.functional as F

Z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
RISK = torch.tensor([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Z, Z[:3], RISK), ValueError, r"z1 and z2 must have the same shape; got .*\[4, 3\].*\[3, 3\]"),
        ((Z, Z.double(), RISK), ValueError, "same dtype; got torch.float32 and torch.float64"),
        ((Z, Z.to("meta"), RISK), ValueError, "same device; got cpu and meta"),
        ((Z.int(), Z.int(), RISK), TypeError, "z1 must be float16, .*; got torch.int32"),
        ((Z.tolist(), Z, RISK), TypeError, "z1 must be a torch.Tensor; got list"),
        ((Z[0], Z[0], RISK), ValueError, r"z1 must have shape \(B, D\); got \(3,\)"),
        ((Z[:1], Z[:1], RISK[:1]), ValueError, "at least 2 samples.*B = 1"),
        ((Z[:, :0], Z[:, :0], RISK), ValueError, "D = 0"),
        ((Z, Z, RISK[:3]), ValueError, r"risk must have shape \(4,\) or \(4, K\).*got \(3,\)"),
        ((Z, Z, RISK.tolist()), TypeError, "risk must be a torch.Tensor"),
        ((Z, Z, RISK > 0.2), TypeError, "risk must hold real numbers; got torch.bool"),
        ((Z, Z, RISK.to("meta")), ValueError, "risk must be on the device of z1, cpu; got meta"),
        ((Z, Z, RISK / 0), ValueError, "risk must not be infinite"),
        ((Z, Z, RISK.clone().requires_grad_()), ValueError, "risk is data.*detach"),
        ((Z, Z, RISK, RISK[:2]), ValueError, r"missing must have shape \(4,\).*got \(2,\)"),
        ((Z, Z, RISK, RISK + 1), ValueError, r"missing must hold fractions in \[0, 1\]; got 1.1.* at row 0"),
        ((Z, Z, RISK, -RISK), ValueError, "missing must hold fractions"),
        ((Z, Z, RISK, RISK * torch.nan), ValueError, "missing must hold fractions"),
        ((Z, Z, RISK, torch.tensor([0, 1, 2, 3])), TypeError, "pass n_attributes"),
    ],
)
def test_bad_tensors(arguments, error, message):
    with pytest.raises(error, match=message):
        F.clef(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"temperature": 0.0}, ValueError, r"temperature must lie in \(0, inf\]; got 0.0"),
        ({"temperature": -1}, ValueError, "temperature"),
        ({"temperature": float("nan")}, ValueError, "temperature"),
        ({"temperature": float("inf")}, ValueError, "temperature"),
        ({"temperature": "hot"}, TypeError, "temperature must be a number; got str"),
        ({"temperature": torch.tensor([0.1])}, ValueError, r"0-d floating tensor; got shape \(1,\)"),
        ({"temperature": torch.tensor(-0.1)}, ValueError, "temperature"),
        ({"alpha": 1.5}, ValueError, r"alpha must lie in \[0, 1\]; got 1.5"),
        ({"alpha": True}, TypeError, "alpha must be a number; got bool"),
        ({"weight_norm": "mean1"}, ValueError, "weight_norm must be one of 'none', 'mean', 'softmax'; got 'mean1'"),
        ({"similarity": "dot"}, ValueError, "similarity must be one of 'cosine', 'minmax'"),
        ({"reliability": "none"}, ValueError, "reliability must be one of 'multiply', 'revert', None"),
        ({"nan_risk": "drop"}, ValueError, "nan_risk must be one of"),
        ({"risk_scale": 0.0}, ValueError, "risk_scale"),
        ({"risk_scale": "max"}, ValueError, "risk_scale must be one of 'minmax'"),
        ({"risk_power": 3}, ValueError, "risk_power must be one of 1, 2; got 3"),
        ({"contrastive_weight": -1.0}, ValueError, "contrastive_weight"),
        ({"align_weight": float("nan")}, ValueError, "align_weight"),
        ({"preset": "clef"}, ValueError, "preset must be one of 'paper', 'official'; got 'clef'"),
        ({"backend": "cuda"}, ValueError, "backend must be one of .*; got 'cuda'"),
        ({"backend": "triton"}, ValueError, "backend 'triton' is not usable here: "),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        F.clef(Z, Z, RISK, **options)


def test_bad_counts():
    counts = torch.tensor([0, 1, 2, 7])
    with pytest.raises(ValueError, match=r"counts in \[0, n_attributes = 6\]; got 7 at row 3"):
        F.clef(Z, Z, RISK, counts, n_attributes=6)
    with pytest.raises(ValueError, match="n_attributes must be a positive int; got 0"):
        F.clef(Z, Z, RISK, counts, n_attributes=0)


def test_unknown_risks_can_be_an_error():
    risk = RISK.clone()
    risk[[1, 3]] = torch.nan
    with pytest.raises(ValueError, match=r"risk is NaN for 2 samples: 1, 3; pass nan_risk"):
        F.clef(Z, Z, risk, nan_risk="raise")


def test_check_finite_names_the_rows():
    z = Z.clone()
    z[2, 0] = torch.inf
    with pytest.raises(ValueError, match="z2 has NaN or infinite values in 1 rows: 2"):
        F.ntxent(Z, z, check_finite=True)
    with pytest.raises(ValueError, match="z1 has NaN"):
        ecgloss.CLEFLoss(check_finite=True)(z, Z, RISK)


def test_modules_check_their_options_when_they_are_made():
    with pytest.raises(ValueError, match="alpha"):
        ecgloss.CLEFLoss(alpha=2.0)
    with pytest.raises(ValueError, match="temperature"):
        ecgloss.NTXentLoss(0)


def test_environment_chooses_the_backend_of_auto(monkeypatch):
    monkeypatch.setenv("ECGLOSS_BACKEND", "reference")
    assert F.ntxent(Z, Z) == F.ntxent(Z, Z, backend="reference")
    monkeypatch.setenv("ECGLOSS_BACKEND", "nonsense")
    with pytest.raises(ValueError, match=r"environment variable ECGLOSS_BACKEND.*'nonsense'"):
        F.ntxent(Z, Z)
    assert F.ntxent(Z, Z, backend="chunked") > 0  # what was asked for by name is not overridden


def test_backends_say_why_they_are_not_usable():
    status = {s.name: s for s in ecgloss.backends()}
    assert set(status) == {"triton", "cpp", "chunked", "reference"}
    assert all(s.note for s in status.values())
    assert status["chunked"].usable


def test_risks_may_be_arrays_or_columns():
    risk, missing = np.array([0.1, np.nan, 0.3]), np.array([0.0, 1.0, 0.5])
    z1, z2 = torch.eye(3), torch.eye(3).flip(0)
    expected = ecgloss.CLEFLoss()(z1, z2, torch.tensor(risk), torch.tensor(missing))
    assert torch.equal(ecgloss.CLEFLoss()(z1, z2, risk, missing), expected)
    with pytest.raises(TypeError, match=r"risk must be a torch.Tensor.* got list"):
        ecgloss.CLEFLoss()(z1, z2, risk.tolist(), missing)
