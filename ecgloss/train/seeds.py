"""One generator per purpose: the draws of a step depend on seed and purpose alone, not on the steps before it."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator that depends on the seed and the purpose only.

    Args:
        seed: The run's seed.
        purpose: What it is for, e.g. ``("views", epoch, batch)``.

    Returns:
        A fresh generator; equal arguments give equal draws.

    Example:
        >>> int(torch.randint(10**6, (), generator=generator(1, "order", 3))) == int(
        ...     torch.randint(10**6, (), generator=generator(1, "order", 3))
        ... )
        True
    """
    text = "/".join(map(str, (seed, *purpose)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
