"""What is measured: losses, sizes and dtypes in the order of their value, and the inputs of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

HALF, SINGLE = "bfloat16", "float32"
DTYPES = {SINGLE: "fp32", HALF: "bf16"}  # as torch and as tables call them
INFONCE = "infonce"


@dataclass(frozen=True)
class Case:
    """One problem: a loss at a size (N rows, width D), of embeddings of a dtype as torch calls it."""

    loss: str
    n: int
    d: int
    dtype: str = SINGLE

    def __str__(self) -> str:
        return f"{self.loss} {self.n} {self.d} {DTYPES[self.dtype]}"

    def products(self, device: str) -> int:
        """Of 2 N^2 D operations each: similarities, on a GPU once more in the backward, and gradients (README.md)."""
        return (2 if device == "cpu" else 3) + (self.loss == INFONCE)


CPU_SIZES = ((128, 256), (512, 256), (2048, 256), (4096, 1024), (8192, 256))
CPU_CASES = [Case(loss, n, d) for loss in ("clef official", "clef paper", "ntxent", INFONCE) for n, d in CPU_SIZES]

FIRST, OTHERS = ("clef official", "ntxent"), (INFONCE, "clef paper")
SIZES = (128, 512, 2048, 8192, 32768, 131072)
MAIN_WIDTH, WIDTHS = 256, (128, 512, 1024)
# bf16 at the main width; then fp32 and the other widths of the first losses, then of the others.
GPU_CASES = [Case(loss, n, MAIN_WIDTH, HALF) for loss in (*FIRST, *OTHERS) for n in (*SIZES[:3], 4096, *SIZES[3:])]
for _losses in (FIRST, OTHERS):
    GPU_CASES += [Case(loss, n, MAIN_WIDTH, SINGLE) for loss in _losses for n in SIZES]
    GPU_CASES += [Case(loss, n, d, dt) for dt in (HALF, SINGLE) for n in SIZES for d in WIDTHS for loss in _losses]
CASES = {"cpu": CPU_CASES, "cuda": GPU_CASES}


@lru_cache(maxsize=2)
def inputs(case: Case, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Random views of N / 2 samples, correlated as if trained, and risks; for infonce N queries and N keys."""
    count = case.n if case.loss == INFONCE else case.n // 2
    g = torch.Generator(device).manual_seed(7)
    z1 = torch.randn(count, case.d, generator=g, device=device)
    z2 = z1 + torch.randn(count, case.d, generator=g, device=device)
    risk = torch.rand(count, generator=g, device=device) ** 3
    a, b = (z.to(getattr(torch, case.dtype)).requires_grad_() for z in (z1, z2))
    return a, b, risk
