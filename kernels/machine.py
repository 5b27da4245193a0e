"""The device at hand: its line in the table of tiles, how it multiplies, how much it does at once."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

MOST_SPLITS = 16
INTERPRETED = 5  # programs "at once" without a GPU, so that rows have several parts there too


def architecture(device: torch.device) -> str:
    """The table's name of a device."""
    return _architecture(device.index) if device.type == "cuda" else "cpu"


@functools.cache
def _architecture(index: int | None) -> str:
    properties = torch.cuda.get_device_properties(index)
    if torch.version.hip is not None:
        return "gfx942"
    if properties.major >= 12:  # as little shared memory as Ada
        return "sm89"
    capability = 10 * properties.major + properties.minor
    return next(f"sm{known}" for known in (100, 90, 89, 80) if known <= capability or known == 80)


def processors(device: torch.device) -> int:
    """Programs that run at once, one per multiprocessor."""
    return _processors(device.index) if device.type == "cuda" else INTERPRETED


@functools.cache
def _processors(index: int | None) -> int:
    return torch.cuda.get_device_properties(index).multi_processor_count


def precision(u: Tensor, aligned: bool) -> tuple[str, str]:
    """How products are computed, and that as the table has it.

    16-bit products are exact. fp32 follows ``torch.get_float32_matmul_precision()``: "highest" is IEEE fp32; otherwise
    TF32, three of them for one where S itself counts and not only its exponential: min-max scaling stretches errors.
    """
    if u.dtype != torch.float32:
        return "ieee", "half"
    if torch.version.hip is not None or torch.get_float32_matmul_precision() == "highest":
        return "ieee", "ieee"
    return ("tf32x3" if aligned else "tf32"), "tensor"


def choose_splits(programs: int, tiles: int, at_once: int) -> int:
    """Parts of the columns that fill the machine: the fewest rounds of programs per unit of work."""
    most = max(1, min(MOST_SPLITS, tiles // 2))
    return min(range(1, most + 1), key=lambda splits: (-(-programs * splits // at_once) / splits, splits))
