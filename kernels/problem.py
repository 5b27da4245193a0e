"""What is to be computed, and the buffers it is computed in."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from . import forms
from .forms import NO_SHIFT, Relation, Weights

PAD: int = forms.PAD.value
LARGEST_EXPONENT = 80.0  # nats: e^80 and e^-80 are normal numbers of fp32, with room for sums


@dataclass(frozen=True)
class Rows:
    """Prepared embeddings: u (padded, D) and side (lines, padded)."""

    u: Tensor
    side: Tensor
    n: int

    @property
    def pad(self) -> int:
        """Rows with padding."""
        return self.u.shape[0]

    @property
    def blocks(self) -> int:
        """Rows as kernels are told: in blocks of PAD, so that compilers know that vectors begin at whole ones."""
        return self.u.shape[0] // PAD


@dataclass(frozen=True)
class Problem:
    """What is computed.

    Attributes:
        rule: What weighs or relates pairs.
        n: Rows.
        m: Columns.
        square: Whether the columns are the rows.
        excluded: At most two shifts.
        positive: The shift of the single positive, or None.
        fixed: Whether 1 / tau stands for the maximum of every row.
        similarity: "" or the similarity whose squared error is asked for.
        alpha: Minimum dissimilarity (risks).
        threshold: Least cosine of similar features.
        samples: B (risks), 0 otherwise.
        term_weights: Of entropy and error in the loss.
    """

    rule: Weights | Relation
    n: int
    m: int
    square: bool
    excluded: tuple[int, ...]
    positive: int | None
    fixed: bool = False
    similarity: str = ""
    alpha: float = 0.0
    threshold: float = 0.0
    samples: int = 0
    term_weights: tuple[float, float] = (1.0, 0.0)

    @property
    def shifts(self) -> tuple[int, int]:
        """The excluded shifts; one no pair has in place of those that are not."""
        first, second = (*self.excluded, NO_SHIFT, NO_SHIFT)[:2]
        return first, second


def on_host(temperature: Tensor) -> bool:
    """Whether looking at the temperature is free."""
    return temperature.device.type == "cpu"


def read_temperature(temperature: Tensor) -> tuple[Tensor | None, float]:
    """The temperature as a pointer, or as a number."""
    return (None, temperature.item()) if on_host(temperature) else (temperature, 0.0)


def has_fixed_maximum(norm: str, alpha: float, tau: tuple[Tensor | None, float]) -> bool:
    """Whether 1 / tau can stand for the maximum of every row: the least exponential must be a normal number."""
    pointer, value = tau
    return pointer is None and 2 / value + _log_range(norm, alpha) <= LARGEST_EXPONENT


def _log_range(norm: str, alpha: float) -> float:
    """How far below 0 the log of a weight may lie, in nats."""
    if norm in ("uniform", "softmax"):
        return float(norm == "softmax")
    return 1 - math.log(alpha) if alpha > 0 else math.inf


def padded_rows(n: int) -> int:
    """Rows in whole blocks."""
    return -(-n // PAD) * PAD


def padded_width(width: int) -> int:
    """D: a power of two from 16 to 512, from there a multiple of 256, which tiles cover in few parts."""
    width = int(width)  # kernels are compiled for it: torch.compile must not keep it open
    if width <= 512:
        return max(16, 1 << (width - 1).bit_length())
    return -(-width // 256) * 256
