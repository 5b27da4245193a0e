"""Rules that need no clinical risk: uniform, labels, features, Gaussian kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeGuard

import torch
from torch import Tensor

from ecgloss.pairs.encoding import Encoding, Kind, RuleCode, RuleNumbers, Side
from ecgloss.pairs.layout import Layout


class Relations(NamedTuple):
    """What a rule says of a block of R rows, before the layout's exclusions (an engine applies those).

    Attributes:
        log_weight: (R, M) log omega of the negatives; None where omega = 1 everywhere.
        negative: (R, M) bool, which columns are negatives; None where every column is that is not excluded.
        positive: (R, M) weights >= 0 of dense positives; None where the layout's column is the positive, or none is.
    """

    log_weight: Tensor | None = None
    negative: Tensor | None = None
    positive: Tensor | None = None


class Rule(Protocol):
    """What an engine needs to know of a rule."""

    @property
    def layout(self) -> Layout:
        """The shape of the comparison."""
        ...

    def relations(self, rows: Tensor, dtype: torch.dtype) -> Relations:
        """What relates ``rows`` (R,) to all columns, in floating ``dtype``."""
        ...

    def encode(self, dtype: torch.dtype) -> Encoding:
        """The rule as kernels take it, features and metadata in ``dtype``."""
        ...


class WeightedRule(Rule, Protocol):
    """A rule with a matrix of weights W, with which similarities can be aligned: S^ against T = 1 - W."""

    @property
    def zero_weight_shifts(self) -> set[int]:
        """The shifts, column minus row, at which W is 0."""
        ...

    def weight(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """W of ``rows`` (R,) against all columns, (R, M)."""
        ...

    def prepare(self) -> None:
        """Compute what blocks of W depend on: an engine asks for it before a function of its own with a gradient,
        in which torch.compile allows no side effects.
        """
        ...


def is_weighted(rule: Rule) -> TypeGuard[WeightedRule]:
    """Whether a rule has weights W.

    Example:
        >>> is_weighted(UniformPairs(Layout.two_views(4)))
        False
    """
    return hasattr(rule, "weight")


@dataclass(frozen=True)
class UniformPairs:
    """Every column that is not excluded is a negative of weight 1 (NT-Xent, InfoNCE, MoCo, CLIP).

    Attributes:
        layout: The shape of the comparison.
    """

    layout: Layout

    def relations(self, rows: Tensor, dtype: torch.dtype) -> Relations:
        """Nothing but the layout."""
        return Relations()

    def encode(self, dtype: torch.dtype) -> Encoding:
        """The rule as kernels take it."""
        return Encoding(RuleCode(Kind.UNIFORM))


@dataclass(frozen=True)
class LabelPairs:
    """Equal labels are positives, different ones negatives (SupCon; CMSC with patient numbers as labels).

    Attributes:
        layout: The shape of the comparison, without a positive of its own.
        row_labels: (N,) int64.
        column_labels: (M,) int64.
    """

    layout: Layout
    row_labels: Tensor
    column_labels: Tensor

    def __post_init__(self) -> None:
        _check_side_information(self.layout, self.row_labels, self.column_labels, "labels")

    def relations(self, rows: Tensor, dtype: torch.dtype) -> Relations:
        """Masks of equal and of different labels, (R, M)."""
        equal = self.row_labels[rows, None] == self.column_labels[None, :]
        return Relations(negative=~equal, positive=equal.to(dtype))

    def encode(self, dtype: torch.dtype) -> Encoding:
        """The rule as kernels take it."""
        column_labels = None if self.layout.square else self.column_labels
        return Encoding(RuleCode(Kind.LABELS), side=Side(row_labels=self.row_labels, column_labels=column_labels))


@dataclass(frozen=True)
class FeaturePairs:
    """Similar features are positives, dissimilar ones negatives (PhysioCLR, arXiv 2509.08116).

    With C_ik the cosine of two feature vectors::

        positive: C_ik >= threshold, or equal labels       negative: C_ik < threshold, and not positive unless overlap

    A NaN feature makes C NaN: such a row or column has neither, but for its label.

    Attributes:
        layout: The shape of the comparison, without a positive of its own.
        rows: (N, F) unit feature vectors.
        columns: (M, F) unit feature vectors.
        threshold: delta.
        row_labels: (N,) int64, e.g. patient numbers; None without labels.
        column_labels: (M,) int64; None without labels.
        overlap: Whether columns of the same label but dissimilar features are negatives too.
    """

    layout: Layout
    rows: Tensor
    columns: Tensor
    threshold: float
    row_labels: Tensor | None
    column_labels: Tensor | None
    overlap: bool

    def __post_init__(self) -> None:
        _check_side_information(self.layout, self.rows, self.columns, "features")
        if (self.row_labels is None) != (self.column_labels is None):
            raise ValueError("labels must be given for rows and columns, or for neither")
        if self.row_labels is not None and self.column_labels is not None:
            _check_side_information(self.layout, self.row_labels, self.column_labels, "labels")

    def relations(self, rows: Tensor, dtype: torch.dtype) -> Relations:
        """Masks of similar and of dissimilar features, (R, M); C is computed in the features' own dtype."""
        cosine = self.rows[rows] @ self.columns.T
        positive, negative = cosine >= self.threshold, cosine < self.threshold
        if self.row_labels is not None and self.column_labels is not None:
            equal = self.row_labels[rows, None] == self.column_labels[None, :]
            positive |= equal
            if not self.overlap:
                negative &= ~equal
        return Relations(negative=negative, positive=positive.to(dtype))

    def encode(self, dtype: torch.dtype) -> Encoding:
        """The rule as kernels take it, features in ``dtype``."""
        square = self.layout.square
        side = Side(
            values=self.rows.to(dtype),
            column_values=None if square else self.columns.to(dtype),
            row_labels=self.row_labels,
            column_labels=None if square else self.column_labels,
        )
        code = RuleCode(Kind.FEATURES, overlap=int(self.overlap), width=self.rows.shape[1])
        return Encoding(code, RuleNumbers(threshold=self.threshold), side)


@dataclass(frozen=True)
class GaussianPairs:
    """Every column is a positive by a Gaussian kernel of metadata, and a negative of weight 1 (y-Aware InfoNCE).

    The weight of a positive is ``exp(-|y_i - y_k|^2)``.

    Attributes:
        layout: The shape of the comparison, without a positive of its own.
        rows: (N, K) metadata y of the rows, divided by sigma sqrt(2).
        columns: (M, K) the same of the columns.
    """

    layout: Layout
    rows: Tensor
    columns: Tensor

    def __post_init__(self) -> None:
        _check_side_information(self.layout, self.rows, self.columns, "metadata")

    def relations(self, rows: Tensor, dtype: torch.dtype) -> Relations:
        """Kernel weights, (R, M)."""
        a, b = self.rows[rows].to(dtype), self.columns.to(dtype)
        # The other mode expands the square, which cancels for large values.
        distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        return Relations(positive=torch.exp(-distance.square()))

    def encode(self, dtype: torch.dtype) -> Encoding:
        """The rule as kernels take it, metadata in ``dtype``."""
        columns = None if self.layout.square else self.columns.to(dtype)
        side = Side(values=self.rows.to(dtype), column_values=columns)
        return Encoding(RuleCode(Kind.GAUSSIAN, width=self.rows.shape[1]), side=side)


def _check_side_information(layout: Layout, rows: Tensor, columns: Tensor, what: str) -> None:
    """One entry for every row and column, and positives from one place only."""
    if layout.positive is not None:
        raise ValueError(f"{what} give dense positives: the layout's positive must be None; got {layout.positive}")
    if rows.shape[0] != layout.n_rows or columns.shape[0] != layout.n_columns:
        raise ValueError(
            f"{what} must have {layout.n_rows} rows and {layout.n_columns} columns as the layout; "
            f"got {rows.shape[0]} and {columns.shape[0]}"
        )
