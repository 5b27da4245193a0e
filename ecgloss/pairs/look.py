"""A look at the weights W of a batch before training: do they tell patients apart, or does one patient set their
scale?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgloss.pairs.risk_weights import RiskWeights
from ecgloss.pairs.weight_matrix import distances

ALIKE = 0.05  # weights within 5 % of one another
MOST_ALIKE = 0.9  # share of weights alike from which on W is degenerate
SHRINKS = 0.25  # an outlier: without it, the largest dissimilarity is less than this share of what it is with it
MOST_UNKNOWN = 0.5
_AT_MOST = 1024  # samples whose pairs are looked at


@dataclass(frozen=True)
class WeightsLook:
    """What a sample of pairs shows.

    Attributes:
        weights: Of all pairs of different samples, sorted.
        alike: Largest share of weights that lie within 5 % of one another.
        unknown: Share of samples without a known risk.
        all_equal: Whether all known risks are equal.
        outlier: Risk of a sample that alone sets the min-max scale, one number per score; None if there is none.
        scale: A value for ``risk_scale`` that the outlier does not set; 0 where there is none.
    """

    weights: NDArray[np.float64]
    alike: float
    unknown: float
    all_equal: bool
    outlier: tuple[float, ...] | None
    scale: float

    @property
    def degenerate(self) -> bool:
        """Whether the weights hardly tell pairs apart."""
        return self.alike > MOST_ALIKE

    def sentences(self, option: str = "risk_scale") -> list[str]:
        """What the user should know; empty where the weights are as they should be.

        Args:
            option: What the option is called that fixes the scale.
        """
        lines = []
        if self.unknown > MOST_UNKNOWN:
            lines.append(
                f"{self.unknown:.0%} of risks are unknown: all pairs with one of them are weighted alike, and the risk "
                "hardly matters"
            )
        if self.all_equal:
            lines.append("all known risks are equal: every pair has the weight alpha, the risk says nothing")
        elif self.outlier is not None:
            shown = ", ".join(f"{x:.4g}" for x in self.outlier)
            lines.append(
                f"one risk ({shown}) sets the scale of all weights, because the largest difference is scaled to 1; "
                f"{option} {self.scale:.3g} would not depend on it"
            )
        if self.degenerate and not self.all_equal and self.unknown <= MOST_UNKNOWN:
            advice = "" if self.outlier is not None or not self.scale else f"; try {option} {self.scale:.3g}"
            lines.append(
                f"weights are degenerate: {self.alike:.0%} of them lie within {ALIKE:.0%} of one another{advice}"
            )
        return lines


def look_at_weights(
    risk: Tensor,
    missing: Tensor | None = None,
    *,
    alpha: float = 0.2,
    risk_scale: float | str = "minmax",
    risk_power: int = 2,
    reliability: str | None = "multiply",
    nan_risk: str = "neutral",
) -> WeightsLook:
    """Look at the weights of the pairs of n samples; of more than 1,024, at some, with the extreme risks among them.

    Args:
        risk: (n,) or (n, K) risks, NaN where unknown.
        missing: (n,) share of missing inputs.
        alpha: As all options that follow: see :func:`ecgloss.functional.risk_weights`.
        risk_scale: "minmax" or a number.
        risk_power: 2 or 1.
        reliability: "multiply", "revert" or None.
        nan_risk: "neutral" or "zero".

    Example:
        >>> look = look_at_weights(torch.tensor([0.01, 0.02, 0.03, 0.02, 0.9]))
        >>> [round(x, 2) for x in look.outlier], round(look.scale, 6)
        ([0.9], 0.0004)
    """
    columns = (risk if risk.dim() == 2 else risk[:, None]).double().cpu()
    rows = _some(columns)
    columns = columns[rows]
    f = None if missing is None else missing.double().cpu()[rows]
    options = {"alpha": alpha, "risk_power": risk_power, "reliability": reliability, "nan_risk": nan_risk}
    described = RiskWeights.of(columns, f, risk_scale=risk_scale, **options)  # type: ignore[arg-type]
    n = len(columns)
    matrix = described.matrix.tile(torch.arange(n), torch.float64)
    weights = np.sort(matrix.numpy()[np.triu_indices(n, 1)])
    within = np.searchsorted(weights, weights * (1 + ALIKE), side="right") - np.arange(len(weights))
    known = ~torch.isnan(columns).any(dim=1)
    outlier, scale, largest = None, 0.0, 0.0
    r = columns[known]
    if len(r) > 1:
        delta = distances(r, r, risk_power)
        largest = float(delta.max())
        outlier, scale = _outlier(r, delta) if risk_scale == "minmax" else (None, 0.0)
    return WeightsLook(
        weights,
        float(within.max(initial=0) / max(len(weights), 1)),
        float(1 - known.double().mean()) if n else 0.0,
        bool(len(r) > 1 and largest == 0),
        outlier,
        scale,
    )


def _outlier(r: Tensor, delta: Tensor) -> tuple[tuple[float, ...] | None, float]:
    """The sample without which the largest dissimilarity shrinks most, if it shrinks enough; and a scale without it.

    Without an outlier the scale is the 95th percentile of dissimilarities.
    """
    largest = float(delta.max())
    first = int(delta.argmax())
    smallest, who = largest, -1
    for end in (first // len(r), first % len(r)):
        others = torch.arange(len(r)) != end
        without = float(delta[others][:, others].max())
        if without < smallest:
            smallest, who = without, end
    if len(r) > 2 and who >= 0 and 0 < smallest < SHRINKS * largest:
        return tuple(r[who].tolist()), smallest
    upper = delta[tuple(torch.triu_indices(len(r), len(r), 1))]
    return None, float(np.quantile(upper.numpy(), 0.95)) if len(upper) else 0.0


def _some(columns: Tensor) -> Tensor:
    """Positions of at most 1,024 rows, evenly spread by position, with those of the smallest and largest risks."""
    n = len(columns)
    if n <= _AT_MOST:
        return torch.arange(n)
    even = torch.linspace(0, n - 1, _AT_MOST - 2 * columns.shape[1]).long()
    low = torch.nan_to_num(columns, nan=torch.inf).argmin(dim=0)
    high = torch.nan_to_num(columns, nan=-torch.inf).argmax(dim=0)
    rows: Tensor = torch.unique(torch.cat([even, low, high]))
    return rows
