"""Pair weights W from clinical risk and missing metadata (CLEF, arXiv 2512.02180), described by O(B) numbers.

For samples b != c, with risk r, fraction of missing inputs f and minimum dissimilarity alpha::

    Delta_bc    = sum_k |r_bk - r_ck|^q                                   q = 2 or 1
    Deltahat_bc = Delta_bc / (max Delta + 1e-6)   or   min(Delta_bc / s, 1)
    D_bc        = (1 - alpha) Deltahat_bc + alpha
    M_bc        = exp(-f_b f_c)
    W_bc        = M D   |   M D + (1 - M) mean(D)   |   D                 reliability "multiply" | "revert" | None

and W_bb = 0. (min Delta is 0: the diagonal belongs to the batch.) Pairs with an unknown risk take the mean Deltahat of
the known pairs. W is never stored: :class:`ecgloss.pairs.weight_matrix.WeightMatrix` computes blocks of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from ecgloss._validate import values_are_free
from ecgloss.pairs.weight_matrix import WeightMatrix, distances, row_blocks, wide_dtype

RELIABILITY = ("multiply", "revert", None)
NAN_RISK = ("neutral", "zero", "raise")
RISK_EPSILON = 1e-6  # keeps the min-max scale finite when all risks are equal; the value is the paper's code's


@dataclass(frozen=True)
class RiskWeights:
    """What W (B, B) of one batch follows from. Build it with :meth:`of`.

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
    _matrix: list[WeightMatrix] = field(default_factory=list, repr=False, compare=False)

    @property
    def n_samples(self) -> int:
        """B, the number of samples."""
        return self.values.shape[0]

    @property
    def matrix(self) -> WeightMatrix:
        """What blocks of W are computed from; found when it is first asked for (C++ and Triton find it themselves)."""
        if not self._matrix:  # not cached_property, whose lock torch.compile cannot trace
            self._matrix.append(_resolve(self))
        return self._matrix[0]

    @classmethod
    def of(
        cls,
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
            >>> w = RiskWeights.of(torch.tensor([0.0, 0.1, 0.2])).matrix
            >>> [round(x, 3) for x in w.tile(torch.arange(3), torch.float32)[0].tolist()]
            [0.0, 0.4, 1.0]
        """
        wide = wide_dtype(risk.device)
        f = None
        if missing is not None and reliability is not None:
            f = missing.to(wide)
            f = f / n_attributes if n_attributes else f
        return cls(
            values=(risk if risk.dim() == 2 else risk[:, None]).to(wide),
            missing=f,
            alpha=alpha,
            power=risk_power,
            fixed_scale=None if risk_scale == "minmax" else float(risk_scale),
            reliability=reliability,
            nan_risk=nan_risk,
        )


def _resolve(given: RiskWeights) -> WeightMatrix:
    """The numbers of W, each in O(B) for one risk score with q = 2 and min-max scale."""
    r = given.values
    unknown = torch.isnan(r).any(dim=1)
    r = torch.where(unknown[:, None], 0.0, r) if given.nan_risk == "neutral" else torch.nan_to_num(r, nan=0.0)
    known = (~unknown).to(r.dtype) if given.nan_risk == "neutral" and _may_be_unknown(unknown) else None
    r = _centre(r, known)
    largest = _largest_distance(r, known, given.power)
    fixed = given.fixed_scale
    scale = 1 / (largest + RISK_EPSILON) if fixed is None else torch.full_like(largest, 1 / fixed)
    numbers = partial(
        WeightMatrix,
        risk=r,
        known=known,
        scale=scale,
        all_equal=(largest == 0).to(r.dtype),
        alpha=given.alpha,
        power=given.power,
        clip=fixed is not None,
    )
    neutral, fallback = torch.zeros_like(largest), None
    reverts = given.missing is not None and given.reliability == "revert"
    if known is not None or reverts:
        # With missing = None, alpha = 0 and neutral = 0, W is Deltahat on known pairs and 0 elsewhere.
        total = _sum_of_distances(numbers(missing=None, neutral=neutral, fallback=None, alpha=0.0))
        n = torch.full_like(largest, given.n_samples)
        n_known = n if known is None else known.sum()
        pairs, known_pairs = n * (n - 1), n_known * (n_known - 1)
        neutral = total / known_pairs.clamp(min=1)  # 0 without known pairs, where the total is 0
        if reverts:
            fallback = given.alpha + (1 - given.alpha) * (total + (pairs - known_pairs) * neutral) / pairs
    return numbers(missing=given.missing, neutral=neutral, fallback=fallback)


def _may_be_unknown(unknown: Tensor) -> bool:
    """False only where looking is free and shows that every risk is known."""
    return bool(unknown.any()) if values_are_free(unknown) else True


def _centre(r: Tensor, known: Tensor | None) -> Tensor:
    """Shift risks to mean zero: only differences count, and small numbers cancel less."""
    if known is None:
        return r - r.mean(0)
    k = known[:, None]
    return (r - (r * k).sum(0) / k.sum().clamp(min=1)) * k


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
        distance = distances(r[samples], r, power)
        if known is not None:
            distance = distance * known[samples, None] * known[None, :]
        largest = torch.maximum(largest, distance.amax())
    return largest


def _sum_of_distances(deltahat: WeightMatrix) -> Tensor:
    """Sum of Deltahat over ordered pairs of different known samples, 0-d; in O(B) where it is a square."""
    if deltahat.power == 2 and not deltahat.clip:  # the known risks sum to 0
        n_known = deltahat.n_samples if deltahat.known is None else deltahat.known.sum()
        return 2 * deltahat.scale * n_known * deltahat.risk.square().sum()
    total = torch.zeros_like(deltahat.scale)
    for samples in row_blocks(deltahat.n_samples, deltahat.risk.device):
        total = total + deltahat.tile(samples, deltahat.risk.dtype).sum()
    return total
