"""The C++ kernels need a few buffers of N x D, in torch's memory and in the process's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from backends import needs_cpp
from covering import exhaustive_except
from tensor_memory import measure

import ecgloss.functional as F

pytestmark = needs_cpp
REPOSITORY = Path(__file__).resolve().parent.parent.parent
LOSSES = {
    "ntxent": lambda a, b, r, f: F.ntxent(a, b, backend="cpp"),
    "clef paper": lambda a, b, r, f: F.clef(a, b, r, f, backend="cpp"),
    "clef official": lambda a, b, r, f: F.clef(a, b, r, f, preset="official", backend="cpp"),
    "clef without closed form": lambda a, b, r, f: F.clef(
        a, b, r, f, similarity="minmax", risk_power=1, reliability="revert", backend="cpp"
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_torch_allocates_three_buffers_and_nothing_of_n_by_n(name):
    n, d = 4096, 256
    g = torch.Generator().manual_seed(1)
    z1, z2 = (torch.randn(n // 2, d, generator=g).requires_grad_() for _ in range(2))
    risk, missing = torch.rand(n // 2, generator=g), torch.rand(n // 2, generator=g)
    saved, peak, largest = measure(lambda: LOSSES[name](z1, z2, risk, missing))
    unit = 4 * n * d  # bytes of one fp32 N x D buffer
    small = 200 * n  # statistics, norms and risks of a row: less than 25 numbers of 8 bytes
    assert saved <= 2 * unit + small  # unit rows, and the caller's embeddings, should a second derivative be wanted
    assert peak <= 3 * unit + small  # and their gradient, and the embeddings' gradient
    assert largest <= (n + 48) * (d + 1)  # whole panels of 48 rows with their norms


PEAK = """
import ctypes
import gc
import sys
from pathlib import Path

import torch
import ecgloss.functional as F

def kib():
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

def inputs(b, d):
    g = torch.Generator().manual_seed(1)
    return [*(torch.randn(b, d, generator=g).requires_grad_() for _ in range(2)), torch.rand(b, generator=g)]

def loss(z1, z2, risk):
    if sys.argv[1] == "ntxent":
        return F.ntxent(z1, z2, backend=sys.argv[2])
    return F.clef(z1, z2, risk, preset=sys.argv[1], backend=sys.argv[2])

torch.set_num_threads(2)
loss(*inputs(64, 64)).backward()  # what a first call loads stays
data = inputs(int(sys.argv[3]) // 2, 64)
for z in data[:2]:
    z.grad = torch.ones_like(z)
gc.collect()
ctypes.CDLL(None).malloc_trim(0)  # freed memory that stays resident would serve the evaluation unseen
Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
before = kib()
loss(*data).backward()
print(kib() - before)
"""


def growth(name: str, backend: str, n: int) -> int:
    """Bytes by which the peak of a fresh process grows, forward and backward of N rows of 64."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, "-c", PEAK, name, backend, str(n)]
    result = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=300)
    return 1024 * int(result.stdout)


counts_peaks = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK) or not sys.platform.startswith("linux"),
    reason="the peak of a process can be reset on Linux alone, where /proc can be written",
)


@pytest.mark.slow
@counts_peaks
@pytest.mark.parametrize("name", exhaustive_except(["official"], ["ntxent", "official"]))
def test_a_process_grows_by_three_buffers(name):
    n, d = 16384, 64
    assert growth(name, "cpp", n) <= 3 * 4 * n * d + 32 * 2**20


@pytest.mark.exhaustive
@pytest.mark.slow
@counts_peaks
def test_the_growth_of_a_process_sees_what_materialised_code_stores():
    """The test above could not fail if it did not."""
    n = 4096
    assert growth("ntxent", "reference", n) >= 4 * n * n
