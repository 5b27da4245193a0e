"""The matrix W of one batch in numbers: blocks, sums, and thin factors where it is a polynomial in the risk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# exp(-x) on [0, 1] to fp64 rounding: the first term left out is 1/19! = 8e-18.
RELIABILITY_TERMS = 19


def wide_dtype(device: torch.device) -> torch.dtype:
    """The widest accumulation type the device has (Apple's GPUs know no fp64)."""
    return torch.float32 if device.type == "mps" else torch.float64


@dataclass(frozen=True)
class PairWeights:
    """The matrix W (B, B) of one batch in numbers; :attr:`RiskWeights.resolved` holds it.

    Attributes:
        risk: (B, K) risks, centred, unknown ones 0; in the widest dtype of the device.
        known: (B,) 1 where the risk is known, 0 where not; None when all are known.
        missing: (B,) fraction f of missing inputs; None when the metadata is complete (M = 1).
        scale: 0-d, what Delta is multiplied with.
        neutral: 0-d, the mean Deltahat of known pairs, taken by pairs with an unknown risk.
        fallback: 0-d mean of D over b != c for ``reliability="revert"``, else None.
        all_equal: 0-d, 1 when every known risk is the same, else 0.
        alpha: Minimum dissimilarity.
        power: The exponent q.
        clip: Whether Deltahat is cut at 1 (fixed ``risk_scale``).
    """

    risk: Tensor
    known: Tensor | None
    missing: Tensor | None
    scale: Tensor
    neutral: Tensor
    fallback: Tensor | None
    all_equal: Tensor
    alpha: float
    power: int
    clip: bool

    @property
    def n_samples(self) -> int:
        """B, the number of samples."""
        return self.risk.shape[0]

    def tile(self, samples: Tensor, dtype: torch.dtype) -> Tensor:
        """W for some samples against all.

        Args:
            samples: (R,) sample numbers.
            dtype: Floating dtype of the result.

        Returns:
            (R, B) weights, 0 where a sample meets itself.
        """
        dissimilarity = (1 - self.alpha) * self._scaled_distance(samples, dtype) + self.alpha
        if self.missing is not None:
            f = self.missing.to(dtype)
            reliability = torch.exp(-f[samples, None] * f[None, :])
            if self.fallback is None:
                dissimilarity = reliability * dissimilarity
            else:
                fallback = self.fallback.to(dtype)
                dissimilarity = fallback + reliability * (dissimilarity - fallback)
        return dissimilarity.scatter_(1, samples[:, None], 0.0)

    def factors(self) -> tuple[Tensor, Tensor] | None:
        """U and V, each (B, rank), with ``W_bc = U_b . V_c`` for b != c; None where W is not a polynomial in r.

        M is one too, to rounding: ``exp(-f_b f_c) = sum_n (-1)^n f_b^n f_c^n / n!`` converges at once for f <= 1.
        """
        if self.power != 2 or self.clip:
            return None
        one = torch.ones_like(self.risk[:, :1])
        k = one if self.known is None else self.known[:, None]
        r, square = self.risk, self.risk.square().sum(1, keepdim=True)
        slope = (1 - self.alpha) * self.scale
        offset = self.alpha + (1 - self.alpha) * self.neutral
        # D_bc = offset + k_b k_c ((1-alpha)(scale |r_b - r_c|^2 - neutral)), neutral = 0 when all are known
        u = torch.cat(
            [
                offset * one,
                k * (slope * square - (1 - self.alpha) * self.neutral),
                k * slope,
                -2 * slope * k * r,
            ],
            1,
        )
        v = torch.cat([one, k, k * square, k * r], 1)
        if self.missing is None:
            return u, v
        if self.fallback is not None:  # W = M (D - fallback) + fallback
            u = torch.cat([u[:, :1] - self.fallback, u[:, 1:]], 1)
        u, v = _times_reliability(u, v, self.missing)
        if self.fallback is not None:
            u, v = torch.cat([u, self.fallback * one], 1), torch.cat([v, one], 1)
        return u, v

    def _scaled_distance(self, samples: Tensor, dtype: torch.dtype) -> Tensor:
        """Deltahat (R, B)."""
        r = self.risk.to(dtype)
        distance = distances(r[samples], r, self.power) * self.scale.to(dtype)
        if self.clip:
            distance = distance.clamp_(max=1.0)
        if self.known is not None:
            both = self.known[samples, None] * self.known[None, :] > 0
            distance = torch.where(both, distance, self.neutral.to(dtype))
        return distance


def sum_over_pairs(weights: PairWeights) -> tuple[Tensor, Tensor]:
    """Sum of W and of W^2 over all ordered pairs b != c, as 0-d tensors, in O(B) where W has factors."""
    factors = weights.factors()
    if factors is not None:
        u, v = factors
        diagonal = (u * v).sum(1)
        total = u.sum(0) @ v.sum(0) - diagonal.sum()
        squares = ((u.T @ u) * (v.T @ v)).sum() - diagonal.square().sum()
        return total, squares
    total = squares = torch.zeros_like(weights.scale)
    for samples in row_blocks(weights.n_samples, weights.risk.device):
        tile = weights.tile(samples, weights.risk.dtype)
        total, squares = total + tile.sum(), squares + tile.square().sum()
    return total, squares


def row_blocks(n: int, device: torch.device, size: int = 256) -> Iterator[Tensor]:
    """Index tensors 0..n-1 in blocks, for work on B x B numbers that must not be stored."""
    for start in range(0, n, size):
        yield torch.arange(start, min(start + size, n), device=device)


def distances(a: Tensor, b: Tensor, power: int) -> Tensor:
    """Delta (R, B), one risk dimension at a time so that no (R, B, K) tensor exists."""
    total = torch.zeros(a.shape[0], b.shape[0], dtype=a.dtype, device=a.device)
    for dimension in range(a.shape[1]):
        difference = a[:, dimension, None] - b[None, :, dimension]
        total += difference.square_() if power == 2 else difference.abs_()
    return total


def _times_reliability(u: Tensor, v: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of M * (U V^T), M = exp(-f f^T), from the power series of exp."""
    n = torch.arange(RELIABILITY_TERMS, dtype=f.dtype, device=f.device)
    powers = f[:, None] ** n  # (B, terms); 0**0 = 1
    coefficient = (1 - 2 * (n % 2)) / torch.exp(torch.lgamma(n + 1))
    left = (powers * coefficient)[:, :, None] * u[:, None, :]
    right = powers[:, :, None] * v[:, None, :]
    return left.flatten(1), right.flatten(1)
