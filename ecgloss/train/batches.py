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
        patient: (N,) the patient of each.
        size: Recordings per batch; at most N are taken.
        draw: Of pairs and order.

    Example:
        >>> rows, patient = np.arange(6), np.array([0, 1, 2, 0, 1, 2])
        >>> sorted(sorted(b) for b in patient_batches(rows, patient, 2, torch.Generator().manual_seed(0)).tolist())
        [[0, 3], [1, 4], [2, 5]]
    """
    size = min(size, len(rows))
    order = torch.randperm(len(rows), generator=draw).numpy()
    order = order[np.argsort(patient[order], kind="stable")]  # of each patient, in a random order
    same = patient[order]
    first = np.flatnonzero(np.r_[True, same[1:] != same[:-1]])
    place = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    start = np.flatnonzero(place % 2 == 0)
    bounds = [*start.tolist(), len(order)]
    ordered = rows[order].tolist()
    batches: list[list[int]] = []
    batch: list[int] = []
    waiting: list[list[int]] = []  # pairs that came when one place was left
    for k in torch.randperm(len(start), generator=draw).tolist():
        group = ordered[bounds[k] : bounds[k + 1]]
        if len(batch) + len(group) > size:
            waiting.append(group)
            continue
        batch += group
        while len(batch) == size or (waiting and len(batch) + 2 <= size):
            if len(batch) == size:
                batches.append(batch)
                batch = []
            if waiting and size >= 2:
                batch += waiting.pop()
    rest = [*batch, *(row for pair in waiting for row in pair)]
    while len(rest) >= size:
        batches.append(rest[:size])
        rest = rest[size:]
    return torch.tensor(batches, dtype=torch.int64).reshape(-1, size)
