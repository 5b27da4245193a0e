"""NaN wherever nobody may look: in new buffers, and around the embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PLACES = ("at the front", "columns", "every other row", "transposed")


def poison_new_tensors(monkeypatch: Any) -> list[int]:
    """Tensors made with ``new_empty`` hold NaN instead of what happens to be there; how many numbers each had."""
    new_empty, filled = Tensor.new_empty, []

    def poisoned(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        x = new_empty(self, *args, **kwargs)
        filled.append(x.numel())
        return x.fill_(torch.nan) if x.dtype.is_floating_point else x

    monkeypatch.setattr(Tensor, "new_empty", poisoned)
    return filled


def inside(z: Tensor, place: str) -> Tensor:
    """z (N, D) as a part of a larger tensor whose other entries are NaN; the part is one of ``PLACES``."""
    n, d = z.shape
    if place == "at the front":
        view = z.new_full((n * d + 5000,), torch.nan)[: n * d].view(n, d)
    elif place == "columns":
        view = z.new_full((n, d + 5), torch.nan)[:, 2 : d + 2]
    elif place == "every other row":
        view = z.new_full((2 * n, d), torch.nan)[::2]
    else:  # transposed
        view = z.new_full((d + 1, n + 3), torch.nan)[:d, :n].T
    return view.copy_(z)
