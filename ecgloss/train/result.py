"""What a run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecgloss.data.dataset import EcgDataset


@dataclass(frozen=True)
class Result:
    """Outcome of a run.

    Attributes:
        run: Its folder.
        checkpoint: The last checkpoint; the best one is ``load_encoder(run / "best")``.
        steps: Steps done in all.
        loss: Loss of the last step of this call (NaN if there was nothing left to do).
        dataset: The recordings.
        rank: Number of this process among those that trained.
    """

    run: Path
    checkpoint: Path
    steps: int
    loss: float
    dataset: EcgDataset
    rank: int = 0
