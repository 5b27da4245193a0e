"""The chunked backend never stores N x N: autograd keeps O(N D) bytes, and so does everything alive at any moment."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import ecgloss.functional as F


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


CASES = {
    "ntxent": lambda a, b, r, f: F.ntxent(a, b, backend="chunked"),
    "clef paper": lambda a, b, r, f: F.clef(a, b, r, f, backend="chunked"),
    "clef official": lambda a, b, r, f: F.clef(a, b, r, f, preset="official", backend="chunked"),
    "clef without closed form": lambda a, b, r, f: F.clef(
        a, b, r, f, similarity="minmax", risk_power=1, reliability="revert", backend="chunked"
    ),
}


def measure(case: str, b: int, d: int, backend: str = "chunked") -> tuple[int, int, int]:
    """Bytes autograd saved, peak bytes alive, entries of the largest tensor, forward and backward."""
    g = torch.Generator().manual_seed(1)
    z1, z2 = (torch.randn(b, d, generator=g).requires_grad_() for _ in range(2))
    risk, missing = torch.rand(b, generator=g), torch.rand(b, generator=g)
    saved: dict[int, int] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with CountBytes() as counter:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            loss = CASES[case](z1, z2, risk, missing)
        loss.backward()
    return sum(saved.values()), counter.peak, counter.largest


@pytest.mark.parametrize("case", CASES)
def test_n_4096_d_256_needs_memory_of_order_n_d(case):
    b, d = 2048, 256
    n = 2 * b
    saved, peak, largest = measure(case, b, d)
    unit = 4 * n * d  # bytes of one fp32 N x D buffer
    # Saved: the normalised rows in fp32, and in fp64 for the alignment's sums (2 units each, whole and by sample).
    assert saved <= 6 * unit
    assert peak <= 12 * unit
    assert largest <= n * d  # a sixteenth of N x N
    assert peak < 4 * 2 * n * n, "the peak must stay below two N x N matrices, which plain code exceeds by far"


@pytest.mark.parametrize("case", CASES)
def test_memory_grows_linearly_with_the_batch(case):
    d = 128
    small, large = measure(case, 1024, d), measure(case, 2048, d)
    for before, after in zip(small, large):
        assert after <= 2.2 * before  # quadratic growth would be 4


def test_the_counter_sees_what_materialised_code_stores():
    """The two tests above could not fail if the counter missed tensors."""
    g = torch.Generator().manual_seed(1)
    z1, z2 = (torch.randn(256, 32, generator=g).requires_grad_() for _ in range(2))
    with CountBytes() as counter:
        F.ntxent(z1, z2, backend="reference").backward()
    assert counter.largest >= 512 * 512
    assert counter.peak >= 2 * 4 * 512 * 512
