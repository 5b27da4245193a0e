"""What code stores: bytes of tensors alive, bytes autograd saved, the largest tensor."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class CountBytes(TorchDispatchMode):
    """Counts the bytes of all tensor storages alive that were made inside, and remembers the largest tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = self.largest = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, torch.Tensor):
                self.count(x)
        return result

    def count(self, x: torch.Tensor) -> None:
        storage = x.untyped_storage()
        self.largest = max(self.largest, x.numel())
        key = storage._cdata
        if key not in self.seen:
            self.seen.add(key)
            self.alive += storage.nbytes()
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self.release, key, storage.nbytes())

    def release(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.alive -= size


def measure(loss: Callable[[], torch.Tensor]) -> tuple[int, int, int]:
    """Bytes autograd saved, peak bytes alive, entries of the largest tensor, forward and backward."""
    saved: dict[int, int] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with CountBytes() as counter:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            value = loss()
        value.backward()
    return sum(saved.values()), counter.peak, counter.largest
