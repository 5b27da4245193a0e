"""A rule as the kernels take it: a few integers and numbers, and tensors in O(N).

Ops of torch.library take lists of integers, not Python objects. ``rule.encode`` fills the fields below and kernels read
them by name: ``RuleCode(*code)`` in Python, ``csrc/rule_code.h`` in C++.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from ecgloss.pairs.layout import Layout


class Kind(IntEnum):
    """Which rule it is; numbered as in C++."""

    UNIFORM = 0
    RISK = 1
    LABELS = 2
    FEATURES = 3
    GAUSSIAN = 4

    @property
    def has_many_positives(self) -> bool:
        """Whether a row may have any number of positives, as labels, features and metadata give them."""
        return self >= Kind.LABELS


class RuleCode(NamedTuple):
    """The integers of a rule, in the order in which ops have them; 0 where a field does not apply.

    Attributes:
        kind: A :class:`Kind`.
        norm: Index in :data:`ecgloss.pairs.WEIGHT_NORMS` (risk).
        power: The exponent q of the distance, 1 or 2 (risk).
        unknown_is_zero: Whether an unknown risk counts as 0 instead of giving its pairs the mean distance (risk).
        revert: Whether unreliable pairs revert to the mean dissimilarity instead of 0 (risk).
        overlap: Whether dissimilar features of equal labels are negatives too (features).
        samples: B (risk).
        width: Risks per sample (risk); features or metadata per row.
    """

    kind: int
    norm: int = 0
    power: int = 0
    unknown_is_zero: int = 0
    revert: int = 0
    overlap: int = 0
    samples: int = 0
    width: int = 0


class RuleNumbers(NamedTuple):
    """The floating-point parameters of a rule, in the order in which ops have them.

    Attributes:
        alpha: Minimum dissimilarity (risk).
        fixed_scale: s of Delta / s; 0: scaled by the largest distance of the batch (risk).
        threshold: Least cosine of similar features (features).
    """

    alpha: float = 0.0
    fixed_scale: float = 0.0
    threshold: float = 0.0


class Side(NamedTuple):
    """Side information, in the order in which ops have it; None for what does not apply.

    Attributes:
        values: Risks (B, K) in fp64, features (N, F) or metadata (N, K).
        column_values: Features or metadata of the columns of a rectangular problem.
        missing: (B,) fp64 fractions of missing inputs.
        row_labels: (N,) int64.
        column_labels: (M,) int64 of the columns of a rectangular problem.
    """

    values: Tensor | None = None
    column_values: Tensor | None = None
    missing: Tensor | None = None
    row_labels: Tensor | None = None
    column_labels: Tensor | None = None


class Encoding(NamedTuple):
    """A whole rule, without its layout."""

    code: RuleCode
    numbers: RuleNumbers = RuleNumbers()
    side: Side = Side()


def encode_layout(layout: Layout) -> list[int]:
    """Whether the columns are the rows; the shift of the positive, -1 for none; the excluded shifts."""
    positive = -1 if layout.positive is None else layout.positive
    return [int(layout.square), positive, *layout.excluded]
