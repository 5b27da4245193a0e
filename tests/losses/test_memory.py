"""The streaming backends never store N x N: autograd keeps O(N D) bytes, and so does everything alive at any moment."""

from __future__ import annotations

import pytest
import torch
from backends import STREAMING
from covering import each_value
from tensor_memory import CountBytes, measure

import ecgloss.functional as F

CASES = {
    "ntxent": lambda a, b, r, f, backend: F.ntxent(a, b, backend=backend),
    "clef paper": lambda a, b, r, f, backend: F.clef(a, b, r, f, backend=backend),
    "clef official": lambda a, b, r, f, backend: F.clef(a, b, r, f, preset="official", backend=backend),
    "clef without closed form": lambda a, b, r, f, backend: F.clef(
        a, b, r, f, similarity="minmax", risk_power=1, reliability="revert", backend=backend
    ),
    "physioclr": lambda a, b, r, f, backend: F.physioclr(
        torch.cat([a, b]), torch.cat([b, a]), torch.outer(r, f[:50]).repeat(2, 1), backend=backend
    ),
}


def measure_case(case: str, b: int, d: int, backend: str) -> tuple[int, int, int]:
    g = torch.Generator().manual_seed(1)
    z1, z2 = (torch.randn(b, d, generator=g).requires_grad_() for _ in range(2))
    risk, missing = torch.rand(b, generator=g), torch.rand(b, generator=g)
    return measure(lambda: CASES[case](z1, z2, risk, missing, backend))


@pytest.mark.slow
@each_value(backend=STREAMING, case=CASES)
def test_n_4096_d_256_needs_memory_of_order_n_d(case, backend):
    b, d = 2048, 256
    n = 2 * b
    saved, peak, largest = measure_case(case, b, d, backend)
    unit = 4 * n * d  # bytes of one fp32 N x D buffer
    # Saved: the normalised rows in fp32, and in fp64 for the alignment's sums (2 units each, whole and by sample).
    assert saved <= 6 * unit
    assert peak <= 12 * unit
    assert largest <= (n + 48) * (d + 1)  # whole panels of 48 rows with their norms; a sixteenth of N x N
    assert peak < 4 * 2 * n * n, "the peak must stay below two N x N matrices, which plain code exceeds by far"


@pytest.mark.slow
@each_value(backend=STREAMING, case=CASES)
def test_memory_grows_linearly_with_the_batch(case, backend):
    d = 128
    small, large = (measure_case(case, b, d, backend) for b in (512, 1024))
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
