"""What is measured: the cases, their inputs, and the form of a result."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One problem: a loss at a size (N rows, width D)."""

    loss: str
    n: int
    d: int

    def __str__(self) -> str:
        return f"{self.loss} {self.n} {self.d}"

    @property
    def useful_flop(self) -> int:
        """Arithmetic no method can do without: one product of N x D with its transpose forward, one backward."""
        return 2 * (2 * self.n**2 * self.d)


LOSSES = ("clef official", "clef paper", "ntxent")
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
        flop_rate: The case's useful arithmetic per second; None for variants that are not ecgloss's.
        fma_share: The same, as a fraction of what the machine's multiply-add units do; None where that is unknown.
    """

    case: Case
    variant: str
    milliseconds: float
    quartiles: tuple[float, float]
    rounds: int
    peak_mib: float | None
    flop_rate: float | None = None
    fma_share: float | None = None


def inputs(case: Case, device: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Random views, correlated as trained embeddings are, and risks."""
    g = torch.Generator().manual_seed(7)
    z1 = torch.randn(case.n // 2, case.d, generator=g)
    z2 = z1 + torch.randn(case.n // 2, case.d, generator=g)
    risk = torch.rand(case.n // 2, generator=g) ** 3
    a, b = (z.to(device, dtype).requires_grad_() for z in (z1, z2))
    return a, b, risk.to(device)
