"""Properties of the device: its name in the tile table, the precision of its products, its number of processors."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

MOST_SPLITS = 16
PARTS_BYTES = 2**28  # at most this much memory for the parts of a sum
INTERPRETED = 5  # "processors" without a GPU: rows are split into several parts under the interpreter too


def architecture(device: torch.device) -> str:
    """The device's name in the tile table."""
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
    """The number of multiprocessors."""
    return _processors(device.index) if device.type == "cuda" else INTERPRETED


@functools.cache
def _processors(index: int | None) -> int:
    return torch.cuda.get_device_properties(index).multi_processor_count


def precision(u: Tensor, aligned: bool) -> tuple[str, str]:
    """``input_precision`` of the products, and their name in the tile table.

    16-bit products are exact. fp32 follows torch's setting: IEEE fp32, or TF32 where that is allowed. With an alignment
    term (``aligned``) it is three TF32 products for one: min-max scaling would magnify the rounding of S.
    """
    if u.dtype != torch.float32:
        return "ieee", "half"
    if torch.version.hip is not None or not tf32_allowed():
        return "ieee", "ieee"
    return ("tf32x3" if aligned else "tf32"), "tensor"


def tf32_allowed() -> bool:
    """Whether fp32 matrices may be multiplied in TF32, by either of torch's two settings."""
    setting: str = getattr(torch.backends.cuda.matmul, "fp32_precision", "none")  # since torch 2.9
    if setting != "none":
        return setting != "ieee"
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # the newer setting is in use, for another kind of device
        return False


@functools.lru_cache(maxsize=4096)
def choose_splits(programs: int, tiles: int, at_once: int, bytes_each: int) -> int:
    """The number of parts of the columns, a power of two: the fewest whose running time is within 5 % of the best.

    Args:
        programs: The number of programs if each goes over all columns.
        tiles: The number of tiles of columns.
        at_once: Programs that run at the same time.
        bytes_each: Memory of one part of the sums.
    """
    most = max(1, min(MOST_SPLITS, tiles // 2, PARTS_BYTES // max(bytes_each, 1)))
    options = [1 << power for power in range(most.bit_length())]
    rounds = {splits: -(-programs * splits // at_once) / splits for splits in options}
    return next(splits for splits in options if rounds[splits] <= 1.05 * min(rounds.values()))
