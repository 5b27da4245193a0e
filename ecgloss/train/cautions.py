"""What a run may be surprised by, said with counts before its first step: options that do not fit its recordings."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgloss.data.dataset import EcgDataset
from ecgloss.train.config import PretrainConfig


def cautions(
    config: PretrainConfig, dataset: EcgDataset, train: NDArray[np.int64], risk: Tensor | None = None
) -> list[str]:
    """Sentences on batches, windows and risks that are not what the options make one expect.

    Args:
        config: The run.
        dataset: The recordings.
        train: Positions of those that train.
        risk: (n,) or (n, K) risks of all recordings, NaN where unknown; None for a method that compares none.
    """
    samples = dataset.index["n_samples"].to_numpy()[train]
    found = about_batches(len(train), config.batch_size) + about_windows(samples, config.window, config.windows)
    return found + (about_risk(risk[torch.from_numpy(train)]) if risk is not None else [])


def about_batches(n: int, size: int) -> list[str]:
    """Whether a batch is larger than the training set, or some recordings are left out of every epoch.

    Args:
        n: Training recordings.
        size: Recordings per batch.

    Example:
        >>> about_batches(34, 8)
        ['34 training recordings in batches of 8: 2 of them are left out of every epoch, other ones each time']
        >>> about_batches(34, 64)
        ['batch_size 64 is larger than the training set: every batch has all 34 recordings']
    """
    if size > n:
        return [f"batch_size {size} is larger than the training set: every batch has all {n} recordings"]
    rest = n % size
    which = "1 of them is" if rest == 1 else f"{rest} of them are"
    what = f"{n:,} training recordings in batches of {size}"
    return [f"{what}: {which} left out of every epoch, other ones each time"] if rest else []


def about_windows(samples: NDArray[np.int64], window: int, windows: str) -> list[str]:
    """Whether recordings are shorter than the window, or as long as it where two independent windows are asked for.

    Args:
        samples: (n,) length of every training recording.
        window: Length of the window.
        windows: "same" or "independent".

    Example:
        >>> about_windows(np.array([1000, 1500]), 1000, "independent")
        ['windows independent: 1 of 2 training recordings are not longer than the window: both views show the same']
    """
    found, n = [], len(samples)
    short, same = int((samples < window).sum()), int((samples <= window).sum())
    if short:
        found.append(f"{short:,} of {n:,} training recordings are shorter than the window and end in zeros")
    if windows == "independent" and same:
        found.append(
            f"windows independent: {same:,} of {n:,} training recordings are not longer than the window: both views "
            "show the same"
        )
    return found


def about_risk(risk: Tensor) -> list[str]:
    """Whether fewer than half of the training recordings have a known risk.

    Args:
        risk: (n,) or (n, K), NaN where unknown.

    Example:
        >>> about_risk(torch.tensor([0.1, float("nan"), float("nan")]))
        ['warning: only 1 of 3 training recordings (33 %) have a known risk; the others are weighted alike']
    """
    known = int((~torch.isnan(risk.reshape(len(risk), -1)).any(dim=1)).sum())
    if 2 * known >= len(risk):
        return []
    share = 100 * known / len(risk)
    return [
        f"warning: only {known:,} of {len(risk):,} training recordings ({share:.0f} %) have a known risk; "
        "the others are weighted alike"
    ]
