"""The problem that kernels are compiled and launched for, the embeddings they read, and the padding of both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from . import memory_layout
from .memory_layout import NO_SHIFT, Relation, Weights
from .weight import LEAST_RELIABILITY

PAD: int = memory_layout.PAD.value
LARGEST_EXPONENT = 80.0  # nats: e^80 and e^-80 are normal numbers of fp32, with room for sums


@dataclass(frozen=True)
class Rows:
    """Prepared embeddings: u (padded rows, D) and vectors (lines, padded rows), of n rows."""

    u: Tensor
    vectors: Tensor
    n: int

    @property
    def pad(self) -> int:
        """The number of rows with padding."""
        return self.u.shape[0]

    @property
    def blocks(self) -> int:
        """The number of blocks of PAD rows; kernels multiply it by PAD, which shows the compiler the alignment."""
        return self.u.shape[0] // PAD


class Tables(NamedTuple):
    """Inputs of a rule with many positives: features or metadata and labels, of rows and of columns."""

    row_values: Tensor | None = None
    col_values: Tensor | None = None
    row_labels: Tensor | None = None
    col_labels: Tensor | None = None

    @property
    def transposed(self) -> Tables:
        """The tables with rows and columns exchanged."""
        return Tables(self.col_values, self.row_values, self.col_labels, self.row_labels)

    @property
    def by_name(self) -> dict[str, Tensor | None]:
        """The tables as arguments of a kernel."""
        return self._asdict()


@dataclass(frozen=True)
class TritonProblem:
    """What the kernels compute.

    Attributes:
        rule: The weights of the negatives, or the relation that makes positives.
        n: Number of rows.
        m: Number of columns.
        square: Whether the columns are the rows.
        excluded: At most two shifts (column - row modulo m) of pairs that do not count.
        positive: The shift of the single positive, or None.
        fixed_maximum: Whether 1 / tau serves as the maximum of every row.
        alignment: ``""``, or the S^ of the alignment term: ``"cosine"`` or ``"minmax"``.
        alpha: Minimum dissimilarity (risks).
        threshold: Least cosine of similar features.
        samples: B (risks), 0 otherwise.
        term_weights: Weights of the contrastive and the alignment term in the loss.
    """

    rule: Weights | Relation
    n: int
    m: int
    square: bool
    excluded: tuple[int, ...]
    positive: int | None
    fixed_maximum: bool = False
    alignment: str = ""
    alpha: float = 0.0
    threshold: float = 0.0
    samples: int = 0
    term_weights: tuple[float, float] = (1.0, 0.0)

    @property
    def normal_columns(self) -> int:
        """The columns that softmax weights are normalised over: one view of the samples."""
        return self.samples if self.square else self.m

    @property
    def shifts(self) -> tuple[int, int]:
        """The excluded shifts, filled up with NO_SHIFT."""
        first, second = (*self.excluded, NO_SHIFT, NO_SHIFT)[:2]
        return first, second


def on_host(temperature: Tensor) -> bool:
    """Whether the temperature can be read without waiting for the GPU."""
    return temperature.device.type == "cpu"


def read_temperature(temperature: Tensor) -> tuple[Tensor | None, float]:
    """The temperature as (pointer, unused number) on the GPU, as (None, number) on the host."""
    return (None, temperature.item()) if on_host(temperature) else (temperature, 0.0)


def has_fixed_maximum(norm: str, alpha: float, tau: tuple[Tensor | None, float]) -> bool:
    """Whether 1 / tau can serve as the maximum of every row: the least omega e^((S - 1) / tau) must not underflow."""
    pointer, value = tau
    return pointer is None and 2 / value + _log_range(norm, alpha) <= LARGEST_EXPONENT


def _log_range(norm: str, alpha: float) -> float:
    """-ln of the least weight relative to the largest: W lies in [least reliability alpha, 1], e^W in [1, e]."""
    if norm in ("uniform", "softmax"):
        return float(norm == "softmax")
    return -math.log(LEAST_RELIABILITY * alpha) if alpha > 0 else math.inf


def padded_rows(n: int) -> int:
    """n rounded up to whole blocks of rows."""
    return -(-n // PAD) * PAD


def padded_width(width: int) -> int:
    """D rounded up to a power of two from 16 to 512, above that to a multiple of 256: tiles cover it in few parts."""
    width = int(width)  # D is compiled in: under torch.compile it must not stay symbolic
    if width <= 512:
        return max(16, 1 << (width - 1).bit_length())
    return -(-width // 256) * 256
