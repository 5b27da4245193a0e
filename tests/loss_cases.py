"""Every loss as a function of two (B, D) tensors, for the tests that all losses have in common: one row per loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

import ecgloss
import ecgloss.functional as F


@dataclass(frozen=True)
class Side:
    """What losses know beside the embeddings of two views of B samples."""

    risk: Tensor  # (B,), some unknown
    missing: Tensor  # (B,)
    labels: Tensor  # (B,), one of them alone, also among the 2B of both views
    age: Tensor  # (B,)
    features: Tensor  # (B, 2), one row unknown
    queue: Tensor  # (K, D)
    queue_risk: Tensor  # (K,), some unknown

    def on(self, device: str) -> Side:
        return Side(*(getattr(self, field.name).to(device) for field in fields(self)))

    def queue_as(self, z: Tensor) -> Tensor:
        return self.queue.to(z.dtype)

    @property
    def both_labels(self) -> Tensor:
        return torch.cat([self.labels, (self.labels + 1000 * (self.labels >= 1000))])

    @property
    def peaks(self) -> Tensor:
        return self.age[:, None] > 60


def side(b: int, d: int, g: torch.Generator, entries: int = 17) -> Side:
    angle = torch.linspace(0, 345, b, dtype=torch.float64).deg2rad()
    values = {
        "risk": torch.rand(b, generator=g, dtype=torch.float64) ** 2,
        "missing": torch.randint(0, 7, (b,), generator=g, dtype=torch.float64) / 6,
        "labels": torch.tensor([*(i // 3 for i in range(b - 1)), 1000]),
        "age": 60 + 10 * torch.randn(b, generator=g, dtype=torch.float64),
        "features": torch.stack([angle.cos(), angle.sin()], 1),
        "queue": torch.randn(entries, d, generator=g, dtype=torch.float64),
        "queue_risk": torch.rand(entries, generator=g, dtype=torch.float64) ** 2,
    }
    for name, row in (("risk", 1), ("features", 2), ("queue_risk", 3)):
        values[name][row] = torch.nan
    return Side(**values)


Loss = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One loss.

    Attributes:
        call: The function, of z1, z2, the side information and its options.
        module: Makes the module of the same loss, from z1, the side information and options; None: it has none.
        forward: Calls that module, with z1, z2, the side information and ``weight``.
        views: Anchors per sample: 2 where both views are, 0 without weights and reductions.
        similarities: Whether it has a temperature, backends and ``return_terms``.
    """

    call: Loss
    module: Loss | None = None
    forward: Loss | None = None
    views: int = 1
    similarities: bool = True


def _moco(z1: Tensor, s: Side, **options: Any) -> ecgloss.MoCoLoss:
    module = ecgloss.MoCoLoss(width=z1.shape[1], size=len(s.queue), **options).to(s.queue)
    module.queue.copy_(s.queue)
    module.queue_risk.copy_(s.queue_risk)
    return module


CASES: dict[str, Case] = {
    "ntxent": Case(
        lambda a, b, s, **o: F.ntxent(a, b, **o),
        lambda z, s, **o: ecgloss.NTXentLoss(**o),
        lambda m, a, b, s, **o: m(a, b, **o),
        views=2,
    ),
    "clef paper": Case(
        lambda a, b, s, **o: F.clef(a, b, s.risk, s.missing, **o),
        lambda z, s, **o: ecgloss.CLEFLoss(**o),
        lambda m, a, b, s, **o: m(a, b, s.risk, s.missing, **o),
        views=2,
    ),
    "clef official": Case(
        lambda a, b, s, **o: F.clef(a, b, s.risk, s.missing, preset="official", **o),
        lambda z, s, **o: ecgloss.CLEFLoss("official", **o),
        lambda m, a, b, s, **o: m(a, b, s.risk, s.missing, **o),
        views=2,
    ),
    "info_nce": Case(
        lambda a, b, s, **o: F.info_nce(a, torch.cat([b, s.queue_as(b)]), **o),
        lambda z, s, **o: ecgloss.InfoNCELoss(**o),
        lambda m, a, b, s, **o: m(a, torch.cat([b, s.queue_as(b)]), **o),
    ),
    "info_nce symmetric": Case(
        lambda a, b, s, **o: F.info_nce(a, b, symmetric=True, **o),
        lambda z, s, **o: ecgloss.InfoNCELoss(symmetric=True, **o),
        lambda m, a, b, s, **o: m(a, b, **o),
    ),
    "moco": Case(
        lambda a, b, s, **o: F.moco(a, b, s.queue_as(a), **o),
        _moco,
        lambda m, a, b, s, **o: m(a, b, **o),
    ),
    "moco by risk": Case(
        lambda a, b, s, **o: F.moco(a, b, s.queue_as(a), risk=s.risk, queue_risk=s.queue_risk, **o),
        _moco,
        lambda m, a, b, s, **o: m(a, b, s.risk, **o),
    ),
    "supcon": Case(
        lambda a, b, s, **o: F.supcon(torch.cat([a, b]), s.both_labels, **o),
        lambda z, s, **o: ecgloss.SupConLoss(**o),
        lambda m, a, b, s, **o: m(torch.cat([a, b]), s.both_labels, **o),
        views=2,
    ),
    "supcon sum_in": Case(
        lambda a, b, s, **o: F.supcon(a + b, s.labels, positives="sum_in", **o),
        lambda z, s, **o: ecgloss.SupConLoss(positives="sum_in", **o),
        lambda m, a, b, s, **o: m(a + b, s.labels, **o),
    ),
    "y_aware": Case(
        lambda a, b, s, **o: F.y_aware(a, b, s.age, bandwidth=5.0, **o),
        lambda z, s, **o: ecgloss.YAwareLoss(bandwidth=5.0, **o),
        lambda m, a, b, s, **o: m(a, b, s.age, **o),
        views=2,
    ),
    "physioclr": Case(
        lambda a, b, s, **o: F.physioclr(a, b, s.features, patient=s.labels, **o),
        lambda z, s, **o: ecgloss.PhysioCLRLoss(**o),
        lambda m, a, b, s, **o: m(a, b, s.features, patient=s.labels, **o),
    ),
    "physioclr all": Case(
        lambda a, b, s, **o: F.physioclr(a, b, s.features, h_neighbour=a + b, denominator="all", **o),
        lambda z, s, **o: ecgloss.PhysioCLRLoss(denominator="all", **o),
        lambda m, a, b, s, **o: m(a, b, s.features, h_neighbour=a + b, **o),
    ),
    "byol": Case(
        lambda a, b, s, **o: F.byol(a, b, **o),
        lambda z, s, **o: ecgloss.BYOLLoss(**o),
        lambda m, a, b, s, **o: m(a, a, b, b, **o),
        similarities=False,
    ),
    "peak_aware_mse": Case(lambda a, b, s, **o: F.peak_aware_mse(a, b, s.peaks, **o), views=0, similarities=False),
}
SIMILARITIES = [name for name, case in CASES.items() if case.similarities]
ANCHORED = [name for name, case in CASES.items() if case.views]
MODULES = [name for name, case in CASES.items() if case.module is not None]
