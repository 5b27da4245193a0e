"""Beats of a batch of recordings: shuffled, and masks of the samples of their waves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ecgloss.physiology.delineation import Delineation


class ShuffledBeats(NamedTuple):
    """Recordings with their beats in another order.

    Attributes:
        x: (B, C, T), the beats of every recording shuffled.
        source: (B, T) the sample of the original that stands at each place; all leads alike.
        unchanged: Number of recordings with fewer than two beats that could move.
    """

    x: Tensor
    source: Tensor
    unchanged: int

    def inverse(self, y: Tensor) -> Tensor:
        """Bring (B, C, T) in the shuffled order back into the original one, bit for bit."""
        return torch.zeros_like(y).scatter_(2, _of_leads(self.source, y), y)


def shuffle_beats(x: Tensor, peaks: Sequence[ArrayLike], generator: torch.Generator) -> ShuffledBeats:
    """Put the beats of every recording into a random order.

    A recording is cut in the middle between R peaks. What lies before the first cut and after the last one stays; the
    beats in between change places, in all leads alike. No sample is lost, and the length stays.

    Args:
        x: (B, C, T).
        peaks: B ascending sequences of R peaks in samples (any number; those outside [0, T) are left out).
        generator: Of the random orders, on the CPU.

    Returns:
        The shuffled recordings; one with fewer than two beats between cuts (four R peaks) stays as it is.

    Raises:
        ValueError: If x has not three dimensions, or the number of recordings differs.

    Example:
        >>> x = torch.arange(12.0).reshape(1, 1, 12)
        >>> shuffled = shuffle_beats(x, [[1, 4, 7, 10]], torch.Generator().manual_seed(0))
        >>> shuffled.x.int().tolist()
        [[[0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]]]
        >>> torch.equal(shuffled.inverse(shuffled.x), x)
        True
    """
    if x.ndim != 3:
        raise ValueError(f"x must be (B, C, T); got shape {tuple(x.shape)}")
    if len(peaks) != len(x):
        raise ValueError(f"peaks must have one entry per recording: {len(x)}; got {len(peaks)}")
    orders = [_order(np.asarray(found, np.float64), x.shape[2], generator) for found in peaks]
    whole = torch.arange(x.shape[2])
    index = torch.stack([whole if order is None else order for order in orders]) if orders else whole[None][:0]
    index = index.to(x.device)
    return ShuffledBeats(x.gather(2, _of_leads(index, x)), index, sum(order is None for order in orders))


def peak_mask(delineation: Delineation, length: int) -> Tensor:
    """Mark the samples of P, QRS and T, for :func:`ecgloss.functional.peak_aware_mse`.

    Args:
        delineation: Marks of a recording.
        length: T, its number of samples.

    Returns:
        (T,) bool: True from the onset to the offset of every wave that was found.

    Raises:
        ValueError: If length is negative.

    Example:
        >>> from ecgloss.physiology import delineate
        >>> int(peak_mask(delineate(np.zeros(5000), 500), 5000).sum())
        0
    """
    if length < 0:
        raise ValueError(f"length must be at least 0; got {length}")
    return span_mask(wave_spans(delineation), length)


def wave_spans(delineation: Delineation) -> NDArray[np.int64]:
    """First and last sample of every P wave, QRS complex and T wave of which both are known, (n, 2)."""
    spans = []
    for wave in ("p", "qrs", "t"):
        marks = np.stack([getattr(delineation, f"{wave}_onsets"), getattr(delineation, f"{wave}_offsets")], axis=1)
        spans.append(np.round(marks[np.isfinite(marks).all(axis=1)]).astype(np.int64))
    return np.concatenate(spans)


def span_mask(spans: NDArray[np.int64], length: int, start: int = 0) -> Tensor:
    """Mark the samples of a window that lie in spans.

    Args:
        spans: (n, 2) first and last samples.
        length: Samples of the window.
        start: Its first sample.

    Returns:
        (length,) bool.

    Example:
        >>> span_mask(np.array([[1, 2], [5, 9]]), 4, start=2).tolist()
        [True, False, False, True]
    """
    edges = np.zeros(length + 1, np.int64)
    np.add.at(edges, (spans[:, 0] - start).clip(0, length), 1)
    np.add.at(edges, (spans[:, 1] + 1 - start).clip(0, length), -1)
    return torch.from_numpy(edges.cumsum()[:length] > 0)


def _of_leads(index: Tensor, x: Tensor) -> Tensor:
    """(B, T) as (B, C, T)."""
    return index[:, None].expand(-1, x.shape[1], -1)


def _order(peaks: np.ndarray, length: int, generator: torch.Generator) -> Tensor | None:
    """A random order of the samples of one recording; None where no two beats can change places."""
    peaks = np.unique(np.round(peaks[np.isfinite(peaks)]).astype(np.int64))
    peaks = peaks[(peaks >= 0) & (peaks < length)]
    cuts = np.unique((peaks[:-1] + peaks[1:] + 1) // 2).tolist()
    if len(cuts) < 3:
        return None
    beats = [torch.arange(a, b) for a, b in pairwise(cuts)]
    order = torch.randperm(len(beats), generator=generator)
    if torch.equal(order, torch.arange(len(beats))):
        order = order.roll(1)  # the order they had is none of another
    return torch.cat([torch.arange(cuts[0]), *(beats[k] for k in order.tolist()), torch.arange(cuts[-1], length)])
