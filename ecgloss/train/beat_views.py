"""Windows for PhysioCLR: beats shuffled in the second view, a neighbouring segment, and what is to be reconstructed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from ecgloss.data.dataset import EcgDataset
from ecgloss.data.window import cut
from ecgloss.physiology.beats import shuffle_beats
from ecgloss.physiology.marks import WaveMarks
from ecgloss.train.config import PretrainConfig

Leads = list[tuple[str, ...]]  # of every recording of a batch


class Beats(NamedTuple):
    """What PhysioCLR wants of B recordings besides two views.

    Attributes:
        target: (B, C, L) z-scored signals of the first view without noise and masks.
        waves: (B, L) bool, samples inside P, QRS or T.
        neighbour: (B, C, L) z-scored segment next to the window, augmented; zeros where there is none.
        has_neighbour: (B,) bool, whether the recording is long enough for one.
        unchanged: (B,) bool, whether the second view has its beats in their order: too few were found.
    """

    target: Tensor
    waves: Tensor
    neighbour: Tensor
    has_neighbour: Tensor
    unchanged: Tensor


class BeatMarks(NamedTuple):
    """The part of :class:`Beats` that is known before views are made."""

    waves: Tensor
    has_neighbour: Tensor
    unchanged: Tensor


class Segments(NamedTuple):
    """First samples of the windows of B recordings and of the segments beside them; -1 where there is none."""

    starts: list[int]
    beside: list[int]


def segments(lengths: list[int], window: int, neighbours: bool, draw: Generator) -> Segments:
    """Draw a window of each recording, and the segment before or after it where two fit.

    Example:
        >>> found = segments([100, 300], 100, True, torch.Generator().manual_seed(0))
        >>> found.starts[0], found.beside[0], abs(found.starts[1] - found.beside[1])
        (0, -1, 100)
    """
    places, coins = torch.rand(2, len(lengths), generator=draw, dtype=torch.float64).tolist()
    starts, beside = [], []
    for length, place, coin in zip(lengths, places, coins):
        two = neighbours and length >= 2 * window
        first = int(place * (max(length - (2 if two else 1) * window, 0) + 1))
        pair = (first, first + window) if coin < 0.5 else (first + window, first)
        starts.append(pair[0] if two else first)
        beside.append(pair[1] if two else -1)
    return Segments(starts, beside)


def beat_windows(
    dataset: EcgDataset,
    marks: WaveMarks,
    config: PretrainConfig,
    rows: list[int],
    leads: tuple[Leads, Leads],
    draw: Generator,
) -> tuple[Tensor, BeatMarks]:
    """Cut the windows of some recordings, and shuffle beats.

    Args:
        dataset: Where the signals are.
        marks: Their R peaks and waves.
        config: Window and the options of PhysioCLR.
        rows: B positions in the dataset.
        leads: Of the first and of the second window, as many for every recording.
        draw: Source of all randomness.

    Returns:
        (3, B, C, L) in mV: a window, the same one with its beats shuffled if ``config.physioclr.shuffle``, and the
        segment beside it; and what is known of them.
    """
    length = config.window
    signals = [_signals(dataset, rows, names) for names in leads]
    found = segments([x.shape[-1] for x in signals[0]], length, config.physioclr.has_neighbours, draw)
    first, second = (_windows(x, found.starts, length) for x in signals)
    beside = _windows(signals[0], found.beside, length)
    peaks = [marks.r_peaks(i, start) for i, start in zip(rows, found.starts)]
    unchanged = torch.zeros(len(rows), dtype=torch.bool)
    if config.physioclr.shuffle:
        result = shuffle_beats(second, peaks, draw)
        second, unchanged = result.x, (result.source == torch.arange(length)).all(1)
    waves = torch.stack([marks.mask(i, start, length) for i, start in zip(rows, found.starts)])
    known = torch.tensor([start >= 0 for start in found.beside])
    return torch.stack([first, second, beside]), BeatMarks(waves, known, unchanged)


def _signals(dataset: EcgDataset, rows: list[int], leads: Leads) -> list[np.ndarray]:
    """Whole recordings, (C, samples) each."""
    return [np.stack([dataset.signal(i, lead) for lead in names]) for i, names in zip(rows, leads)]


def _windows(signals: list[np.ndarray], starts: list[int], length: int) -> Tensor:
    """(B, C, L); zeros where a start is negative, and after the end of a recording."""
    windows = [
        np.zeros((len(x), length), np.float32) if at < 0 else cut(x[:, at:], length) for x, at in zip(signals, starts)
    ]
    return torch.from_numpy(np.stack(windows))
