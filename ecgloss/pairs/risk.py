"""The rule of CLEF: negatives weigh by the dissimilarity of the patients' risks."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ecgloss._validate import check_option
from ecgloss.pairs.encoding import Encoding, Kind, RuleCode, RuleNumbers, Side
from ecgloss.pairs.layout import Layout
from ecgloss.pairs.risk_weights import RiskWeights
from ecgloss.pairs.rules import Relations

WEIGHT_NORMS = ("none", "mean", "softmax")


@dataclass(frozen=True)
class RiskPairs:
    """Negatives weigh by the dissimilarity of the patients' risks (CLEF, arXiv 2512.02180).

    ``omega_ik`` is W_ik, W_ik over its mean across the negatives of row i, or the softmax of row i of W over all
    columns, excluded ones too. In a square layout row i belongs to sample ``i % n_samples``, and W = 0 where a sample
    meets itself. In a rectangular one row i is sample i and column j is sample ``n_rows + j`` (a queue whose entries
    have risks), so that no sample meets itself.

    Attributes:
        layout: The shape of the comparison.
        weights: The description of W.
        norm: ``"none"``, ``"mean"`` or ``"softmax"``.
    """

    layout: Layout
    weights: RiskWeights
    norm: str
    _last_tile: list[tuple[Tensor, torch.dtype, Tensor]] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_option("norm", self.norm, WEIGHT_NORMS)
        layout, n = self.layout, self.weights.n_samples
        if not layout.square:
            if n != layout.n_rows + layout.n_columns:
                raise ValueError(
                    f"weights must describe the {layout.n_rows} rows and then the {layout.n_columns} columns; "
                    f"got {n} samples"
                )
        elif layout.n_rows % n != 0 or any(shift % n != 0 for shift in layout.excluded):
            raise ValueError(
                f"a square layout must hold whole views of the {n} samples of weights; got {layout.n_rows} rows "
                f"that exclude the shifts {layout.excluded}"
            )

    @property
    def n_views(self) -> int:
        """How often the columns repeat the samples of a square layout; else 1."""
        return self.layout.n_rows // self.weights.n_samples if self.layout.square else 1

    @property
    def zero_weight_shifts(self) -> set[int]:
        """The shifts, column minus row, at which a sample meets itself and W is 0."""
        return set(range(0, self.layout.n_rows, self.weights.n_samples)) if self.layout.square else set()

    def encode(self, dtype: torch.dtype) -> Encoding:
        """The rule as kernels take it; risks stay in fp64, whatever the ``dtype``."""
        w = self.weights
        samples, width = w.values.shape
        code = RuleCode(
            Kind.RISK,
            norm=WEIGHT_NORMS.index(self.norm),
            power=w.power,
            unknown_is_zero=int(w.nan_risk == "zero"),
            revert=int(w.reliability == "revert"),
            samples=samples,
            width=width,
        )
        return Encoding(code, RuleNumbers(w.alpha, w.fixed_scale or 0.0), Side(values=w.values, missing=w.missing))

    def prepare(self) -> None:
        """Find what blocks of W are computed from."""
        self.weights.matrix  # noqa: B018

    def weight(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """W of the rows against all columns, (R, M); 0 for the same sample."""
        return self._spread(self._tile(rows, dtype))

    def relations(self, rows: Tensor, dtype: torch.dtype) -> Relations:
        """log omega, (R, M). Excluded columns hold no meaning."""
        tile = self._contrast_tile(rows, dtype)
        log_weight = tile if self.norm == "softmax" else torch.log(tile)
        if self.norm != "none":
            log_weight = log_weight - self._log_normaliser(tile, rows)[:, None]
        return Relations(log_weight=self._spread(log_weight))

    def _tile(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """W of the rows against the samples of one view, or against the columns of a rectangular layout.

        The last one is kept: an engine asks for the relations and for the weights of the same rows.
        """
        if self._last_tile and self._last_tile[0][0] is rows and self._last_tile[0][1] == dtype:
            return self._last_tile[0][2]
        if self.layout.square:
            tile = self.weights.matrix.tile(rows % self.weights.n_samples, dtype)
        else:
            tile = self.weights.matrix.tile(rows, dtype)[:, self.layout.n_rows :]
        if not torch.compiler.is_compiling():
            self._last_tile[:] = [(rows, dtype, tile)]
        return tile

    def _spread(self, tile: Tensor) -> Tensor:
        """The same for all columns, (R, M)."""
        return tile if self.n_views == 1 else torch.cat([tile] * self.n_views, dim=1)

    def _contrast_tile(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """W as the negatives see it."""
        tile = self._tile(rows, dtype)
        if self.norm == "mean" and self.weights.alpha == 0:  # all risks equal and no floor: 0 / 0, whose limit is 1
            tile = tile + self.weights.matrix.all_equal.to(dtype)
            if self.layout.square:
                tile.scatter_(1, (rows % self.weights.n_samples)[:, None], 0.0)
        return tile

    def _log_normaliser(self, tile: Tensor, rows: Tensor) -> Tensor:
        """log of what a row's weights are divided by, (R,), from the rows' tile."""
        if self.norm == "softmax":
            return torch.logsumexp(tile, dim=1) + torch.log(tile.new_full((), self.n_views))
        if not self.layout.square:  # in a square one W is 0 where a column is excluded
            tile = tile.scatter(1, self.layout.excluded_columns(rows), 0.0)
        mean = self.n_views * tile.sum(1) / self.layout.n_compared
        return torch.log(mean.clamp(min=torch.finfo(mean.dtype).tiny))  # finite for a row that weighs 0
