"""Batches of two augmented views: one random lead each, or all leads of the encoder's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ecgloss.data.augment import augment, mask_leads, shared_lead_choice
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.window import cut, standardise
from ecgloss.train.config import PretrainConfig
from ecgloss.train.seeds import generator


@dataclass(frozen=True)
class ViewBatch:
    """Two views of the same recordings.

    Attributes:
        view1: (B, C, L) z-scored signals.
        view2: (B, C, L).
        rows: (B,) positions of the recordings in the dataset.
        leads1: Lead of each first view; the first one where views have several.
        leads2: Lead of each second view.
    """

    view1: Tensor
    view2: Tensor
    rows: Tensor
    leads1: list[str]
    leads2: list[str]


class ViewBatches(Dataset[ViewBatch]):
    """The batches of one epoch. Batch k depends on seed, epoch, k and rank alone, not on which worker makes it.

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
    """

    def __init__(
        self, dataset: EcgDataset, rows: np.ndarray, config: PretrainConfig, epoch: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self.dataset, self.config, self.epoch = dataset, config, epoch
        self.rank, self.ranks = rank, ranks
        order = torch.randperm(len(rows), generator=generator(config.seed, "order", epoch))
        size = min(config.batch_size, len(rows))
        self.batches = torch.from_numpy(rows)[order][: len(rows) // size * size].reshape(-1, size)

    def __len__(self) -> int:
        """Number of whole batches; recordings that do not fill one are left out, other ones in every epoch."""
        return len(self.batches)

    def __getitem__(self, k: int) -> ViewBatch:
        """Batch k, this rank's part."""
        if not 0 <= k < len(self):
            raise IndexError(k)
        rows = self.batches[k][self.rank :: self.ranks]
        draw = generator(self.config.seed, "views", self.epoch, k, self.rank)
        return self.make(rows, draw)

    def make(self, rows: Tensor, draw: torch.Generator) -> ViewBatch:
        """Two views of the given recordings, with randomness from ``draw``."""
        indices = rows.tolist()
        if self.config.input_leads is not None:
            return self._make_with_leads(self.config.input_leads, rows, draw)
        names = [self.dataset.leads(i) for i in indices]
        first, second = shared_lead_choice([len(n) for n in names], self.config.same_lead_probability, draw)
        leads1 = [n[k] for n, k in zip(names, first.tolist())]
        leads2 = [n[k] for n, k in zip(names, second.tolist())]
        places = torch.rand(2, len(indices), generator=draw)
        if self.config.windows == "same":
            places[1] = places[0]
        views = []
        for leads, place in zip((leads1, leads2), places.tolist()):
            raw = torch.from_numpy(np.stack([self._window(i, lead, at) for i, lead, at in zip(indices, leads, place)]))
            noisy = augment(raw, self.config.sampling_rate, self.config.augmentation, draw)
            views.append(standardise(noisy)[:, None])
        return ViewBatch(views[0], views[1], rows, leads1, leads2)

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
            view = standardise(noisy).reshape(len(indices), len(leads), -1)
            masked = self.config.augmentation.lead_mask_probability
            views.append(mask_leads(view, masked, draw) if masked else view)
        first = [leads[0]] * len(indices)
        return ViewBatch(views[0], views[1], rows, first, first)

    def _window(self, i: int, lead: str, at: float) -> np.ndarray:
        """One window of one lead, (L,); ``at`` in [0, 1) is its place, from the first possible one to the last."""
        return cut(self.dataset.signal(i, lead), self.config.window, at)
