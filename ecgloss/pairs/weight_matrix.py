"""The matrix W of one batch, in blocks of rows: O(B) numbers are stored, never B x B.

W is computed in three places, each for its own kind of loop: here in torch (``chunked``, ``reference``), in
``csrc/rules.h`` and in ``kernels/weight.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


def wide_dtype(device: torch.device) -> torch.dtype:
    """The widest accumulation type the device has (Apple's GPUs know no fp64)."""
    return torch.float32 if device.type == "mps" else torch.float64


@dataclass(frozen=True)
class WeightMatrix:
    """What blocks of W (B, B) are computed from; :attr:`RiskWeights.matrix` holds it.

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
