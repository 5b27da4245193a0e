"""The device at hand: its line in the table of tiles, how it multiplies, how much it does at once."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

MOST_SPLITS = 16
PARTS_BYTES = 2**28  # of gradients that wait to be added up
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
    """Programs that run at once, where each has a multiprocessor of its own."""
    return _processors(device.index) if device.type == "cuda" else INTERPRETED


@functools.cache
def _processors(index: int | None) -> int:
    return torch.cuda.get_device_properties(index).multi_processor_count


def precision(u: Tensor, aligned: bool) -> tuple[str, str]:
    """How products are computed, and that as the table has it.

    16-bit products are exact. fp32 follows torch's own setting: IEEE fp32; or, where that allows TF32, TF32, three of
    them for one where S itself counts and not only its exponential: min-max scaling stretches errors.
    """
    if u.dtype != torch.float32:
        return "ieee", "half"
    if torch.version.hip is not None or not tf32_allowed():
        return "ieee", "ieee"
    return ("tf32x3" if aligned else "tf32"), "tensor"


def tf32_allowed() -> bool:
    """Whether fp32 matrices may be multiplied in TF32: ``torch.set_float32_matmul_precision`` and its kin."""
    setting: str = getattr(torch.backends.cuda.matmul, "fp32_precision", "none")  # since torch 2.9
    if setting != "none":
        return setting != "ieee"
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # it was set for another kind of device, by the newer way
        return False


@functools.lru_cache(maxsize=4096)
def choose_splits(programs: int, tiles: int, at_once: int, bytes_each: int) -> int:
    """Parts of the columns that fill the machine: the fewest, a power of two, that are within 5 % of the best.

    Args:
        programs: How many there are where every program goes over all columns.
        tiles: Tiles of columns.
        at_once: How many programs run at a time.
        bytes_each: What one part of all rows leaves behind.
    """
    most = max(1, min(MOST_SPLITS, tiles // 2, PARTS_BYTES // max(bytes_each, 1)))
    options = [1 << power for power in range(most.bit_length())]
    rounds = {splits: -(-programs * splits // at_once) / splits for splits in options}
    return next(splits for splits in options if rounds[splits] <= 1.05 * min(rounds.values()))
