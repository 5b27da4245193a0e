"""Noise for many views at little cost: windows at random places of a bank of long noises that is made once.

A bank of one kind holds :data:`ROWS` noises of twice a window's length from a fixed seed, so that every process has the
same. A view takes a row, a place and a sign at random: some 10^6 windows of 10 s at 500 Hz.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ecgloss.data.noise import MAKERS, unit_rms
from ecgloss.data.recorded_noise import RECORDS, recorded_noise

ROWS = 128
_SEED = 20
_QUIET = 0.1  # a window with less of its row's root mean square holds next to nothing of the disturbance
_PARTS = ("baseline", "electrode", "motion")  # of a mixture
_WINDOW = 3  # numbers that choose a window: row, place, sign
DRAWS = len(_PARTS) * (_WINDOW + 1)  #: Uniform numbers per window, enough for a mixture.


def from_bank(kind: str, length: int, sampling_rate: float, draws: Tensor, folder: str | None = None) -> Tensor:
    """Windows of noise of one kind, (rows, length), with mean square 1 per row.

    Args:
        kind: A name in :data:`ecgloss.data.noise.MAKERS`.
        length: Samples of a window.
        sampling_rate: In Hz.
        draws: (DRAWS, rows) numbers, uniform in [0, 1), that choose the windows; these are on the same device.
        folder: Where recorded noise is (bw, em, ma); None: it is simulated.

    Raises:
        ValueError: If the folder lacks a record.

    Example:
        >>> x = from_bank("motion", 500, 100.0, torch.rand(DRAWS, 3))
        >>> x.shape, x.square().mean(1).round(decimals=4).tolist()
        (torch.Size([3, 500]), [1.0, 1.0, 1.0])
    """
    if kind != "mixture":
        return _windows(kind, length, sampling_rate, draws[:_WINDOW], folder)
    *chosen, share = draws.split(_WINDOW)
    parts = torch.stack(
        [_windows(part, length, sampling_rate, draw, folder) for part, draw in zip(_PARTS, chosen, strict=True)]
    )
    return unit_rms(((share / share.sum(0))[..., None] * parts).sum(0))


def _windows(kind: str, length: int, sampling_rate: float, draws: Tensor, folder: str | None) -> Tensor:
    bank = _bank(kind, length, sampling_rate, str(draws.device), folder)
    row, place, sign = draws
    number, start = (row * len(bank)).long(), (place * (length + 1)).long()
    windows = bank.unfold(1, length, 1)  # (ROWS, length + 1, length), a view
    x = windows[number, start]
    if kind == "electrode" and folder is None:
        quiet = x.var(1, correction=0) < _QUIET**2  # rows have mean square 1; the first window of each holds an event
        if x.device.type != "cpu" or bool(quiet.any()):  # elsewhere a question would wait for the device
            x = torch.where(quiet[:, None], windows[number, 0], x)
        x = x - x.mean(1, keepdim=True)
    return unit_rms(x).mul_(torch.where(sign < 0.5, -1.0, 1.0)[:, None])


@lru_cache(maxsize=16)
def _bank(kind: str, length: int, sampling_rate: float, device: str, folder: str | None) -> Tensor:
    """(ROWS, 2 length) noise, or as many rows as a record has."""
    if folder is not None and kind in RECORDS:
        return recorded_noise(Path(folder), kind, 2 * length, sampling_rate).to(device)
    return MAKERS[kind](ROWS, 2 * length, sampling_rate, torch.Generator().manual_seed(_SEED)).to(device)
