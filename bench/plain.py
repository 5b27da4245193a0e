"""The losses as one writes them without a library, straight from the formulas: plain torch, N x N everywhere.

With B samples in two views, rows 0..B-1 are the first views and rows B..2B-1 the second: N = 2B. In half precision
rows are normalised in fp32, their product is in half precision, everything after it in fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as torch_f

EPSILON = 1e-6


def clef_official(z1: Tensor, z2: Tensor, risk: Tensor, temperature: float = 0.07, alpha: float = 0.2) -> Tensor:
    """CLEF as its released training code has it: softmax of the weights, alignment with min-max scaled similarities."""
    same, positive, similarity, dissimilarity = _pairs(z1, z2, risk, alpha)
    contrastive = _contrastive(similarity, torch.softmax(dissimilarity, dim=1), same, positive, temperature)
    alignment = (_min_max(similarity) - (1 - dissimilarity)).square().mean()
    return (contrastive + alignment) / 2


def clef_paper(z1: Tensor, z2: Tensor, risk: Tensor, temperature: float = 0.07, alpha: float = 0.2) -> Tensor:
    """CLEF as the paper writes it: the dissimilarities are the weights, alignment with cosine similarities."""
    same, positive, similarity, dissimilarity = _pairs(z1, z2, risk, alpha)
    contrastive = _contrastive(similarity, dissimilarity, same, positive, temperature)
    alignment = (similarity - (1 - dissimilarity)).square().mean()
    return contrastive + alignment


def ntxent(z1: Tensor, z2: Tensor, temperature: float = 0.07) -> Tensor:
    """NT-Xent as a cross-entropy over the rows of the similarity matrix without its diagonal."""
    logits = _similarity(z1, z2) / temperature
    rows = torch.arange(len(logits), device=z1.device)
    logits = logits.masked_fill(rows[:, None] == rows[None, :], -torch.inf)
    return torch_f.cross_entropy(logits, rows.roll(len(z1)))


def infonce(q: Tensor, k: Tensor, temperature: float = 0.07) -> Tensor:
    """InfoNCE of N queries with N keys, key i the positive of query i."""
    logits = _wide(unit(q) @ unit(k).T) / temperature
    return torch_f.cross_entropy(logits, torch.arange(len(q), device=q.device))


def unit(z: Tensor) -> Tensor:
    """Unit rows, computed in fp32 or wider, in the dtype of z."""
    return torch_f.normalize(_wide(z), dim=1).to(z.dtype)


def _similarity(z1: Tensor, z2: Tensor) -> Tensor:
    """Cosine similarities (N, N), fp32 or wider."""
    z = unit(torch.cat([z1, z2]))
    return _wide(z @ z.T)


def _wide(x: Tensor) -> Tensor:
    """fp32, or wider where x is."""
    return x if x.dtype == torch.float64 else x.float()


def _pairs(z1: Tensor, z2: Tensor, risk: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pairs of the same sample, pairs of its two views, similarity, clinical dissimilarity; (N, N) each.

    The dissimilarity is the scaled squared difference of the risks, at least alpha, 0 for the same sample.
    """
    sample = torch.arange(len(z1), device=z1.device).repeat(2)
    same = sample[:, None] == sample[None, :]
    positive = same & ~torch.eye(len(sample), dtype=torch.bool, device=z1.device)
    similarity = _similarity(z1, z2)
    risk = risk.to(similarity.dtype).repeat(2)
    difference = (risk[:, None] - risk[None, :]).square()
    return same, positive, similarity, ((1 - alpha) * _min_max(difference) + alpha).masked_fill(same, 0.0)


def _contrastive(similarity: Tensor, weight: Tensor, same: Tensor, positive: Tensor, temperature: float) -> Tensor:
    """Mean of -log( e^{s_ip} / (e^{s_ip} + sum over negatives of weight e^{s_ik}) )."""
    exponential = torch.exp(similarity / temperature)
    numerator = (exponential * positive).sum(dim=1)
    denominator = numerator + (exponential * weight * ~same).sum(dim=1)
    return -torch.log(numerator / denominator).mean()


def _min_max(x: Tensor) -> Tensor:
    """Scale to [0, 1]."""
    return (x - x.min()) / (x.max() - x.min() + EPSILON)
