"""Which rows are compared with which columns, and where a row's positive sits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The shape of a comparison of rows (queries) with columns (keys).

    Attributes:
        n_rows: Number of rows N.
        n_columns: Number of columns M.
        square: Whether the columns are the rows (self-similarity, M = N).
        excluded: Shifts: row i is neither a negative nor a dense positive of column ``(i + shift) % n_columns``.
        positive: Shift of the row's single positive column, one of ``excluded``; None where a rule gives dense
            positives, or where there are none.

    Raises:
        ValueError: when these contradict each other.

    Example:
        >>> Layout.two_views(3).positive_columns(torch.arange(6)).tolist()
        [3, 4, 5, 0, 1, 2]
    """

    n_rows: int
    n_columns: int
    square: bool
    excluded: tuple[int, ...]
    positive: int | None

    def __post_init__(self) -> None:
        if self.square and self.n_rows != self.n_columns:
            raise ValueError(
                f"a square layout has as many columns as rows; got {self.n_rows} rows and {self.n_columns} columns"
            )
        if self.positive is not None and self.positive not in self.excluded:
            raise ValueError(f"positive must be one of the shifts excluded = {self.excluded}; got {self.positive}")

    @classmethod
    def two_views(cls, n_samples: int) -> Layout:
        """Rows 0..B-1 are first views, B..2B-1 second views; the other view is the positive, (i + B) mod 2B."""
        return cls(2 * n_samples, 2 * n_samples, True, (0, n_samples), n_samples)

    @classmethod
    def one_view(cls, n: int, include_self: bool = False) -> Layout:
        """n rows against each other, and with ``include_self`` against themselves; the rule gives the positives."""
        return cls(n, n, True, () if include_self else (0,), None)

    @classmethod
    def matched(cls, n: int, m: int) -> Layout:
        """n rows against m >= n columns; column i is the positive of row i, as in CLIP."""
        if m < n:
            raise ValueError(f"matched needs a column for every row, m >= n; got n = {n} and m = {m}")
        return cls(n, m, False, (0,), 0)

    @classmethod
    def queue(cls, n: int, m: int) -> Layout:
        """n rows against m unrelated columns, e.g. the queue of MoCo; nothing is excluded."""
        return cls(n, m, False, (), None)

    @property
    def n_compared(self) -> int:
        """Columns of a row that are not excluded."""
        return self.n_columns - len(self.excluded)

    def excluded_columns(self, rows: Tensor) -> Tensor:
        """The columns that are not compared with each row, (R, len(excluded))."""
        if not self.excluded:
            return rows.new_empty(rows.shape[0], 0)
        return torch.stack([(rows + shift) % self.n_columns for shift in self.excluded], dim=1)

    def positive_columns(self, rows: Tensor) -> Tensor:
        """The positive column of each row, (R,); only where there is a single one."""
        assert self.positive is not None
        return (rows + self.positive) % self.n_columns
