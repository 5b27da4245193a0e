"""What is measured: the cases, their inputs, and the form of a result."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import torch
from torch import Tensor

DTYPES = {"float32": "fp32", "bfloat16": "bf16"}  # as torch and as tables call them


@dataclass(frozen=True)
class Case:
    """One problem: a loss at a size (N rows, width D), of embeddings of a dtype as torch calls it."""

    loss: str
    n: int
    d: int
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.loss} {self.n} {self.d} {DTYPES[self.dtype]}"

    @property
    def useful_flop(self) -> int:
        """Arithmetic no method can do without: one product of N x D with its transpose forward, one backward."""
        return 2 * (2 * self.n**2 * self.d)


LOSSES = ("clef official", "clef paper", "ntxent")
INFONCE = "infonce"
SIZES = ((128, 256), (512, 256), (2048, 256), (4096, 1024), (8192, 256))
CASES = [Case(loss, n, d) for loss in LOSSES for n, d in SIZES]


@dataclass(frozen=True)
class Measurement:
    """One variant of one case.

    Attributes:
        case: What was computed.
        variant: How.
        milliseconds: Median over rounds, forward and backward.
        quartiles: Lower and upper quartile of the same.
        rounds: How many.
        peak_mib: Memory beyond inputs and gradients; None where it could not be measured.
    """

    case: Case
    variant: str
    milliseconds: float
    quartiles: tuple[float, float]
    rounds: int
    peak_mib: float | None


@dataclass(frozen=True)
class CpuMeasurement(Measurement):
    """One variant of one case on a CPU.

    Attributes:
        flop_rate: The case's useful arithmetic per second; None for variants that are not ecgloss's.
        fma_share: The same, as a fraction of what the machine's multiply-add units do; None where that is unknown.
    """

    flop_rate: float | None = None
    fma_share: float | None = None


def spread(values: list[float]) -> tuple[float, tuple[float, float]]:
    """Median, and lower and upper quartile."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return statistics.median(values), (low, high)


def inputs(case: Case, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Random views, correlated as trained embeddings are, and risks; queries, keys and risks nobody reads for infonce.

    The N rows of a batch are those of both views together; infonce compares N rows with N others.
    """
    count = case.n if case.loss == INFONCE else case.n // 2
    g = torch.Generator(device).manual_seed(7)
    z1 = torch.randn(count, case.d, generator=g, device=device)
    z2 = z1 + torch.randn(count, case.d, generator=g, device=device)
    risk = torch.rand(count, generator=g, device=device) ** 3
    a, b = (z.to(getattr(torch, case.dtype)).requires_grad_() for z in (z1, z2))
    return a, b, risk
