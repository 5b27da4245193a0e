"""What is to be computed, and the buffers it is computed in."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from torch import Tensor

from .forms import NO_SHIFT, PAD, RISK, Relation, Weights

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
        temperature: 0-d; on the host, or where the embeddings are.
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
    temperature: Tensor
    similarity: str = ""
    alpha: float = 0.0
    threshold: float = 0.0
    samples: int = 0
    term_weights: tuple[float, float] = (1.0, 0.0)

    @functools.cached_property
    def tau(self) -> tuple[Tensor | None, float]:
        """The temperature as a pointer, or as a number."""
        if on_host(self.temperature):
            return None, self.temperature.item()
        return self.temperature, 0.0

    @property
    def shifts(self) -> tuple[int, int]:
        """The excluded shifts; one no pair has in place of those that are not."""
        first, second = (*self.excluded, NO_SHIFT, NO_SHIFT)[:2]
        return first, second

    @functools.cached_property
    def fixed(self) -> bool:
        """Whether 1 / tau can stand for the maximum of every row."""
        pointer, tau = self.tau
        if pointer is not None or isinstance(self.rule, Relation):
            return False
        return 2 / tau + self.log_range <= LARGEST_EXPONENT

    @property
    def log_range(self) -> float:
        """How far below 0 the log of a weight may lie, in nats."""
        assert isinstance(self.rule, Weights)
        if self.rule.norm in ("uniform", "softmax"):
            return float(self.rule.norm == "softmax")
        if self.alpha == 0:
            return float("inf")
        return 1 - math.log(self.alpha)


def on_host(temperature: Tensor) -> bool:
    """Whether looking at the temperature is free."""
    return temperature.device.type == "cpu"


def padded_rows(n: int) -> int:
    """Rows in whole blocks."""
    return -(-n // PAD) * PAD


def padded_width(width: int) -> int:
    """D: a power of two from 16 to 512, from there a multiple of 256, which tiles cover in few parts."""
    width = int(width)  # kernels are compiled for it: torch.compile must not keep it open
    if width <= 512:
        return max(16, 1 << (width - 1).bit_length())
    return -(-width // 256) * 256


def lines(rule: Weights | Relation) -> int:
    """Vectors per row."""
    line: int = RISK.value
    return line + (rule.risks if isinstance(rule, Weights) else 0)
