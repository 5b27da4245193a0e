"""What a method needs to know of the waves of the recordings: marks, features, and where they cannot be trusted."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from numpy.typing import NDArray

from ecgloss.data.dataset import EcgDataset
from ecgloss.physiology.marks import WaveMarks
from ecgloss.physiology.table import physiology_of
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import METHODS
from ecgloss.train.pair_features import LEAST_QUALITY, PairFeatures, pair_features, usable
from ecgloss.train.side_information import SideInformation

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Waves:
    """Waves of all recordings of a dataset.

    Attributes:
        marks: R peaks and waves.
        usable: (n,) bool, whether a recording has features that can be trusted.
        features: Scaled features, for a method that compares them.
        gap: A sentence on the training recordings that are not usable; empty if all are.
    """

    marks: WaveMarks
    usable: torch.Tensor
    features: PairFeatures | None
    gap: str

    def add_to(self, side: SideInformation, gaps: dict[str, str]) -> tuple[SideInformation, dict[str, str]]:
        """Side information and gaps with what is known of the waves."""
        values = None if self.features is None else self.features.values
        return replace(side, usable=self.usable, features=values), {**gaps, **({"waves": self.gap} if self.gap else {})}


def waves_of(
    config: PretrainConfig, dataset: EcgDataset, train: NDArray[np.int64], *, progress: bool = True
) -> Waves | None:
    """Find the waves of all recordings, or read the file beside the dataset's cache; None for a method without need.

    Args:
        config: The run.
        dataset: The recordings.
        train: Positions of the training recordings, on which features are scaled.
        progress: Show a progress bar.

    Raises:
        ValueError: if features are compared and fewer than two training recordings have any.
        MissingExtraError: if the extra ``features`` is not installed.
    """
    method = METHODS[config.loss]
    if not method.needs_waves(config):
        return None
    physiology = physiology_of(dataset, workers=os.cpu_count() or 1, progress=progress)
    found = usable(physiology)
    lacking = int((~found[train]).sum())
    gap = (
        f"{lacking} of {len(train)} training recordings keep their own views as only positives: no beats were found, "
        f"or their quality is below {LEAST_QUALITY}"
    )
    wanted = method.needs_features(config)
    features = pair_features(physiology, train, config.physioclr.components) if wanted else None
    return Waves(WaveMarks.of(physiology.delineations), torch.from_numpy(found), features, gap if lacking else "")
