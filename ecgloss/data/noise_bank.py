"""Noise for many views at little cost: windows at random places of a bank of long noises that is made once.

A bank of one kind holds :data:`ROWS` noises of twice a window's length from a fixed seed, so that every process has the
same. A view takes a row, a place and a sign at random: some 10^6 windows of 10 s at 500 Hz.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Generator, Tensor

from ecgloss.data.noise import MAKERS, unit_rms
from ecgloss.data.recorded_noise import RECORDS, recorded_noise

ROWS = 128
_SEED = 20
_QUIET = 0.1  # a window with less of its row's root mean square holds next to nothing of the disturbance
_PARTS = ("baseline", "electrode", "motion")  # of a mixture


def from_bank(
    kind: str, rows: int, length: int, sampling_rate: float, generator: Generator, folder: str | None = None
) -> Tensor:
    """Windows of noise of one kind, (rows, length), with mean square 1 per row.

    Args:
        kind: A name in :data:`ecgloss.data.noise.MAKERS`.
        rows: How many.
        length: Samples of a window.
        sampling_rate: In Hz.
        generator: Of rows, places and signs; the windows are on its device.
        folder: Where recorded noise is (bw, em, ma); None: it is simulated.

    Raises:
        ValueError: If the folder lacks a record.

    Example:
        >>> x = from_bank("motion", 3, 500, 100.0, torch.Generator().manual_seed(0))
        >>> x.shape, x.square().mean(1).round(decimals=4).tolist()
        (torch.Size([3, 500]), [1.0, 1.0, 1.0])
    """
    if kind != "mixture":
        return _windows(kind, rows, length, sampling_rate, generator, folder)
    parts = torch.stack([_windows(part, rows, length, sampling_rate, generator, folder) for part in _PARTS])
    share = torch.rand(len(_PARTS), rows, 1, generator=generator, device=generator.device)
    return unit_rms((share / share.sum(0) * parts).sum(0))


def _windows(
    kind: str, rows: int, length: int, sampling_rate: float, generator: Generator, folder: str | None
) -> Tensor:
    bank = _bank(kind, length, sampling_rate, str(generator.device), folder)
    row, place, sign = torch.rand(3, rows, generator=generator, device=generator.device)
    number, start = (row * len(bank)).long(), (place * (length + 1)).long()
    windows = bank.unfold(1, length, 1)  # (ROWS, length + 1, length), a view
    x = windows[number, start]
    if kind == "electrode" and folder is None:
        quiet = x.var(1, correction=0) < _QUIET**2  # rows have mean square 1; the first window of each holds an event
        x = torch.where(quiet[:, None], windows[number, 0], x) if bool(quiet.any()) else x
        x = x - x.mean(1, keepdim=True)
    return unit_rms(x).mul_(torch.where(sign < 0.5, -1.0, 1.0)[:, None])


@lru_cache(maxsize=16)
def _bank(kind: str, length: int, sampling_rate: float, device: str, folder: str | None) -> Tensor:
    """(ROWS, 2 length) noise, or as many rows as a record has."""
    if folder is not None and kind in RECORDS:
        return recorded_noise(Path(folder), kind, 2 * length, sampling_rate).to(device)
    return MAKERS[kind](ROWS, 2 * length, sampling_rate, torch.Generator().manual_seed(_SEED)).to(device)
