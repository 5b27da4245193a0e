"""How fast a device multiplies large matrices: what the losses' products are compared with."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import torch
from cases import DTYPES, spread
from clock import milliseconds

SAMPLES, SAMPLE_MS = 21, 20.0  # together long enough for clocks to settle under the load


@dataclass(frozen=True)
class Rate:
    """Operations per second: the median of some samples, and their interquartile range relative to it."""

    flop_rate: float
    spread: float

    def __str__(self) -> str:
        return f"{self.flop_rate / 1e12:.3g} Tflop/s, spread {100 * self.spread:.2g} %"


@dataclass(frozen=True)
class MatrixRates:
    """Rates by dtype, as torch calls it, at the start of a run and again at its end."""

    start: dict[str, Rate]
    end: dict[str, Rate] | None = None

    def used(self, dtype: str) -> Rate:
        """The steadier one."""
        if self.end is None or self.start[dtype].spread < self.end[dtype].spread:
            return self.start[dtype]
        return self.end[dtype]

    def header(self) -> dict[str, str]:
        """Both, as the header of a result file has them."""
        lines = {}
        for dtype, name in DTYPES.items():
            measured = [("at the start", self.start[dtype])]
            measured += [] if self.end is None else [("at the end", self.end[dtype])]
            words = [f"{rate} {when}{' (used)' if rate is self.used(dtype) else ''}" for when, rate in measured]
            lines[f"{name} matrix rate"] = "; ".join(words)
        return lines


def matrix_rates(device: str) -> dict[str, Rate]:
    """Rates of all dtypes; on a CPU of small matrices, to try the code."""
    return {dtype: matrix_rate(dtype, device, 8192 if device == "cuda" else 64) for dtype in DTYPES}


def matrix_rate(dtype: str, device: str, size: int) -> Rate:
    """Multiply-adds of a product of random square matrices, with the precision of fp32 products set now."""
    g = torch.Generator(device).manual_seed(7)
    a, b = (torch.randn(size, size, generator=g, device=device).to(getattr(torch, dtype)) for _ in range(2))
    out = torch.empty_like(a)

    def multiply() -> object:
        return torch.mm(a, b, out=out)

    pilot = statistics.median([milliseconds(multiply, 1, device) for _ in range(3)])
    repeats = math.ceil(SAMPLE_MS / pilot) if device == "cuda" else 1
    times = [milliseconds(multiply, repeats, device) for _ in range(SAMPLES)]
    median, (low, high) = spread(times)
    return Rate(2 * size**3 / (median / 1000), (high - low) / median)
