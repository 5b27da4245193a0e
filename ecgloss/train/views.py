"""Batches of two augmented views: one random lead each, or all leads of the encoder's input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from ecgloss.data.augment import shared_lead_choice
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.window import cut, normalise
from ecgloss.physiology.marks import WaveMarks
from ecgloss.train.batches import patient_batches, random_batches
from ecgloss.train.beat_views import BeatMarks, Beats, Leads, beat_windows
from ecgloss.train.config import PretrainConfig
from ecgloss.train.seeds import generator
from ecgloss.train.windows import Windows, augmented, draw_windows, joined

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


@dataclass(frozen=True)
class WindowBatch:
    """What loaders make of a batch: :meth:`ViewBatches.augment` makes the views, on any device.

    Attributes:
        windows: Two windows of every recording; for PhysioCLR also the segment beside the first one.
        rows: (B,) positions of the recordings in the dataset.
        leads1: Lead of each first window; the first one where windows have several.
        leads2: Lead of each second window.
        marks: What is known of the beats, for PhysioCLR; None for other methods.
    """

    windows: Windows
    rows: Tensor
    leads1: list[str]
    leads2: list[str]
    marks: BeatMarks | None = None

    def to(self, device: torch.device) -> WindowBatch:
        """The same batch on a device."""
        marks = self.marks and BeatMarks(*(x.to(device, non_blocking=True) for x in self.marks))
        rows = self.rows.to(device, non_blocking=True)
        return replace(self, windows=self.windows.to(device), rows=rows, marks=marks)

    def pin_memory(self) -> WindowBatch:
        """The same in memory from which a GPU copies without the host waiting: PyTorch's loader calls it."""
        marks = self.marks and BeatMarks(*(x.pin_memory() for x in self.marks))
        windows = self.windows._replace(x=self.windows.x.pin_memory())
        return replace(self, windows=windows, rows=self.rows.pin_memory(), marks=marks)


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
        return self.augment(self.windows(k))

    def windows(self, k: int) -> WindowBatch:
        """Batch k, this rank's part, before its views are made."""
        if not 0 <= k < len(self):
            raise IndexError(k)
        size = self.batches.shape[1]
        first, last = size * self.rank // self.ranks, size * (self.rank + 1) // self.ranks
        parts = []
        for start in range(first // _CHUNK * _CHUNK, last, _CHUNK):
            rows = self.batches[k][start : start + _CHUNK]
            drawn = self.draw(rows, generator(self.config.seed, "views", self.epoch, k, start))
            parts.append(_part(drawn, slice(max(first - start, 0), last - start)))
        return _joined(parts)

    def augment(self, batch: WindowBatch) -> ViewBatch:
        """The views of a batch of windows, made on its device."""
        windows, preprocessing = batch.windows, self.dataset.preprocessing
        views = augmented(windows, self.config.sampling_rate, self.config.augmentation, preprocessing)
        beats = None
        if batch.marks is not None:
            beats = Beats(normalise(windows.x[0], preprocessing), neighbour=views[2], **batch.marks._asdict())
        return ViewBatch(views[0], views[1], batch.rows, batch.leads1, batch.leads2, beats)

    def draw(self, rows: Tensor, draw: Generator) -> WindowBatch:
        """Windows of the given recordings, with all randomness of their views from ``draw``."""
        leads1, leads2 = self._leads(rows.tolist(), draw)
        first, second = ([names[0] for names in leads] for leads in (leads1, leads2))
        if self.marks is not None:
            x, marks = beat_windows(self.dataset, self.marks, self.config, rows.tolist(), (leads1, leads2), draw)
            return WindowBatch(draw_windows(x, draw), rows, first, second, marks)
        places = torch.rand(2, len(rows), generator=draw)
        if self.config.windows == "same":
            places[1] = places[0]
        raw = [
            [[self._window(i, lead, at) for lead in names] for i, names, at in zip(rows.tolist(), leads, place)]
            for leads, place in zip((leads1, leads2), places.tolist())
        ]
        return WindowBatch(draw_windows(torch.from_numpy(np.array(raw)), draw), rows, first, second)

    def _leads(self, indices: list[int], draw: Generator) -> tuple[Leads, Leads]:
        """Leads of each recording for the first window, and those for the second."""
        if self.config.input_leads is not None:
            return ([self.config.input_leads] * len(indices),) * 2
        names = [self.dataset.leads(i) for i in indices]
        first, second = shared_lead_choice([len(n) for n in names], self.config.same_lead_probability, draw)
        leads: list[Leads] = [[(n[k],) for n, k in zip(names, chosen.tolist())] for chosen in (first, second)]
        return leads[0], leads[1]

    def _window(self, i: int, lead: str, at: float) -> np.ndarray:
        """One window of one lead, (L,); ``at`` in [0, 1) is its place, from the first possible one to the last."""
        return cut(self.dataset.signal(i, lead), self.config.window, at)


class WindowBatches(Dataset[WindowBatch]):
    """The same batches before their views are made, for :meth:`ViewBatches.augment` on a GPU.

    Args:
        batches: Those of views.
    """

    def __init__(self, batches: ViewBatches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.batches)

    def __getitem__(self, k: int) -> WindowBatch:
        """Batch k, this rank's part."""
        return self.batches.windows(k)


def _part(batch: WindowBatch, keep: slice) -> WindowBatch:
    """Some recordings of a batch."""
    marks = batch.marks and BeatMarks(*(x[keep] for x in batch.marks))
    return WindowBatch(batch.windows.part(keep), batch.rows[keep], batch.leads1[keep], batch.leads2[keep], marks)


def _joined(parts: list[WindowBatch]) -> WindowBatch:
    """One batch of several."""
    leads1, leads2 = ([lead for part in parts for lead in getattr(part, name)] for name in ("leads1", "leads2"))
    marks = [part.marks for part in parts if part.marks is not None]
    return WindowBatch(
        joined([part.windows for part in parts]),
        torch.cat([part.rows for part in parts]),
        leads1,
        leads2,
        BeatMarks(*map(torch.cat, zip(*marks))) if marks else None,
    )
