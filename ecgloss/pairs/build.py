"""Rules from what callers have: checked, converted and normalised."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ecgloss._validate import FLOATS, check_number, values_are_free
from ecgloss.pairs.layout import Layout
from ecgloss.pairs.risk import RiskPairs
from ecgloss.pairs.risk_weights import RiskWeights
from ecgloss.pairs.rules import FeaturePairs, GaussianPairs, LabelPairs, UniformPairs
from ecgloss.pairs.weight_matrix import wide_dtype


def view_pairs(n_samples: int) -> UniformPairs:
    """Two views of each of ``n_samples`` samples: the other view is the positive, all other rows are negatives.

    Example:
        >>> view_pairs(3).layout.n_rows
        6
    """
    return UniformPairs(Layout.two_views(n_samples))


def risk_pairs(weights: RiskWeights, norm: str, *, columns: int | None = None) -> RiskPairs:
    """The CLEF rule for one batch.

    Args:
        weights: The description of W.
        norm: ``"none"``, ``"mean"`` or ``"softmax"``.
        columns: None for two views per sample. Otherwise the number of queue entries whose risks are the last of
            ``weights``, to which the rows, the samples before, are compared.

    Returns:
        The rule.

    Example:
        >>> weights = RiskWeights.of(torch.tensor([0.0, 0.1, 0.2]))
        >>> risk_pairs(weights, norm="none").relations(torch.tensor([0]), torch.float32).log_weight.shape
        torch.Size([1, 6])
        >>> risk_pairs(weights, norm="none", columns=2).weight(torch.tensor([0]), torch.float32).shape
        torch.Size([1, 2])
    """
    if columns is None:
        return RiskPairs(Layout.two_views(weights.n_samples), weights, norm)
    return RiskPairs(Layout.queue(weights.n_samples - columns, columns), weights, norm)


def label_pairs(labels: Tensor, *, columns: Tensor | None = None) -> LabelPairs:
    """Equal labels are positives, different ones negatives.

    Args:
        labels: (N,) integers.
        columns: (M,) labels of the columns; None for rows against each other (never against themselves).

    Returns:
        The rule.

    Raises:
        ValueError: for another shape.
        TypeError: for labels that are no integers.

    Example:
        >>> rule = label_pairs(torch.tensor([4, 7, 4]))
        >>> rule.relations(torch.tensor([0]), torch.float32).positive  # an engine excludes row 0 itself
        tensor([[1., 0., 1.]])
    """
    rows = _labels("labels", labels)
    if columns is None:
        return LabelPairs(Layout.one_view(rows.shape[0]), rows, rows)
    others = _labels("columns", columns)
    return LabelPairs(Layout.queue(rows.shape[0], others.shape[0]), rows, others)


def feature_pairs(
    features: Tensor,
    threshold: float,
    labels: Tensor | None = None,
    overlap: bool = False,
    include_self: bool = False,
    *,
    columns: Tensor | None = None,
    column_labels: Tensor | None = None,
) -> FeaturePairs:
    """Similar features are positives, dissimilar ones negatives.

    Args:
        features: (N, F) real numbers; they are normalised here. NaN: related to nothing but its label.
        threshold: Cosine in [-1, 1] from which on features are similar.
        labels: (N,) integers, whose equality makes a positive too; None for features alone.
        overlap: Whether columns of the same label but dissimilar features are negatives as well.
        include_self: Whether a row is compared with itself (a positive of cosine 1).
        columns: (M, F) features of the columns; None for rows against each other.
        column_labels: (M,) labels of ``columns``.

    Returns:
        The rule.

    Raises:
        ValueError: for shapes or a threshold that are not accepted.
        TypeError: for features that are no floats or labels that are no integers.

    Example:
        >>> rule = feature_pairs(torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0]]), threshold=0.25)
        >>> rule.relations(torch.tensor([0]), torch.float32).negative
        tensor([[False, False,  True]])
    """
    check_number("threshold", threshold, low=-1.0, high=1.0)
    rows = torch.nn.functional.normalize(_floats("features", features, (2,)), dim=1)
    row_labels = None if labels is None else _labels("labels", labels)
    if columns is None:
        if column_labels is not None:
            raise ValueError("column_labels need columns; got column_labels alone")
        layout = Layout.one_view(rows.shape[0], include_self)
        return FeaturePairs(layout, rows, rows, threshold, row_labels, row_labels, overlap)
    if include_self:
        raise ValueError("include_self is for rows against each other; got columns as well")
    others = torch.nn.functional.normalize(_floats("columns", columns, (2,)), dim=1).to(rows.dtype)
    _check_width("columns", others, rows)
    other_labels = None if column_labels is None else _labels("column_labels", column_labels)
    layout = Layout.queue(rows.shape[0], others.shape[0])
    return FeaturePairs(layout, rows, others, threshold, row_labels, other_labels, overlap)


def gaussian_pairs(metadata: Tensor, bandwidth: float, *, columns: Tensor | None = None) -> GaussianPairs:
    """Positives weigh ``exp(-|y_i - y_k|^2 / (2 bandwidth^2))``.

    Args:
        metadata: (N,) or (N, K) real numbers y, e.g. ages.
        bandwidth: sigma > 0, in the unit of ``metadata``.
        columns: (M,) or (M, K) metadata of the columns; None for rows against each other (never against themselves).

    Returns:
        The rule.

    Raises:
        ValueError: for shapes, NaN or infinite metadata, or a bandwidth that is not positive.
        TypeError: for metadata that are no floats.

    Example:
        >>> rule = gaussian_pairs(torch.tensor([60.0, 65.0]), bandwidth=5.0)
        >>> rule.relations(torch.tensor([0]), torch.float32).positive  # e^-1/2
        tensor([[1.0000, 0.6065]])
    """
    check_number("bandwidth", bandwidth, low=0.0, open_low=True)
    rows = _finite("metadata", _floats("metadata", metadata, (1, 2)))
    centre = rows.mean(0)  # only differences count, and small numbers cancel less
    scale = bandwidth * math.sqrt(2)
    scaled = (rows - centre) / scale
    if columns is None:
        return GaussianPairs(Layout.one_view(rows.shape[0]), scaled, scaled)
    others = _finite("columns", _floats("columns", columns, (1, 2)))
    _check_width("columns", others, rows)
    return GaussianPairs(Layout.queue(rows.shape[0], others.shape[0]), scaled, (others - centre) / scale)


def _labels(name: str, labels: Tensor) -> Tensor:
    """(N,) int64."""
    if not isinstance(labels, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor; got {type(labels).__name__}")
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers; got {labels.dtype}")
    if labels.dim() != 1:
        raise ValueError(f"{name} must have shape (N,); got {tuple(labels.shape)}")
    return labels.long()


def _floats(name: str, x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """(N, K) without a gradient, in fp32 or wider."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor; got {type(x).__name__}")
    if x.dtype not in FLOATS:
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64; got {x.dtype}")
    if x.dim() not in dims:
        raise ValueError(f"{name} must have {' or '.join(map(str, dims))} dimensions; got shape {tuple(x.shape)}")
    wide = x.detach() if x.dtype == torch.float64 else x.detach().float()
    return wide.reshape(x.shape[0], -1)


def _finite(name: str, x: Tensor) -> Tensor:
    """x in the widest dtype, checked where looking is free."""
    if values_are_free(x) and not bool(torch.isfinite(x).all()):
        row = int((~torch.isfinite(x)).any(dim=1).nonzero()[0])
        raise ValueError(f"{name} must be finite; got NaN or infinite values at row {row}")
    return x.to(wide_dtype(x.device))


def _check_width(name: str, columns: Tensor, rows: Tensor) -> None:
    """As many numbers per column as per row."""
    if columns.shape[1] != rows.shape[1]:
        raise ValueError(f"{name} must have {rows.shape[1]} numbers per column, as the rows; got {columns.shape[1]}")
