"""Batches of two augmented views: one random lead each, or all leads of the encoder's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ecgloss.data.augment import augment, mask_leads, shared_lead_choice
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.window import cut, normalise
from ecgloss.physiology.marks import WaveMarks
from ecgloss.train.batches import patient_batches, random_batches
from ecgloss.train.beat_views import Beats, Leads, beat_views
from ecgloss.train.config import PretrainConfig
from ecgloss.train.seeds import generator

_CHUNK = 16  # recordings whose views share a generator: processes make no more than a chunk too much at either end


@dataclass(frozen=True)
class ViewBatch:
    """Two views of the same recordings.

    Attributes:
        view1: (B, C, L) z-scored signals.
        view2: (B, C, L).
        rows: (B,) positions of the recordings in the dataset.
        leads1: Lead of each first view; the first one where views have several.
        leads2: Lead of each second view.
        beats: What PhysioCLR wants besides; None for other methods.
    """

    view1: Tensor
    view2: Tensor
    rows: Tensor
    leads1: list[str]
    leads2: list[str]
    beats: Beats | None = None

    def tensors(self) -> tuple[Tensor | Beats, ...]:
        """What a method is called with: views, rows and, where there are some, beats."""
        parts = (self.view1, self.view2, self.rows)
        return parts if self.beats is None else (*parts, self.beats)

    def pin_memory(self) -> ViewBatch:
        """The same in memory from which a GPU copies without the host: PyTorch's loader calls it."""
        beats = None if self.beats is None else Beats(*(x.pin_memory() for x in self.beats))
        view1, view2, rows = (x.pin_memory() for x in (self.view1, self.view2, self.rows))
        return ViewBatch(view1, view2, rows, self.leads1, self.leads2, beats)


class ViewBatches(Dataset[ViewBatch]):
    """The batches of one epoch. A recording's views depend on seed, epoch and its place in the order alone: not on
    which worker makes them, nor on how many processes share a batch.

    Recordings longer than the window are cut at a random place (one for both views, or one each), shorter ones padded
    with zeros at the end. Then, per view: a random lead (or all leads of the input), noise, masking, z-score. Noise and
    masks of the leads of a recording are independent of one another.

    Args:
        dataset: Where the signals are.
        rows: Training recordings.
        config: Window, leads, augmentation, seed, batch size.
        epoch: Number of the epoch.
        rank: Number of this process, from 0, among those that share a batch.
        ranks: How many processes share a batch.
        together: Whether recordings of a patient stand in the same batch.
        marks: R peaks and waves of the recordings, for a method that shuffles beats and reconstructs waves.
    """

    def __init__(
        self,
        dataset: EcgDataset,
        rows: np.ndarray,
        config: PretrainConfig,
        epoch: int,
        rank: int = 0,
        ranks: int = 1,
        *,
        together: bool = False,
        marks: WaveMarks | None = None,
    ) -> None:
        self.dataset, self.config, self.epoch, self.marks = dataset, config, epoch, marks
        self.rank, self.ranks = rank, ranks
        draw = generator(config.seed, "order", epoch)
        if together:
            patient = dataset.index["group"].to_numpy()[rows]
            numbers = np.unique(patient, return_inverse=True)[1]
            self.batches = patient_batches(rows, numbers, config.batch_size, draw)
        else:
            self.batches = random_batches(rows, config.batch_size, draw)

    def __len__(self) -> int:
        """Number of whole batches; recordings that do not fill one are left out, other ones in every epoch."""
        return len(self.batches)

    def __getitem__(self, k: int) -> ViewBatch:
        """Batch k, this rank's part."""
        if not 0 <= k < len(self):
            raise IndexError(k)
        size = self.batches.shape[1]
        first, last = size * self.rank // self.ranks, size * (self.rank + 1) // self.ranks
        parts = []
        for start in range(first // _CHUNK * _CHUNK, last, _CHUNK):
            rows = self.batches[k][start : start + _CHUNK]
            made = self.make(rows, generator(self.config.seed, "views", self.epoch, k, start))
            parts.append(_part(made, slice(max(first - start, 0), last - start)))
        return _joined(parts)

    def make(self, rows: Tensor, draw: torch.Generator) -> ViewBatch:
        """Two views of the given recordings, with randomness from ``draw``."""
        indices = rows.tolist()
        if self.marks is not None:
            return self._make_with_beats(self.marks, rows, draw)
        if self.config.input_leads is not None:
            return self._make_with_leads(self.config.input_leads, rows, draw)
        leads1, leads2 = self._random_leads(indices, draw)
        places = torch.rand(2, len(indices), generator=draw)
        if self.config.windows == "same":
            places[1] = places[0]
        views = []
        for leads, place in zip((leads1, leads2), places.tolist()):
            raw = torch.from_numpy(np.stack([self._window(i, lead, at) for i, lead, at in zip(indices, leads, place)]))
            noisy = augment(raw, self.config.sampling_rate, self.config.augmentation, draw)
            views.append(normalise(noisy, self.dataset.preprocessing)[:, None])
        return ViewBatch(views[0], views[1], rows, leads1, leads2)

    def _random_leads(self, indices: list[int], draw: torch.Generator) -> tuple[list[str], list[str]]:
        """A lead of each recording for the first view, and one for the second."""
        names = [self.dataset.leads(i) for i in indices]
        first, second = shared_lead_choice([len(n) for n in names], self.config.same_lead_probability, draw)
        leads1 = [n[k] for n, k in zip(names, first.tolist())]
        return leads1, [n[k] for n, k in zip(names, second.tolist())]

    def _make_with_beats(self, marks: WaveMarks, rows: Tensor, draw: torch.Generator) -> ViewBatch:
        """Two views, the second one with shuffled beats, and what else PhysioCLR wants."""
        indices = rows.tolist()
        leads: tuple[Leads, Leads]
        if self.config.input_leads is not None:
            leads = ([self.config.input_leads] * len(indices),) * 2
        else:
            one, two = self._random_leads(indices, draw)
            leads = [(name,) for name in one], [(name,) for name in two]
        view1, view2, beats = beat_views(self.dataset, marks, self.config, indices, leads, draw)
        leads1, leads2 = ([names[0] for names in part] for part in leads)
        return ViewBatch(view1, view2, rows, leads1, leads2, beats)

    def _make_with_leads(self, leads: tuple[str, ...], rows: Tensor, draw: torch.Generator) -> ViewBatch:
        """Two views of all given leads."""
        indices = rows.tolist()
        places = torch.rand(2, len(indices), generator=draw)
        if self.config.windows == "same":
            places[1] = places[0]
        views = []
        for place in places.tolist():
            raw = [[self._window(i, lead, at) for lead in leads] for i, at in zip(indices, place)]
            flat = torch.from_numpy(np.array(raw)).flatten(0, 1)  # every lead is a row
            noisy = augment(flat, self.config.sampling_rate, self.config.augmentation, draw)
            view = normalise(noisy, self.dataset.preprocessing).reshape(len(indices), len(leads), -1)
            masked = self.config.augmentation.lead_mask_probability
            views.append(mask_leads(view, masked, draw) if masked else view)
        first = [leads[0]] * len(indices)
        return ViewBatch(views[0], views[1], rows, first, first)

    def _window(self, i: int, lead: str, at: float) -> np.ndarray:
        """One window of one lead, (L,); ``at`` in [0, 1) is its place, from the first possible one to the last."""
        return cut(self.dataset.signal(i, lead), self.config.window, at)


def _part(batch: ViewBatch, keep: slice) -> ViewBatch:
    """Some recordings of a batch."""
    beats = None if batch.beats is None else Beats(*(x[keep] for x in batch.beats))
    view1, view2, rows = (x[keep] for x in (batch.view1, batch.view2, batch.rows))
    return ViewBatch(view1, view2, rows, batch.leads1[keep], batch.leads2[keep], beats)


def _joined(parts: list[ViewBatch]) -> ViewBatch:
    """One batch of several."""
    view1, view2, rows = (torch.cat([getattr(part, name) for part in parts]) for name in ("view1", "view2", "rows"))
    leads1, leads2 = ([lead for part in parts for lead in getattr(part, name)] for name in ("leads1", "leads2"))
    beats = [part.beats for part in parts if part.beats is not None]
    return ViewBatch(view1, view2, rows, leads1, leads2, Beats(*map(torch.cat, zip(*beats))) if beats else None)
