"""What a loop watches is what its definition says, pair by pair, without ever storing N x N."""

from __future__ import annotations

import math

import pytest
import torch
from covering import each_value
from tensor_memory import CountBytes

import ecgloss
import ecgloss.functional as F
from ecgloss.functional.clef_options import PRESETS, ClefOptions


def double_loop(z1, z2, risk=None, missing=None, options=None):
    """Every monitor by its definition."""
    x = torch.nn.functional.normalize(torch.cat([z1, z2]).double(), dim=1).tolist()
    n, b = len(x), len(z1)
    s = [[sum(p * q for p, q in zip(x[i], x[k])) for k in range(n)] for i in range(n)]
    top1 = top5 = positive = negative = alignment = effective = 0.0
    uniformity = [0.0, 0.0]
    w = None if risk is None else F.risk_weights(risk, missing, **{
        name: getattr(options, name) for name in ("alpha", "risk_scale", "risk_power", "reliability", "nan_risk")
    }).tolist()  # fmt: skip
    for i in range(n):
        p = (i + b) % n
        others = [k for k in range(n) if k not in (i, p)]
        nearer = sum(s[i][k] >= s[i][p] for k in others)
        top1, top5 = top1 + (nearer < 1) / n, top5 + (nearer < 5) / n
        positive += s[i][p] / n
        negative += sum(s[i][k] for k in others) / (n * len(others))
        alignment += sum((a - c) ** 2 for a, c in zip(x[i], x[p])) / n
        omega = [1.0 if w is None else w[i % b][k % b] for k in others]
        if w is not None and options.weight_norm == "softmax":
            omega = [math.exp(value) for value in omega]
        effective += sum(omega) ** 2 / sum(value**2 for value in omega) / n
        view = i // b
        for k in range(i + 1, (view + 1) * b):
            distance = sum((a - c) ** 2 for a, c in zip(x[i], x[k]))
            uniformity[view] += math.exp(-2 * distance) / (b * (b - 1) / 2)
    return [top1, top5, positive, negative, alignment, sum(math.log(u) for u in uniformity) / 2, effective]


@each_value(batch=[2, 3, 9], dtype=[torch.float64, torch.float32, torch.bfloat16], weighs=["no", "paper", "official"])
def test_monitors_are_their_definitions(batch, dtype, weighs, rng):
    first = torch.randn(batch, 5, generator=rng)
    z1, z2 = first.to(dtype), (first + torch.randn(batch, 5, generator=rng)).to(dtype)
    risk, missing = torch.rand(batch, generator=rng), torch.rand(batch, generator=rng)
    risk[0] = torch.nan
    given = {} if weighs == "no" else {"risk": risk, "missing": missing, "options": PRESETS[weighs]}
    expected = double_loop(z1, z2, **given)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5  # fp32 sums of rows that are exact in bf16
    assert [x.item() for x in F.monitor(z1, z2, **given)] == pytest.approx(expected, rel=tolerance, abs=tolerance)


def test_a_collapsed_encoder_is_not_called_accurate():
    z = torch.ones(6, 4)
    found = ecgloss.monitor(z, z)
    assert found.top1 == found.top5 == 0
    assert found.uniformity == pytest.approx(0.0, abs=1e-6)
    assert found.negative_similarity == pytest.approx(1.0)


def test_blocks_of_rows_give_what_one_block_gives(rng, monkeypatch):
    from ecgloss.functional import monitoring

    z1, z2, risk = *torch.randn(2, 50, 8, generator=rng, dtype=torch.float64), torch.rand(50, generator=rng)
    whole = F.monitor(z1, z2, risk)
    monkeypatch.setattr(monitoring, "_ENTRIES", 1)  # 32 rows each
    assert [x.item() for x in F.monitor(z1, z2, risk)] == pytest.approx([x.item() for x in whole], rel=1e-12)


def test_memory_grows_with_the_rows_not_with_the_pairs(rng):
    used = []
    for batch in (1024, 2048):
        z1, z2, risk = *torch.randn(2, batch, 8, generator=rng), torch.rand(batch, generator=rng)
        with CountBytes() as count:
            F.monitor(z1, z2, risk)
        used.append(count.peak)
    assert used[1] < 2.5 * used[0]  # N x N would be 4 times as much
    assert used[1] < 0.15 * (2 * 2048) ** 2 * 4  # N x N in fp32; blocks of 64 rows and their copies are less


def test_gradients_pass_the_monitors_by(rng):
    z1, z2 = torch.randn(2, 4, 3, generator=rng).requires_grad_()
    assert not any(x.requires_grad for x in ecgloss.monitor(z1, z2))


def test_what_the_monitors_refuse(rng):
    z = torch.randn(4, 3, generator=rng)
    with pytest.raises(ValueError, match="missing needs risk"):
        ecgloss.monitor(z, z, missing=torch.zeros(4))
    with pytest.raises(ValueError, match="z1 and z2 must hold at least 2 samples"):
        ecgloss.monitor(z[:1], z[:1])
    with pytest.raises(ValueError, match="risk"):
        ecgloss.monitor(z, z, torch.zeros(3), options=ClefOptions())


def test_the_positive_of_terms_is_the_mean_positive_similarity(rng):
    z1, z2 = torch.randn(2, 6, 5, generator=rng, dtype=torch.float64)
    terms = F.ntxent(z1, z2, temperature=0.2, return_terms=True)
    found = F.monitor(z1, z2)
    assert (0.2 * terms.positive).mean().item() == pytest.approx(found.positive_similarity.item(), rel=1e-12)
