"""Which physiology is alike: features of all recordings, scaled on the training split, and the threshold on cosines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgloss.physiology.scaler import FeatureScaler

if TYPE_CHECKING:
    from ecgloss.physiology.table import Physiology

LEAST_QUALITY = 0.4  # of a delineation, below which its features are not used: that of noise is at most as high
_MOST_COMPARED = 2000  # training recordings whose pairs give a quantile of cosines


@dataclass(frozen=True)
class PairFeatures:
    """Features of all n recordings of a dataset, ready to be compared.

    Attributes:
        values: (n, F) fp32 scaled features; rows of NaN where nothing is known or the delineation is poor.
        scaler: Their scaling, fitted on the training recordings.
        cosines: Cosines of pairs of training recordings, sorted, of which a quantile is taken.
    """

    values: Tensor
    scaler: FeatureScaler
    cosines: Tensor

    def threshold(self, option: float | str) -> float:
        """The cosine from which on features are alike: a number, or a quantile over pairs of training recordings.

        Args:
            option: A number, or ``"quantile:Q"``.
        """
        q = quantile_of(option)
        return float(option) if q is None else float(torch.quantile(self.cosines, q))


def quantile_of(option: float | str) -> float | None:
    """Q of an option ``"quantile:Q"``; None for a number.

    Raises:
        ValueError: for anything else, or a number out of range.

    Example:
        >>> quantile_of("quantile:0.9"), quantile_of(0.25)
        (0.9, None)
    """
    kind, _, number = str(option).rpartition(":")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if kind == "quantile" and 0 < value < 1:
        return value
    if kind == "" and -1 <= value <= 1:
        return None
    raise ValueError(f"threshold must be a cosine in [-1, 1] or quantile:Q with Q between 0 and 1; got {option}")


def usable(physiology: Physiology) -> NDArray[np.bool_]:
    """Which recordings have features, of a delineation of at least :data:`LEAST_QUALITY`, (n,)."""
    quality = np.array([found.quality for found in physiology.delineations])
    return np.asarray((quality >= LEAST_QUALITY) & np.isfinite(physiology.features).any(axis=1))


def pair_features(physiology: Physiology, train: NDArray[np.int64], components: int) -> PairFeatures:
    """Scale the features of a dataset.

    Args:
        physiology: Features and delineations of all recordings.
        train: Positions of the training recordings; scales, components and cosines come from them alone.
        components: Principal components to keep.

    Raises:
        ValueError: if fewer than two training recordings have features.
    """
    known = usable(physiology)
    values = np.where(known[:, None], physiology.features, np.nan)
    rows = train[known[train]]
    if len(rows) < 2:
        raise ValueError(
            f"{len(rows)} of {len(train)} training recordings have features (beats in a lead of quality "
            f"{LEAST_QUALITY} or more); pairs by features need two. Choose --physioclr.pairs patient or none"
        )
    scaler = FeatureScaler.fit(values[rows], components=components)
    scaled = torch.from_numpy(scaler.transform(values)).float()
    some = rows[:: -(-len(rows) // _MOST_COMPARED)]
    unit = torch.nn.functional.normalize(scaled[torch.from_numpy(some)], dim=1)
    first, second = torch.triu_indices(len(some), len(some), 1)
    return PairFeatures(scaled, scaler, (unit @ unit.T)[first, second].sort().values)
