"""The loss family written as loops over pairs of rows, one number at a time, sharing no code with the package."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Tau = float | Tensor


def logits(q: Tensor, k: Tensor, tau: Tau) -> list[list[Tensor]]:
    """s_ij = cos(q_i, k_j) / tau."""
    return [[(x @ y) / (x.norm() * y.norm()) / tau for y in k] for x in q]


def log_sum(terms: list[Tensor], weights: list[float] | None = None) -> Tensor:
    """log sum w e^s."""
    weights = weights or [1.0] * len(terms)
    top = max(s.item() for s in terms)
    total = torch.zeros((), dtype=terms[0].dtype)
    for s, w in zip(terms, weights):
        total = total + w * torch.exp(s - top)
    return torch.log(total) + top


def mean(terms: list[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0]) / len(terms)


def info_nce(q: Tensor, k: Tensor, tau: Tau, symmetric: bool = False) -> list[Tensor]:
    """Loss of every query; key i is the positive of query i, all other keys are negatives."""
    s = logits(q, k, tau)
    rows = [log_sum(s[i]) - s[i][i] for i in range(len(q))]
    if not symmetric:
        return rows
    columns = [log_sum([s[i][j] for i in range(len(q))]) - s[j][j] for j in range(len(q))]
    return [(a + b) / 2 for a, b in zip(rows, columns)]


def queue_weights(
    risk: list[float], queue_risk: list[float], norm: str, alpha: float = 0.2, scale: float | None = None
) -> list[list[float]]:
    """omega of queue entries: the dissimilarity D of two risks, min-max over all samples, NaN = the mean of D^."""
    everyone = risk + queue_risk
    n = len(everyone)
    delta = {(a, b): (everyone[a] - everyone[b]) ** 2 for a in range(n) for b in range(n)}
    known = {pair: x for pair, x in delta.items() if not math.isnan(x)}
    low, high = (min(known.values()), max(known.values())) if known else (0.0, 0.0)
    hat = {p: (x - low) / (high - low + 1e-6) if scale is None else min(x / scale, 1.0) for p, x in known.items()}
    off = [x for (a, b), x in hat.items() if a != b]
    unknown = sum(off) / len(off) if off else 0.0
    result = []
    for i in range(len(risk)):
        d = [alpha + (1 - alpha) * hat.get((i, len(risk) + j), unknown) for j in range(len(queue_risk))]
        if norm == "mean":
            d = [x / (sum(d) / len(d)) for x in d]
        elif norm == "softmax":
            d = [math.exp(x) / sum(math.exp(y) for y in d) for x in d]
        result.append(d)
    return result


def moco(q: Tensor, k: Tensor, queue: Tensor, tau: Tau, omega: list[list[float]] | None = None) -> list[Tensor]:
    """Loss of every query against its key and the whole queue."""
    rows = []
    for i in range(len(q)):
        positive = logits(q[i : i + 1], k[i : i + 1], tau)[0][0]
        negatives = logits(q[i : i + 1], queue, tau)[0]
        weights = [1.0] * len(queue) if omega is None else omega[i]
        rows.append(log_sum([positive, *negatives], [1.0, *weights]) - positive)
    return rows


def supcon(z: Tensor, labels: list[int], tau: Tau, positives: str) -> list[Tensor | None]:
    """Loss of every row; None where nobody shares its label."""
    s = logits(z, z, tau)
    rows: list[Tensor | None] = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        friends = [k for k in others if labels[k] == labels[i]]
        if not friends:
            rows.append(None)
            continue
        everyone = log_sum([s[i][k] for k in others])
        if positives == "mean_out":  # L_out: mean of the log-probabilities
            rows.append(mean([everyone - s[i][k] for k in friends]))
        else:  # L_in: log of the mean probability
            rows.append(-torch.log(mean([torch.exp(s[i][k] - everyone) for k in friends])))
    return rows


def y_aware(z1: Tensor, z2: Tensor, metadata: list[list[float]], bandwidth: float, tau: Tau) -> list[Tensor]:
    """Cross entropy of every row between the kernel of metadata and the softmax of similarities."""
    z, y = torch.cat([z1, z2]), metadata * 2
    s = logits(z, z, tau)
    rows = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        everyone = log_sum([s[i][k] for k in others])
        w = {k: math.exp(-sum((a - b) ** 2 for a, b in zip(y[i], y[k])) / (2 * bandwidth**2)) for k in others}
        rows.append(sum((w[k] * (everyone - s[i][k]) for k in others), 0 * everyone) / sum(w.values()))
    return rows


def byol(p: Tensor, z: Tensor) -> list[Tensor]:
    """Squared distance of unit vectors."""
    rows = []
    for x, y in zip(p, z.detach()):
        difference = [a / x.norm() - b / y.norm() for a, b in zip(x, y)]
        rows.append(sum((e * e for e in difference[1:]), difference[0] * difference[0]))
    return rows


def physioclr(
    h: Tensor,
    shuffled: Tensor,
    features: list[list[float]],
    neighbour: Tensor | None,
    patient: list[int] | None,
    tau: Tau,
    *,
    threshold: float,
    denominator: str,
    positives: str,
    include_self: bool,
) -> list[Tensor | None]:
    """Loss of every anchor; None where its denominator is empty."""
    s = logits(h, h, tau)
    rows: list[Tensor | None] = []
    for i in range(len(h)):
        own = [other for other in (shuffled, neighbour) if other is not None]
        attracted = [logits(h[i : i + 1], other[i : i + 1], tau)[0][0] for other in own]
        repelled = []  # N_feat
        neither = []  # N_feat without P_pt: what "all" adds to P, so that nobody is counted twice
        for k in range(len(h)):
            if k == i and not include_self:
                continue
            cosine = feature_cosine(features[i], features[k])
            same = patient is not None and patient[i] == patient[k]
            if cosine >= threshold or same:
                attracted.append(s[i][k])
            if cosine < threshold:
                repelled.append(s[i][k])
                if not same:
                    neither.append(s[i][k])
        below = repelled if denominator == "negatives" else neither + attracted
        if not below:
            rows.append(None)
            continue
        rows.append(log_sum(below) - (log_sum(attracted) if positives == "sum_in" else mean(attracted)))
    return rows


def feature_cosine(a: list[float], b: list[float]) -> float:
    """NaN, which no comparison holds for, where a feature is NaN."""
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def peak_aware_mse(x_hat: Tensor, x: Tensor, mask: list[list[bool]], a: float, b: float) -> Tensor:
    """a MSE over all samples + b MSE over samples in peaks."""
    everywhere, peaks = [], []
    for u, v, inside in zip(x_hat, x, mask):
        for sample in range(len(u)):
            everywhere.append((u[sample] - v[sample]) ** 2)
            if inside[sample]:
                peaks.append(everywhere[-1])
    return a * mean(everywhere) + (b * mean(peaks) if peaks else 0.0)


def over_counted(rows: list[Tensor | None]) -> Tensor:
    """Mean of the rows that count."""
    return mean([row for row in rows if row is not None])
