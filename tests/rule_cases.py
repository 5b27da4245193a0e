"""Rules and embeddings of any size, and what a backend makes of them, for comparing backends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ecgloss.engine import PairStats, pair_stats
from ecgloss.pairs import (
    Layout,
    RiskPairs,
    RiskWeights,
    Rule,
    UniformPairs,
    feature_pairs,
    gaussian_pairs,
    label_pairs,
    risk_pairs,
    view_pairs,
)

KINDS = ["random", "correlated", "nearly parallel", "duplicates", "zero rows"]
TAUS = [0.005, 0.02, 0.07, 0.5, 10.0]
THRESHOLD = 0.25
MARGIN = 1e-4  # no cosine of two feature vectors is closer to the threshold: rounding cannot flip a class


@dataclass(frozen=True)
class Setting:
    """A rule, and the alignment term of the loss."""

    rule: Rule
    alignment: str | None = None


def embeddings(kind: str, n: int, d: int, g: torch.Generator) -> Tensor:
    """(N, D) fp64; where N is even, the rows are two views of N / 2 samples."""
    z = torch.randn(n, d, generator=g, dtype=torch.float64)
    half = n // 2
    if kind == "correlated":
        z[half : 2 * half] = z[:half] + 0.2 * z[half : 2 * half]
    elif kind == "nearly parallel":  # as an untrained encoder gives them: cosines within 0.01 of each other
        z = torch.randn(d, generator=g, dtype=torch.float64) + 0.05 * z
    elif kind == "duplicates":
        z[1::2] = z[0]
    elif kind == "zero rows":
        z[::3] = 0
    return z


def weights(n: int, g: torch.Generator, k: int = 1, unknown: bool = False, missing: bool = False, **options: object):
    """W of n samples."""
    risk = torch.rand(n, k, generator=g, dtype=torch.float64) ** 3
    if unknown:
        risk[1::4] = torch.nan
    levels = torch.randint(0, 7, (n,), generator=g) / 6 if missing else None
    return RiskWeights.of(risk[:, 0] if k == 1 else risk, levels, **options)


def views(norm: str, alignment: str | None, n: int, g: torch.Generator, **options: object) -> Setting:
    return Setting(risk_pairs(weights(n // 2, g, **options), norm), alignment)


def queue(norm: str, n: int, g: torch.Generator) -> Setting:
    m = wide(n)
    return Setting(risk_pairs(weights(n + m, g, unknown=True, missing=True), norm, columns=m))


def matched(norm: str, n: int, g: torch.Generator) -> Setting:
    m = wide(n)
    return Setting(RiskPairs(Layout.matched(n, m), weights(n + m, g, missing=True), norm))


def one_view(norm: str, n: int, g: torch.Generator) -> Setting:
    return Setting(RiskPairs(Layout.one_view(n), weights(n, g, unknown=True), norm))


def labels(columns: bool, n: int, g: torch.Generator) -> Setting:
    names, others = (torch.randint(0, max(2, n // 4), (size,), generator=g) for size in (n, wide(n)))
    return Setting(label_pairs(names, columns=others if columns else None))


def features(columns: bool, labelled: bool, n: int, g: torch.Generator, **options: bool) -> Setting:
    names, others = (torch.randint(0, max(2, n // 4), (size,), generator=g) for size in (n, wide(n)))
    f = separated(n + (wide(n) if columns else 0), g)
    if not columns:
        return Setting(feature_pairs(f, THRESHOLD, names if labelled else None, **options))
    named = {"labels": names, "column_labels": others} if labelled else {}
    return Setting(feature_pairs(f[:n], THRESHOLD, columns=f[n:], **named, **options))


def separated(n: int, g: torch.Generator) -> Tensor:
    """(n, 2) vectors at whole degrees, whose cosines keep away from the threshold: cos 75 = 0.2588, cos 76 = 0.2419."""
    angle = torch.deg2rad(torch.randint(0, 360, (n,), generator=g).double())
    f = torch.stack([angle.cos(), angle.sin()], dim=1) * (0.5 + torch.rand(n, 1, generator=g, dtype=torch.float64))
    unit = torch.nn.functional.normalize(f, dim=1)
    assert ((unit @ unit.T - THRESHOLD).abs() > MARGIN).all()
    return f


def gaussian(k: int, columns: bool, n: int, g: torch.Generator) -> Setting:
    y, other = (60 + 10 * torch.randn(size, k, generator=g, dtype=torch.float64) for size in (n, wide(n)))
    return Setting(gaussian_pairs(y, 8.0, columns=other if columns else None))


def wide(n: int) -> int:
    """Columns of a rectangular problem of n rows: more, and no multiple of a block."""
    return n + n // 3 + 1


SQUARE: dict[str, Callable[[int, torch.Generator], Setting]] = {
    "uniform": lambda n, g: Setting(view_pairs(n // 2)),
    "clef paper": partial(views, "none", "cosine", missing=True),
    "clef official": partial(views, "softmax", "minmax", nan_risk="zero"),
    "clef mean": partial(views, "mean", "cosine", missing=True, reliability="revert"),
    "clef of 3 risks": partial(views, "none", "cosine", k=3, missing=True),
    "clef of 3 risks, power 1": partial(views, "mean", "minmax", k=3, risk_power=1, unknown=True),
    "clef, power 1": partial(views, "softmax", "cosine", risk_power=1, missing=True, reliability="revert"),
    "clef, fixed scale": partial(views, "none", "minmax", risk_scale=0.05, missing=True),
    "clef, unknown risks": partial(views, "mean", "cosine", unknown=True, missing=True),
    "clef, unknown risks are 0": partial(views, "none", "minmax", unknown=True, nan_risk="zero"),
    "clef, no floor": partial(views, "mean", "cosine", alpha=0.0),
    "risk, one view": partial(one_view, "mean"),
    "labels": partial(labels, False),
    "features": partial(features, False, False),
    "features or labels": partial(features, False, True),
    "features or labels, overlap": partial(features, False, True, overlap=True),
    "features with self": partial(features, False, True, include_self=True),
    "gaussian": partial(gaussian, 1, False),
    "gaussian of 3": partial(gaussian, 3, False),
}
RECTANGULAR: dict[str, Callable[[int, torch.Generator], Setting]] = {
    "uniform, matched": lambda n, g: Setting(UniformPairs(Layout.matched(n, wide(n)))),
    "uniform, queue": lambda n, g: Setting(UniformPairs(Layout.queue(n, wide(n)))),
    "risk, matched": partial(matched, "none"),
    "risk queue, none": partial(queue, "none"),
    "risk queue, mean": partial(queue, "mean"),
    "risk queue, softmax": partial(queue, "softmax"),
    "labels, columns": partial(labels, True),
    "features, columns": partial(features, True, False),
    "features or labels, columns": partial(features, True, True, overlap=True),
    "gaussian, columns": partial(gaussian, 2, True),
}
RULES = SQUARE | RECTANGULAR
MAIN = ["uniform", "clef paper", "clef official", "clef mean", "features or labels", "uniform, matched"]


@dataclass(frozen=True)
class Problem:
    """A setting with its embeddings, fp64 so that every dtype starts from the same numbers."""

    setting: Setting
    q: Tensor
    k: Tensor | None
    tau: float

    def on(self, device: str) -> Problem:
        """The same on another device, side information included."""
        if device == "cpu":
            return self
        k = None if self.k is None else self.k.to(device)
        return Problem(
            Setting(moved(self.setting.rule, device), self.setting.alignment), self.q.to(device), k, self.tau
        )

    def rounded(self, dtype: torch.dtype) -> Problem:
        """The same with embeddings a dtype can hold."""
        return Problem(self.setting, self.q.to(dtype), None if self.k is None else self.k.to(dtype), self.tau)


def moved(x: Any, device: str) -> Any:
    """A dataclass with all its tensors on a device."""
    if isinstance(x, Tensor):
        return x.to(device)
    if is_dataclass(x):
        public = (field.name for field in fields(x) if not field.name.startswith("_"))
        return type(x)(**{name: moved(getattr(x, name), device) for name in public})
    return x


def problem(rule: str, kind: str, n: int, d: int, tau: float, seed: int = 0) -> Problem:
    g = torch.Generator().manual_seed(seed)
    setting = RULES[rule](n, g)
    m = setting.rule.layout.n_columns
    q = embeddings(kind, n, d, g)
    if rule in SQUARE:
        return Problem(setting, q, None, tau)
    return Problem(setting, q, embeddings(kind, m, d, g), tau)


@dataclass(frozen=True)
class Result:
    """What a backend computes. Statistics that are not finite (rows without positives, negatives) are kept apart."""

    loss: Tensor
    rows: Tensor
    q_gradient: Tensor
    k_gradient: Tensor | None
    tau_gradient: Tensor

    def named(self) -> dict[str, Tensor]:
        return {name: x for name, x in vars(self).items() if x is not None}

    def same_bits(self, other: Result) -> bool:
        return all(
            torch.equal(x.nan_to_num(7.0), other.named()[name].nan_to_num(7.0)) for name, x in self.named().items()
        )


def evaluate(p: Problem, backend: str, device: str = "cpu", tau_device: str = "cpu") -> Result:
    """What a backend makes of a problem, computed on a device; the temperature may be there or on the CPU."""
    p = p.on(device)
    q, k = (None if x is None else x.detach().requires_grad_() for x in (p.q, p.k))
    assert q is not None
    tau = torch.tensor(p.tau, dtype=torch.float64, device=tau_device, requires_grad=True)
    stats = pair_stats(
        q, k, tau, p.setting.rule, alignment=p.setting.alignment, term_weights=(1.0, 1.0), backend=backend
    )
    loss = total(stats, p.setting)
    inputs = [q, tau] if k is None else [q, tau, k]
    dq, dtau, *dk = torch.autograd.grad(loss, inputs)
    rows = torch.stack([stats.positive_sum, stats.positive_lse, stats.positive_count, stats.negative_lse])
    computed = (loss.detach(), rows.detach(), dq, dk[0] if dk else None, dtau)
    return Result(*(None if x is None else x.cpu() for x in computed))  # type: ignore[arg-type]


def total(stats: PairStats, setting: Setting) -> Tensor:
    """The loss where the rule has a single positive, else a random linear functional of the finite statistics."""
    if setting.rule.layout.positive is not None:
        return stats.loss(1.0, 1.0)
    g = torch.Generator().manual_seed(12)
    parts = []
    for x in (stats.positive_sum, stats.positive_lse, stats.negative_lse):
        c = torch.randn(len(x), generator=g, dtype=torch.float64).to(x.device)
        parts.append(torch.where(torch.isfinite(x), c * x, 0.0).mean())
    return torch.stack(parts).sum()
