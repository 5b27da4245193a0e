"""F.risk_weights and F.similarity_matrix show the numbers the losses work with."""

from __future__ import annotations

import pytest
import torch
from oracles import cosines, naive_clef, naive_dissimilarity, naive_weights

import ecgloss.functional as F

NAN = float("nan")
RISK = torch.tensor([0.02, 0.30, NAN, 0.11, 0.05, 0.07], dtype=torch.float64)
TWO = torch.stack([RISK, torch.arange(6.0, dtype=torch.float64) / 10], 1)
MISSING = torch.tensor([0.0, 0.5, 1.0, 0.0, 1 / 6, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("reliability", ["multiply", "revert", None])
@pytest.mark.parametrize("nan_risk", ["neutral", "zero"])
@pytest.mark.parametrize(("scale", "power", "alpha"), [("minmax", 2, 0.2), ("minmax", 1, 0.0), (0.02, 2, 0.5)])
@pytest.mark.parametrize("risk", [RISK, TWO], ids=["one score", "two scores"])
def test_weights_are_the_definition_pair_by_pair(risk, scale, power, alpha, nan_risk, reliability):
    options = {"alpha": alpha, "nan_risk": nan_risk}
    found = F.risk_weights(risk, MISSING, **options, risk_scale=scale, risk_power=power, reliability=reliability)
    d = naive_dissimilarity(risk.reshape(6, -1), **options, power=power, scale=scale)
    expected = torch.tensor(naive_weights(d, MISSING, reliability), dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)  # fp64, same terms in another order


def test_counts_of_missing_inputs_are_fractions():
    counts = torch.tensor([0, 3, 6, 0, 1, 0])
    assert torch.equal(F.risk_weights(RISK, counts, n_attributes=6), F.risk_weights(RISK, counts.double() / 6))
    with pytest.raises(TypeError, match="pass n_attributes"):
        F.risk_weights(RISK, counts)


def test_weights_are_symmetric_without_a_diagonal_and_carry_no_gradient():
    w = F.risk_weights(RISK.float(), MISSING.float())
    assert torch.equal(w, w.T)
    assert w.diagonal().eq(0).all()
    assert not w.requires_grad
    with pytest.raises(ValueError, match=r"risk\.detach\(\)"):
        F.risk_weights(RISK.clone().requires_grad_())


def test_the_loss_written_with_both_matrices_is_clef(rng):
    z1, z2 = (torch.randn(6, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    w = F.risk_weights(RISK, MISSING).tile(2, 2)
    s = F.similarity_matrix(torch.cat([z1, z2]))
    rows, partner = torch.arange(12), torch.arange(12).roll(6)
    positive = s[rows, partner] / 0.1
    negatives = (w.log() + s / 0.1).logsumexp(1)  # W is 0 for a row itself and its partner
    by_hand = (torch.logaddexp(positive, negatives) - positive).mean() + (s - (1 - w)).square().mean()
    for loss in (F.clef(z1, z2, RISK, MISSING, temperature=0.1), naive_clef(z1, z2, RISK, MISSING, temperature=0.1)):
        torch.testing.assert_close(loss, by_hand, rtol=1e-12, atol=0)  # fp64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "alpha must lie in"),
        ({"risk_power": 3}, "risk_power"),
        ({"risk_scale": 0.0}, "risk_scale"),
        ({"reliability": "double"}, "reliability must be one of"),
        ({"nan_risk": "raise"}, "risk is NaN for 1 samples: 2"),
        ({"missing": MISSING[:3]}, "missing must have shape"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        F.risk_weights(RISK, **options)


def test_similarities_are_cosines_of_every_pair(rng):
    q, k = torch.randn(5, 3, generator=rng, dtype=torch.float64), torch.randn(4, 3, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(F.similarity_matrix(torch.cat([q, k])), cosines(q, k), rtol=0, atol=1e-15)  # fp64
    torch.testing.assert_close(F.similarity_matrix(q, k), cosines(q, k)[:5, 5:], rtol=0, atol=1e-15)
    assert torch.autograd.gradcheck(F.similarity_matrix, (q.requires_grad_(), k.requires_grad_()))


def test_half_precision_is_widened_and_zero_rows_are_similar_to_nothing():
    z = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.bfloat16)
    s = F.similarity_matrix(z)
    assert s.dtype == torch.float32
    torch.testing.assert_close(s, torch.tensor([[1.0, 0.0], [0.0, 0.0]]), rtol=0, atol=2e-7)  # two fp32 roundings


def test_widths_that_differ_are_named():
    with pytest.raises(ValueError, match="k must have the width of q, 2; got 3"):
        F.similarity_matrix(torch.ones(1, 2), torch.ones(1, 3))
    with pytest.raises(TypeError, match="q must be float16"):
        F.similarity_matrix(torch.ones(1, 2, dtype=torch.int64))
