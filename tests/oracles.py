"""Definitions written as loops over pairs, in fp64, sharing no code with the package."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosines(z1: Tensor, z2: Tensor) -> Tensor:
    z = torch.cat([z1, z2])
    z = z / z.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return z @ z.T


def naive_ntxent(z1: Tensor, z2: Tensor, tau: float | Tensor) -> Tensor:
    s = cosines(z1, z2) / tau
    n = s.shape[0]
    losses = []
    for i in range(n):
        p = (i + n // 2) % n
        losses.append(torch.stack([s[i, k] for k in range(n) if k != i]).logsumexp(0) - s[i, p])
    return torch.stack(losses).mean()


def naive_dissimilarity(
    risk: Tensor, *, alpha: float, power: int, scale: float | str, nan_risk: str
) -> list[list[float]]:
    """D of the CLEF paper, sample by sample; risk (B, K)."""
    rows = [[0.0 if math.isnan(x) and nan_risk == "zero" else x for x in row] for row in risk.tolist()]
    b = len(rows)
    known = [not any(math.isnan(x) for x in row) for row in rows]
    delta = [[sum(abs(x - y) ** power for x, y in zip(rows[i], rows[j])) for j in range(b)] for i in range(b)]
    pairs = [(i, j) for i in range(b) for j in range(b) if known[i] and known[j]]
    seen = [delta[i][j] for i, j in pairs]
    if scale == "minmax":
        low, high = (min(seen), max(seen)) if seen else (0.0, 0.0)
        hat = {(i, j): (delta[i][j] - low) / (high - low + 1e-6) for i, j in pairs}
    else:
        hat = {(i, j): min(delta[i][j] / scale, 1.0) for i, j in pairs}
    off = [hat[i, j] for i, j in pairs if i != j]
    mean = sum(off) / len(off) if off else 0.0
    return [[0.0 if i == j else (1 - alpha) * hat.get((i, j), mean) + alpha for j in range(b)] for i in range(b)]


def naive_weights(d: list[list[float]], missing: Tensor | None, reliability: str | None) -> list[list[float]]:
    b = len(d)
    if missing is None or reliability is None:
        return d
    f = missing.tolist()
    mean = sum(map(sum, d)) / (b * (b - 1))
    w = [[0.0] * b for _ in range(b)]
    for i in range(b):
        for j in range(b):
            if i != j:
                m = math.exp(-f[i] * f[j])
                w[i][j] = m * d[i][j] + ((1 - m) * mean if reliability == "revert" else 0.0)
    return w


def naive_clef(
    z1: Tensor,
    z2: Tensor,
    risk: Tensor,
    missing: Tensor | None = None,
    *,
    temperature: float | Tensor = 0.07,
    alpha: float = 0.2,
    weight_norm: str = "none",
    similarity: str = "cosine",
    reliability: str | None = "multiply",
    nan_risk: str = "neutral",
    risk_scale: float | str = "minmax",
    risk_power: int = 2,
    contrastive_weight: float = 1.0,
    align_weight: float = 1.0,
) -> Tensor:
    """Section 2 of the losses' definition, entry by entry."""
    big = cosines(z1, z2)
    n = big.shape[0]
    b = n // 2
    s = big / temperature
    d = naive_dissimilarity(risk.reshape(b, -1), alpha=alpha, power=risk_power, scale=risk_scale, nan_risk=nan_risk)
    w = naive_weights(d, missing, reliability)
    rows = []
    for i in range(n):
        p = (i + b) % n
        negatives = [k for k in range(n) if k not in (i, p)]
        weight = {k: w[i % b][k % b] for k in range(n)}
        if weight_norm == "mean":
            mean = sum(weight[k] for k in negatives) / len(negatives)
            omega = {k: weight[k] / mean if mean > 0 else 1.0 for k in negatives}
        elif weight_norm == "softmax":
            total = sum(math.exp(weight[k]) for k in range(n))
            omega = {k: math.exp(weight[k]) / total for k in negatives}
        else:
            omega = weight
        top = s[i].max().detach()
        mass = sum(omega[k] * torch.exp(s[i, k] - top) for k in negatives)
        rows.append(torch.log(torch.exp(s[i, p] - top) + mass) + top - s[i, p])
    hat = (big - big.min()) / (big.max() - big.min() + 1e-6) if similarity == "minmax" else big
    target = torch.tensor([[1 - w[i % b][k % b] for k in range(n)] for i in range(n)], dtype=big.dtype)
    return contrastive_weight * torch.stack(rows).mean() + align_weight * (hat - target).square().mean()


def released_clef(
    z1: Tensor, z2: Tensor, risk: Tensor, tau: float = 0.07, alpha: float = 0.2, epsilon: float = 1e-8
) -> Tensor:
    """The authors' released training code as published mathematics: NaN risk 0, row softmax, min-max, halves."""
    r = torch.nan_to_num(risk, nan=0.0)
    delta = (r[:, None] - r[None, :]) ** 2
    d = (delta - delta.min()) / (delta.max() - delta.min() + 1e-6)
    d = (1 - alpha) * d + alpha
    d = d - torch.diag(torch.diag(d))
    d = d.repeat(2, 2)
    b = len(r)
    sim = cosines(z1, z2)
    n = 2 * b
    logits = sim / tau
    logits = logits - logits.max(dim=1, keepdim=True).values.detach()
    positive = torch.arange(n).roll(b)
    e = torch.exp(logits)
    mask = torch.ones(n, n)
    mask.fill_diagonal_(0)
    mask[torch.arange(n), positive] = 0
    weights = torch.softmax(d, dim=1)
    e_pos = e[torch.arange(n), positive]
    contrastive = -torch.log(e_pos / (e_pos + (weights * e * mask).sum(1) + epsilon)).mean()
    scaled = (sim - sim.min()) / (sim.max() - sim.min() + 1e-6)
    return (contrastive + (scaled - (1 - d)).square().mean()) / 2


def naive_pair_stats(
    q: Tensor, k: Tensor, tau: Tensor, omega: list[list[float]], positive: list[list[float]]
) -> dict[str, Tensor]:
    """Row statistics entry by entry; a weight of 0 means: no negative (positive)."""
    unit_q, unit_k = ([x / x.norm() for x in z] for z in (q, k))
    stats: dict[str, list[Tensor]] = {name: [] for name in ("positive_sum", "positive_lse", "negative_lse")}
    counts = []
    for i, x in enumerate(unit_q):
        s = [x @ y / tau for y in unit_k]
        total = 0 * s[0]
        for w, value in zip(positive[i], s):
            total = total + w * value
        stats["positive_sum"].append(total)
        for name, weights in (("positive_lse", positive[i]), ("negative_lse", omega[i])):
            terms = [value + math.log(w) for w, value in zip(weights, s) if w > 0]
            empty = torch.full((), -math.inf, dtype=q.dtype)
            stats[name].append(torch.stack(terms).logsumexp(0) if terms else empty)
        counts.append(sum(positive[i]))
    return {name: torch.stack(rows) for name, rows in stats.items()} | {
        "positive_count": torch.tensor(counts, dtype=q.dtype)
    }


def naive_labels(rows: list[int], columns: list[int]) -> tuple[list[list[float]], list[list[float]]]:
    """omega and positive weights of SupCon, self included."""
    positive = [[1.0 if a == b else 0.0 for b in columns] for a in rows]
    return [[1 - w for w in row] for row in positive], positive


def naive_features(
    rows: Tensor,
    columns: Tensor,
    threshold: float,
    row_labels: list[int] | None,
    column_labels: list[int] | None,
    overlap: bool,
) -> tuple[list[list[float]], list[list[float]]]:
    """omega and positive weights of PhysioCLR, self included."""
    omega, positive = ([[0.0] * len(columns) for _ in rows] for _ in range(2))
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            cosine = float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
            same = row_labels is not None and column_labels is not None and row_labels[i] == column_labels[j]
            positive[i][j] = 1.0 if cosine >= threshold or same else 0.0
            omega[i][j] = 1.0 if cosine < threshold and (overlap or not same) else 0.0
    return omega, positive


def naive_gaussian(
    rows: list[list[float]], columns: list[list[float]], bandwidth: float
) -> tuple[list[list[float]], list[list[float]]]:
    """omega and positive weights of y-Aware InfoNCE, self included."""
    positive = [
        [math.exp(-sum((x - y) ** 2 for x, y in zip(a, b)) / (2 * bandwidth**2)) for b in columns] for a in rows
    ]
    return [[1.0] * len(columns) for _ in rows], positive


def naive_omega(w: list[list[float]], norm: str, excluded: list[set[int]], equal: bool = False) -> list[list[float]]:
    """omega of the negatives from W (rows x columns); ``equal``: all risks are, and weigh 1 where "mean" is 0 / 0."""
    result = []
    for row, left_out in zip(w, excluded):
        kept = [j for j in range(len(row)) if j not in left_out]
        if norm == "mean":
            mean = sum(row[j] for j in kept) / len(kept)
            row = [1.0 if equal else (x / mean if mean > 0 else 0.0) for x in row]
        elif norm == "softmax":
            total = sum(math.exp(x) for x in row)
            row = [math.exp(x) / total for x in row]
        result.append(row)
    return result
