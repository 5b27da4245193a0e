"""A training step of every rule on a GPU, in bf16, as the tuner and the comparison with the static roofline need it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import ecgloss.functional as F
from ecgloss.engine import pair_stats
from ecgloss.pairs import feature_pairs


def loss_of(rule: str, n: int, d: int) -> tuple[Tensor, Any]:
    """n embeddings of width d, and the Triton kernels' loss of them by a rule of the static roofline."""
    g = torch.Generator("cuda").manual_seed(5)
    z = torch.randn(n, d, generator=g, device="cuda").bfloat16().requires_grad_()
    names, risk = torch.randint(500, (n,), generator=g, device="cuda"), torch.rand(n // 2, generator=g, device="cuda")
    settings: dict[str, Any] = {"temperature": 0.07, "backend": "triton"}
    if rule == "labels":
        return z, F.supcon(z, names, **settings)
    if rule == "features":
        features = torch.randn(n, 50, generator=g, device="cuda")
        rule_of_pairs = feature_pairs(features, threshold=0.25, labels=names)
        stats = pair_stats(z, None, 0.07, rule_of_pairs, backend="triton")
        return z, (stats.negative_lse - stats.positive_lse).mean()
    if rule == "ntxent":
        return z, F.ntxent(*z.chunk(2), **settings)
    z1, z2 = z.chunk(2)
    return z, F.clef(z1, z2, risk, risk, preset=rule.split()[1], **settings)
