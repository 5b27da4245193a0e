"""Which recordings make a batch: every training recording once per epoch, those of a patient together if wanted."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor


def random_batches(rows: NDArray[np.int64], size: int, draw: Generator) -> Tensor:
    """Batches in a random order, (n, size); recordings that do not fill a whole one are left out.

    Args:
        rows: (N,) recordings.
        size: Recordings per batch; at most N are taken.
        draw: Of the order.

    Example:
        >>> random_batches(np.arange(10, 15), 2, torch.Generator().manual_seed(0)).tolist()
        [[14, 10], [11, 13]]
    """
    size = min(size, len(rows))
    order = torch.randperm(len(rows), generator=draw)
    return torch.from_numpy(rows)[order][: len(rows) // size * size].reshape(-1, size)


def patient_batches(rows: NDArray[np.int64], patient: NDArray[np.int64], size: int, draw: Generator) -> Tensor:
    """Batches in which recordings of a patient meet: random pairs of them stand in the same batch.

    A patient with an odd number of recordings has one without a partner. Otherwise as :func:`random_batches`.

    Args:
        rows: (N,) recordings.
        patient: (N,) the patient of each, as a number from 0 to N - 1.
        size: Recordings per batch; at most N are taken.
        draw: Of pairs and order.

    Example:
        >>> rows, patient = np.arange(6), np.array([0, 1, 2, 0, 1, 2])
        >>> sorted(sorted(b) for b in patient_batches(rows, patient, 2, torch.Generator().manual_seed(0)).tolist())
        [[0, 3], [1, 4], [2, 5]]
    """
    size = min(size, len(rows))
    n = len(rows) // size
    order = torch.randperm(len(rows), generator=draw).numpy()
    key = np.sort(patient[order] * len(rows) + np.arange(len(rows)))  # much faster than a stable argsort
    order = order[key % len(rows)]  # recordings of a patient side by side, in a random order
    same = key // len(rows)
    first = np.flatnonzero(np.r_[True, same[1:] != same[:-1]])
    count = np.diff(np.r_[first, len(order)])
    place, of = np.arange(len(order)) - np.repeat(first, count), np.repeat(count, count)
    begins = (place % 2 == 0) & (place + 1 < of)
    pairs = _shuffled(np.stack([order[begins], order[np.flatnonzero(begins) + 1]], 1), draw)
    alone = _shuffled(order[(place % 2 == 0) & (place + 1 == of)], draw)

    # Batches of an odd size end with one recording alone; all else comes in twos, of one patient where there are such.
    ends = n if size % 2 else 0
    parted = max(0, -(-(ends - len(alone)) // 2))
    alone, pairs = np.r_[alone, pairs[:parted].ravel()], pairs[parted:]
    others = alone[ends:]
    twos = np.concatenate([pairs, others[: len(others) // 2 * 2].reshape(-1, 2)])
    batches = _shuffled(twos, draw)[: n * (size // 2)].reshape(n, -1)
    return torch.from_numpy(rows[np.concatenate([batches, alone[:ends].reshape(n, -1)], 1)])


def _shuffled(x: NDArray[np.int64], draw: Generator) -> NDArray[np.int64]:
    """The same rows in a random order."""
    order: NDArray[np.int64] = torch.randperm(len(x), generator=draw).numpy()
    return x[order]
