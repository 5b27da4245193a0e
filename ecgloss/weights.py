"""Pair weights W from clinical risk and missing metadata (CLEF, arXiv 2512.02180), described by O(B) numbers.

For samples b != c, with risk r, fraction of missing inputs f and minimum dissimilarity alpha::

    Delta_bc    = sum_k |r_bk - r_ck|^q                                   q = 2 or 1
    Deltahat_bc = Delta_bc / (max Delta + 1e-6)   or   min(Delta_bc / s, 1)
    D_bc        = (1 - alpha) Deltahat_bc + alpha
    M_bc        = exp(-f_b f_c)
    W_bc        = M D   |   M D + (1 - M) mean(D)   |   D                 reliability "multiply" | "revert" | None

and W_bb = 0. (min Delta is 0: the diagonal belongs to the batch.) Pairs with an unknown risk take the mean Deltahat of
the known pairs. W is never stored: :meth:`PairWeights.tile` gives a block of rows, and where W is a polynomial in r
:meth:`PairWeights.factors` gives two thin matrices with ``W = U V^T`` off the diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

RELIABILITY = ("multiply", "revert", None)
NAN_RISK = ("neutral", "zero", "raise")
RISK_EPSILON = 1e-6  # keeps the min-max scale finite when all risks are equal; the value is the paper's code's
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
        distance = _distance(r[samples], r, self.power) * self.scale.to(dtype)
        if self.clip:
            distance = distance.clamp_(max=1.0)
        if self.known is not None:
            both = self.known[samples, None] * self.known[None, :] > 0
            distance = torch.where(both, distance, self.neutral.to(dtype))
        return distance


@dataclass(frozen=True)
class RiskWeights:
    """What W (B, B) of one batch follows from. Build it with :func:`risk_weights`.

    Attributes:
        values: (B, K) risks as given, NaN = unknown; in the widest dtype of the device.
        missing: (B,) fraction f of missing inputs in the same dtype; None where M = 1.
        alpha: Minimum dissimilarity.
        power: The exponent q.
        fixed_scale: s of Delta / s, cut at 1; None: min-max over the batch.
        reliability: ``"multiply"``, ``"revert"`` or None.
        nan_risk: ``"neutral"`` or ``"zero"``.
    """

    values: Tensor
    missing: Tensor | None
    alpha: float
    power: int
    fixed_scale: float | None
    reliability: str | None
    nan_risk: str
    _resolved: list[PairWeights] = field(default_factory=list, repr=False, compare=False)

    @property
    def n_samples(self) -> int:
        """B, the number of samples."""
        return self.values.shape[0]

    @property
    def resolved(self) -> PairWeights:
        """W in numbers. Found when it is first looked at: the C++ kernels have their own way."""
        if not self._resolved:  # not cached_property, whose lock torch.compile cannot trace
            self._resolved.append(_resolve(self))
        return self._resolved[0]


def risk_weights(
    risk: Tensor,
    missing: Tensor | None = None,
    *,
    alpha: float = 0.2,
    risk_scale: float | str = "minmax",
    risk_power: int = 2,
    reliability: str | None = "multiply",
    nan_risk: str = "neutral",
    n_attributes: int | None = None,
) -> RiskWeights:
    """Describe W for one batch; no gradient, no host synchronisation.

    Args:
        risk: (B,) or (B, K) risk scores, NaN = unknown.
        missing: (B,) fraction of missing risk inputs, or counts with ``n_attributes``.
        alpha: Minimum dissimilarity in [0, 1].
        risk_scale: ``"minmax"`` or a fixed positive scale s for Delta.
        risk_power: q, 2 or 1.
        reliability: ``"multiply"``, ``"revert"`` or None.
        nan_risk: ``"neutral"``, ``"zero"`` or ``"raise"`` (checked by the caller).
        n_attributes: What counts in ``missing`` are counted out of.

    Returns:
        The description of W.

    Example:
        >>> w = risk_weights(torch.tensor([0.0, 0.1, 0.2])).resolved
        >>> [round(x, 3) for x in w.tile(torch.arange(3), torch.float32)[0].tolist()]
        [0.0, 0.4, 1.0]
    """
    wide = wide_dtype(risk.device)
    f = None
    if missing is not None and reliability is not None:
        f = missing.detach().to(wide)
        f = f / n_attributes if n_attributes else f
    return RiskWeights(
        values=risk.detach().to(wide).reshape(risk.shape[0], -1),
        missing=f,
        alpha=alpha,
        power=risk_power,
        fixed_scale=None if risk_scale == "minmax" else float(risk_scale),
        reliability=reliability,
        nan_risk=nan_risk,
    )


def _resolve(given: RiskWeights) -> PairWeights:
    """The numbers of W, each in O(B) where W is a polynomial in r."""
    r = given.values
    unknown = torch.isnan(r).any(dim=1)
    r = torch.where(unknown[:, None], 0.0, r) if given.nan_risk == "neutral" else torch.nan_to_num(r, nan=0.0)
    known = (~unknown).to(r.dtype) if given.nan_risk == "neutral" and _may_be_unknown(unknown) else None
    r = _centre(r, known)
    largest = _largest_distance(r, known, given.power)
    fixed = given.fixed_scale
    scale = 1 / (largest + RISK_EPSILON) if fixed is None else torch.full_like(largest, 1 / fixed)
    weights = PairWeights(
        risk=r,
        known=known,
        missing=None,
        scale=scale,
        neutral=torch.zeros_like(largest),
        fallback=None,
        all_equal=(largest == 0).to(r.dtype),
        alpha=given.alpha,
        power=given.power,
        clip=fixed is not None,
    )
    if known is not None:
        weights = replace(weights, neutral=_mean_known_distance(weights))
    if given.missing is not None and given.reliability == "revert":
        count = weights.n_samples * (weights.n_samples - 1)
        weights = replace(weights, fallback=sum_over_pairs(weights)[0] / count)
    return replace(weights, missing=given.missing)


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


def _may_be_unknown(unknown: Tensor) -> bool:
    """False only where looking is free and shows that every risk is known."""
    if unknown.device.type == "cpu" and not torch.compiler.is_compiling():
        return bool(unknown.any())
    return True


def _centre(r: Tensor, known: Tensor | None) -> Tensor:
    """Shift risks to mean zero: only differences count, and small numbers cancel less."""
    if known is None:
        return r - r.mean(0)
    k = known[:, None]
    return (r - (r * k).sum(0) / k.sum().clamp(min=1)) * k


def _distance(a: Tensor, b: Tensor, power: int) -> Tensor:
    """Delta (R, B), one risk dimension at a time so that no (R, B, K) tensor exists."""
    total = torch.zeros(a.shape[0], b.shape[0], dtype=a.dtype, device=a.device)
    for dimension in range(a.shape[1]):
        difference = a[:, dimension, None] - b[None, :, dimension]
        total += difference.square_() if power == 2 else difference.abs_()
    return total


def _largest_distance(r: Tensor, known: Tensor | None, power: int) -> Tensor:
    """Largest Delta of known pairs: from the range for one score, otherwise over all pairs in blocks."""
    if r.shape[1] == 1:
        x = r[:, 0]
        if known is None:
            return (x.amax() - x.amin()) ** power
        high = torch.where(known > 0, x, -math.inf).amax()
        low = torch.where(known > 0, x, math.inf).amin()
        return (high - low).clamp(min=0.0) ** power  # -inf when nothing is known
    largest = torch.zeros((), dtype=r.dtype, device=r.device)
    for samples in row_blocks(r.shape[0], r.device):
        distance = _distance(r[samples], r, power)
        if known is not None:
            distance = distance * known[samples, None] * known[None, :]
        largest = torch.maximum(largest, distance.amax())
    return largest


def _mean_known_distance(weights: PairWeights) -> Tensor:
    """Mean Deltahat over pairs b != c with both risks known (0 when there is no such pair)."""
    assert weights.known is not None
    n = weights.known.sum()
    pairs = (n * (n - 1)).clamp(min=1)
    # With alpha = 0 and neutral = 0, D is Deltahat on known pairs and 0 elsewhere.
    return sum_over_pairs(replace(weights, alpha=0.0))[0] / pairs


def _times_reliability(u: Tensor, v: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of M * (U V^T), M = exp(-f f^T), from the power series of exp."""
    n = torch.arange(RELIABILITY_TERMS, dtype=f.dtype, device=f.device)
    powers = f[:, None] ** n  # (B, terms); 0**0 = 1
    coefficient = (1 - 2 * (n % 2)) / torch.exp(torch.lgamma(n + 1))
    left = (powers * coefficient)[:, :, None] * u[:, None, :]
    right = powers[:, :, None] * v[:, None, :]
    return left.flatten(1), right.flatten(1)
