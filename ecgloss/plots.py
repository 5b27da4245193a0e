"""Figures of what a loss sees: one small batch, or features. (Those of a run are in :mod:`ecgloss.evaluate.figures`.)

Each function returns a matplotlib ``Figure`` that belongs to the caller alone: no pyplot, nothing stays open.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgloss import _validate, functional
from ecgloss._extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

ORDERS = ("risk", None)
_AT_MOST = 1024  # samples: S of both views then takes 32 MiB in fp64, and no screen shows more rows
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # of Okabe and Ito (2008), told apart with any colour vision
_BLUE, _ORANGE = _COLOURS[:2]


def pairs(
    z1: Tensor,
    z2: Tensor,
    risk: Tensor,
    missing: Tensor | None = None,
    *,
    alpha: float = 0.2,
    risk_scale: float | str = "minmax",
    risk_power: int = 2,
    reliability: str | None = "multiply",
    nan_risk: str = "neutral",
    n_attributes: int | None = None,
    order: str | None = "risk",
    figure: Figure | None = None,
) -> Figure:
    """What CLEF sees in a batch: weights W of its pairs, cosine similarities S of its rows, and a histogram of W.

    A batch that is well aligned shows the picture of W in reverse in each quarter of S: unlike risks, low similarity.
    A line separates recordings of known risk from those without. S is coloured over its own range, because the rows
    of an untrained encoder are nearly parallel; W over [0, 1].

    Args:
        z1: (B, D) embeddings of the first views, B at most 1,024; any float dtype and device.
        z2: (B, D) embeddings of the second views.
        risk: (B,) or (B, K) risk scores, NaN = unknown.
        missing: (B,) fraction of missing risk inputs, or counts with ``n_attributes``.
        alpha: As all options down to ``n_attributes``: see :func:`ecgloss.functional.risk_weights`.
        risk_scale: ``"minmax"`` or a fixed positive scale.
        risk_power: q, 2 or 1.
        reliability: ``"multiply"``, ``"revert"`` or None.
        nan_risk: ``"neutral"``, ``"zero"`` or ``"raise"``.
        n_attributes: What integer ``missing`` is counted out of.
        order: ``"risk"``: by increasing risk (of several scores, the first), unknown risks last. None: as given.
        figure: Figure to draw in; None: a new one.

    Returns:
        The figure, its axes are the three panels; the colour bars of the first two are axes within them.

    Raises:
        ValueError: for shapes, ranges or options that are not accepted, values that are not finite, and B > 1,024.
        TypeError: for wrong types or dtypes.
        MissingExtraError: if matplotlib is not installed.

    Example:
        >>> z, risk = torch.eye(4), torch.tensor([0.02, 0.11, float("nan"), 0.05])
        >>> figure = pairs(z, z, risk)
        >>> [axes.get_title() for axes in figure.axes]
        ['Weights W', 'Similarities S', 'Weights off the diagonal']
        >>> figure.get_suptitle()
        '4 recordings in two views, 1 without a known risk'
        >>> figure.savefig("pairs.png")  # doctest: +SKIP
    """
    _validate.check_option("order", order, ORDERS)
    _validate.check_views(z1, z2, check_finite=False)
    if len(z1) > _AT_MOST:
        raise ValueError(
            f"z1 must hold at most {_AT_MOST:,} samples, because a plot stores the N x N matrices; got {len(z1):,}"
        )
    _validate.check_views(z1, z2, check_finite=True)
    _validate.check_risk(risk, z1, nan_risk=nan_risk)
    if missing is not None:
        _validate.check_missing(missing, z1, n_attributes)
    weights = functional.risk_weights(
        risk,
        missing,
        alpha=alpha,
        risk_scale=risk_scale,
        risk_power=risk_power,
        reliability=reliability,
        nan_risk=nan_risk,
        n_attributes=n_attributes,
    )
    similarities = functional.similarity_matrix(torch.cat([z1, z2]).detach())
    samples, n_known = _sorted(risk, order)
    rows = np.concatenate([samples, samples + len(samples)])
    figure = figure or require("matplotlib.figure", "eval").Figure(figsize=(12.0, 4.0), layout="constrained")
    panels = figure.subplots(1, 3, width_ratios=[1.0, 1.0, 0.9])
    w, s = (np.asarray(x.double().cpu()) for x in (weights, similarities))
    borders = [n_known] if order == "risk" and 0 < n_known < len(samples) else []
    _draw_weights(panels[0], w[np.ix_(samples, samples)], borders, order)
    _draw_similarities(panels[1], s[np.ix_(rows, rows)], borders, order)
    _draw_histogram(panels[2], w[np.triu_indices(len(w), 1)])
    unknown = f", {len(samples) - n_known:,} without a known risk" if n_known < len(samples) else ""
    figure.suptitle(f"{len(samples):,} recordings in two views{unknown}")
    return figure


def thresholds(
    features: Tensor | Mapping[str, Tensor], *, mark: float | None = 0.25, figure: Figure | None = None
) -> Figure:
    """Which share of recordings is alike, over the threshold delta of PhysioCLR on cosines of their features.

    At delta, an anchor has on average the drawn share of all other recordings as positives, and the rest as negatives.

    Args:
        features: (n, F) scaled features, n at most 2,048, rows of NaN left out; or several by name.
        mark: A threshold to mark; None: none.
        figure: Figure to draw in; None: a new one.

    Returns:
        The figure.

    Raises:
        ValueError: for other shapes, or fewer than two recordings with features.
        MissingExtraError: if matplotlib is not installed.

    Example:
        >>> figure = thresholds(torch.tensor([[1.0, 0.0], [1.0, 0.2], [-1.0, 0.1]]))
        >>> [line.get_label() for line in figure.axes[0].lines][:2]
        ['positives', 'negatives']
    """
    named = {"": features} if isinstance(features, Tensor) else features
    figure = figure or require("matplotlib.figure", "eval").Figure(figsize=(8.0, 4.0), layout="constrained")
    axes = figure.subplots()
    deltas = np.linspace(-0.5, 0.75, 126)
    for colour, (name, x) in zip(cycle(_COLOURS), named.items()):
        share = alike(x, deltas)
        text = f"{name}: " if name else ""
        axes.plot(deltas, share, color=colour, label=f"{text}positives")
        axes.plot(deltas, 1 - share, color=colour, linestyle=":", label=f"{text}negatives")
    if mark is not None:
        axes.axvline(mark, color="#9A9A9A", linewidth=1.0)
    axes.set(xlabel="Threshold of the cosine", ylabel="Share of the other recordings", xlim=(-0.5, 0.75), ylim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", frameon=False, ncols=max(2, len(named)))
    return figure


def alike(features: Tensor, deltas: Floats) -> Floats:
    """Share of the pairs of recordings whose cosine is at least delta, one per delta.

    Raises:
        ValueError: for other shapes, or fewer than two recordings with features.

    Example:
        >>> alike(torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]]), np.array([0.5])).round(2).tolist()
        [0.33]
    """
    if features.dim() != 2 or len(features) > 2 * _AT_MOST:
        raise ValueError(f"features must be (n, F) with n at most {2 * _AT_MOST:,}; got {tuple(features.shape)}")
    known = torch.nn.functional.normalize(features[~features.isnan().any(1)].double(), dim=1)
    if len(known) < 2:
        raise ValueError(f"features must be known for two recordings; got {len(known)}")
    first, second = torch.triu_indices(len(known), len(known), 1)
    cosines = np.sort((known @ known.T)[first, second].cpu().numpy())
    return np.asarray(1 - np.searchsorted(cosines, deltas) / len(cosines))


def _sorted(risk: Tensor, order: str | None) -> tuple[NDArray[np.int64], int]:
    """Samples in the order they are drawn in, and how many have a risk."""
    values = np.asarray(risk.double().cpu()).reshape(len(risk), -1)
    unknown = np.isnan(values).any(axis=1)
    samples = np.lexsort([values[:, 0], unknown]) if order == "risk" else np.arange(len(values))
    return samples.astype(np.int64), int((~unknown).sum())


def _draw_weights(axes: Axes, w: Floats, borders: list[int], order: str | None) -> None:
    image = axes.imshow(w, vmin=0.0, vmax=1.0, cmap="viridis", interpolation="nearest")
    _bar(axes, image, "Weight")
    label = "Recording" + (", by increasing risk" if order == "risk" else "") + (" (unknown last)" if borders else "")
    axes.set(title="Weights W", xlabel=label, ylabel=label)
    axes.locator_params(integer=True)
    _lines(axes, borders, "--")


def _draw_similarities(axes: Axes, s: Floats, borders: list[int], order: str | None) -> None:
    image = axes.imshow(s, cmap="cividis", interpolation="nearest")
    _bar(axes, image, "Cosine similarity")
    b = len(s) // 2
    middles, views = [(b - 1) / 2, b + (b - 1) / 2], ["View 1", "View 2"]
    label = "Row" + (", by increasing risk" if order == "risk" else "") + (" (unknown last)" if borders else "")
    axes.set(title="Similarities S", xlabel=label, ylabel=label)
    axes.set_xticks(middles, views)
    axes.set_yticks(middles, views, rotation=90, va="center")
    axes.tick_params(length=0)
    _lines(axes, [b], "-")
    _lines(axes, [view + border for border in borders for view in (0, b)], "--")


def _draw_histogram(axes: Axes, w: Floats) -> None:
    axes.hist(w, bins=np.linspace(0.0, 1.0, 41), color=_BLUE)  # type: ignore[arg-type]
    axes.axvline(float(w.mean()), color=_ORANGE, linestyle="--", label=f"Mean {w.mean():.2f}")
    axes.set(title="Weights off the diagonal", xlabel="Weight", ylabel="Pairs of recordings", xlim=(0.0, 1.0))
    axes.locator_params(axis="y", integer=True)
    axes.set_box_aspect(1)  # as high as the matrices
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _bar(axes: Axes, image: object, label: str) -> None:
    """A colour bar exactly as high as its panel, which no share of the figure would be."""
    axes.figure.colorbar(image, cax=axes.inset_axes((1.03, 0.0, 0.05, 1.0)), label=label)  # type: ignore[arg-type]


def _lines(axes: Axes, borders: list[int], style: str) -> None:
    """Borders between groups of rows, before row ``border``."""
    for border in borders:
        axes.axhline(border - 0.5, color="white", linewidth=1.0, linestyle=style)
        axes.axvline(border - 0.5, color="white", linewidth=1.0, linestyle=style)
