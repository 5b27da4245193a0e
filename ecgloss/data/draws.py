"""Uniform random numbers: from a generator, or drawn before."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

#: A generator, or (n, rows) numbers that are uniform in [0, 1).
Draws = Generator | Tensor


def uniform(draws: Draws, n: int, rows: int) -> Tensor:
    """Return n uniform numbers for each of some rows, (n, rows), on the device of the generator or of the numbers.

    Raises:
        ValueError: if numbers that were drawn before have another shape.

    Example:
        >>> drawn = uniform(torch.Generator().manual_seed(0), 2, 3)
        >>> uniform(drawn, 2, 3) is drawn
        True
        >>> uniform(drawn, 3, 3)
        Traceback (most recent call last):
        ...
        ValueError: draws must have shape (3, 3): numbers for each row; got (2, 3)
    """
    if isinstance(draws, Generator):
        return torch.rand(n, rows, generator=draws, device=draws.device)
    if draws.shape != (n, rows):
        raise ValueError(f"draws must have shape ({n}, {rows}): numbers for each row; got {tuple(draws.shape)}")
    return draws
