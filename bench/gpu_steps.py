"""A training step of every rule on a GPU, in bf16, as the tuner and the comparison with the static roofline need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import ecgloss.functional as F
from ecgloss.engine import pair_stats
from ecgloss.pairs import feature_pairs


def step_of(
    rule: str, n: int, d: int, device: str = "cuda", backend: str = "triton"
) -> tuple[Tensor, Callable[[], Tensor]]:
    """n embeddings of width d, and their loss by a rule of the static roofline."""
    g = torch.Generator(device).manual_seed(5)
    z = torch.randn(n, d, generator=g, device=device).bfloat16().requires_grad_()
    names, risk = torch.randint(500, (n,), generator=g, device=device), torch.rand(n // 2, generator=g, device=device)
    features = torch.randn(n, 50, generator=g, device=device)
    settings: dict[str, Any] = {"temperature": 0.07, "backend": backend}

    def loss() -> Any:
        if rule == "labels":
            return F.supcon(z, names, **settings)
        if rule == "features":
            rule_of_pairs = feature_pairs(features, threshold=0.25, labels=names)
            stats = pair_stats(z, None, 0.07, rule_of_pairs, backend=backend)
            return (stats.negative_lse - stats.positive_lse).mean()
        z1, z2 = z.chunk(2)
        if rule == "ntxent":
            return F.ntxent(z1, z2, **settings)
        return F.clef(z1, z2, risk, risk, preset=rule.split()[1], **settings)

    return z, loss
