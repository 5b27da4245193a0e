"""Figures of a report. Each function returns a matplotlib ``Figure`` that belongs to the caller alone.

No pyplot: nothing global is created, no backend is chosen, nothing stays open. Colours are those of Okabe and
Ito (2008) and the viridis map, which readers with any colour vision can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgloss._extras import require
from ecgloss.evaluate import figure_style as style
from ecgloss.evaluate.metrics import METRICS, spearman
from ecgloss.evaluate.tables import ResultRow, metric_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_NOT_TERMS = frozenset(  # of a line of metrics.jsonl
    {"step", "epoch", "lr", "samples_per_second", "waited_for_data", "validation_loss", "gradient_norm"}
)
_MONITOR = "monitor_"  # how those begin that are no terms either
_TSNE_LIMIT = 3000  # above this many recordings t-SNE takes minutes
_TSNE_AT_LEAST = 10  # below this many, neighbourhoods mean nothing
_ECG_SECONDS = 10.0


def loss_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Training loss and its terms against the step, one line per method.

    Args:
        histories: Per method, the lines of its ``metrics.jsonl``: ``step``, ``loss`` and, where the loss has terms,
            their values by name (``None`` or absent otherwise). Epoch, learning rate and speed are not drawn.

    Returns:
        One panel per term that occurs; thin lines are single steps, thick lines a running mean.

    Raises:
        ValueError: if there is no record.

    Example:
        >>> figure = loss_curves({"SimCLR": [{"step": 0, "loss": 4.8}, {"step": 1, "loss": 4.1}]})
        >>> figure.axes[0].get_xlabel()
        'Step'
    """
    if not any(len(history) for history in histories.values()):
        raise ValueError("histories: no training step to draw")
    records = [record for history in histories.values() for record in history]
    occurring = {name: None for record in records for name, value in record.items() if value is not None}
    terms = [
        "loss",
        *(name for name in occurring if name not in _NOT_TERMS | {"loss"} and not name.startswith(_MONITOR)),
    ]
    figure = style.new_figure(3.4 if len(terms) < 3 else 3.0)
    panels = figure.subplots(1, len(terms), squeeze=False)[0]
    for axes, term in zip(panels, terms):
        for i, (name, history) in enumerate(histories.items()):
            points = [(r["step"], r[term]) for r in history if r.get(term) is not None and np.isfinite(r[term])]
            if points:
                style.curve(axes, np.array(points, dtype=np.float64), name, i)
        axes.set(title="Loss" if term == "loss" else f"{term.capitalize()} term", xlabel="Step")
        style.tidy(axes)
    panels[0].set_ylabel("Loss per batch")
    style.legend_below(figure, panels)
    return figure


def views(
    signal: ArrayLike,
    view1: ArrayLike,
    view2: ArrayLike,
    sampling_rate: float,
    lead1: str,
    lead2: str,
    *,
    unit: str = "mV",
) -> Figure:
    """An ECG and the two augmented views drawn from it, on the grid of ECG paper, at most the first 10 s.

    Args:
        signal: (samples,) the lead both views come from, or (2, samples) the two leads they come from.
        view1: (samples,) or (1, samples).
        view2: (samples,) or (1, samples).
        sampling_rate: Hz.
        lead1: Lead of the first view.
        lead2: Lead of the second view.
        unit: "mV", or e.g. "z-score" for standardised views.

    Raises:
        ValueError: if a shape or the sampling rate does not fit.

    Example:
        >>> beat = np.sin(np.linspace(0.0, 60.0, 2500))
        >>> len(views(beat, beat, beat, 250.0, "I", "I").axes)
        3
    """
    rows = [np.atleast_2d(np.asarray(values, dtype=np.float64)) for values in (signal, view1, view2)]
    if sampling_rate <= 0:
        raise ValueError(f"sampling_rate: must be positive, got {sampling_rate} Hz")
    for name, row, most in zip(("signal", "view1", "view2"), rows, (2, 1, 1)):
        if row.ndim != 2 or not 1 <= len(row) <= most or row.shape[1] == 0:
            raise ValueError(f"{name}: need (samples,) or (up to {most}, samples), got {np.shape(row)}")
    figure = style.new_figure(6.0)
    panels = figure.subplots(3, 1, sharex=True)
    sources = (lead1, lead2)[: len(rows[0])]
    titles = [f"Recording, lead {' and '.join(sources)}", f"View 1, lead {lead1}", f"View 2, lead {lead2}"]
    for axes, row, title in zip(panels, rows, titles):
        seconds = np.arange(row.shape[1]) / sampling_rate
        shown = seconds < _ECG_SECONDS
        for trace, lead, colour in zip(row, sources, ("black", style.COLOURS[0])):
            axes.plot(seconds[shown], trace[shown], color=colour, linewidth=0.8, zorder=3, label=lead)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_ylabel(f"Amplitude ({unit})")
        style.ecg_paper(axes, float(seconds[shown][-1]), row[:, shown], unit)
    if len(sources) == 2:
        panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    panels[-1].set_xlabel("Time (s)")
    return figure


def embedding_map(embeddings: ArrayLike, risk: ArrayLike, *, seed: int = 0, label: str = "Risk score") -> Figure:
    """Embeddings in two dimensions, coloured by risk, recordings without one in grey.

    t-SNE (van der Maaten and Hinton 2008) after PCA for 10 to 3,000 recordings, PCA alone otherwise. t-SNE
    shows neighbourhoods, not distances.

    Args:
        embeddings: (n, D) finite.
        risk: (n,), NaN where unknown.
        seed: Seed of PCA and t-SNE.
        label: Name of the colour bar.

    Raises:
        ValueError: if shapes do not fit, values are not finite, or n or D is below 2.
        MissingExtraError: if scikit-learn is not installed.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(8, 4))
        >>> embedding_map(z, np.arange(8.0)).axes[0].get_xlabel()
        'Principal component 1'
    """
    z, r = _embeddings(embeddings, risk)
    use_tsne = _TSNE_AT_LEAST <= len(z) <= _TSNE_LIMIT
    xy = _pca(z, min(50, *z.shape) if use_tsne else 2, seed)
    use_tsne = use_tsne and float(np.std(np.float32(xy[:, 0]))) > 0.0  # t-SNE of a single point ends the process
    if use_tsne:
        tsne = require("sklearn.manifold", "eval").TSNE
        xy = tsne(init="pca", perplexity=min(30.0, (len(z) - 1) / 3), random_state=seed).fit_transform(xy)
    known = np.isfinite(r)
    figure = style.new_figure(5.4)
    axes = figure.subplots()
    size = float(np.clip(6000 / len(z), 4, 40))
    if not known.all():
        x, y = xy[~known, :2].T
        axes.scatter(x, y, s=size, color=style.GREY, marker="x", linewidths=0.8, label="risk unknown")
        figure.legend(loc="outside lower center", frameon=False)
    if known.any():
        low, high = np.percentile(r[known], [2, 98])  # a few extreme patients must not swallow the scale
        x, y = xy[known, :2].T
        dots = axes.scatter(x, y, c=r[known], s=size, cmap="viridis", vmin=low, vmax=high, linewidths=0)
        figure.colorbar(dots, ax=axes, label=f"{label} (2nd to 98th percentile)", extend="both")
    kind = "t-SNE dimension" if use_tsne else "Principal component"
    axes.set(xlabel=f"{kind} 1", ylabel=f"{kind} 2")
    if use_tsne:
        axes.set(xticks=[], yticks=[])  # t-SNE coordinates have no unit
    style.tidy(axes)
    return figure


def similarity_vs_risk(
    embeddings: ArrayLike, risk: ArrayLike, seed: int, *, n_pairs: int = 20_000, label: str = "risk"
) -> Figure:
    """Cosine similarity of random pairs of recordings against the difference of their risks.

    Args:
        embeddings: (n, D) finite.
        risk: (n,), recordings with NaN are left out.
        seed: Seed of the pairs.
        n_pairs: Number of pairs, drawn with replacement.
        label: Name of the risk on the axis.

    Returns:
        Density of the pairs, median and quartiles in ten bins of equally many pairs, and Spearman's
        correlation, without an interval because the pairs share recordings.

    Raises:
        ValueError: if shapes do not fit, values are not finite, or fewer than 3 risks are known.

    Example:
        >>> r = np.linspace(0.0, 0.3, 50)
        >>> z = np.column_stack([np.cos(r), np.sin(r)])
        >>> similarity_vs_risk(z, r, seed=0).axes[0].get_title()
        'Spearman ρ = -1.00 over 20,000 random pairs of 50 recordings'
    """
    z, r = _embeddings(embeddings, risk)
    z, r = z[np.isfinite(r)], r[np.isfinite(r)]
    if len(r) < 3:
        raise ValueError(f"risk: at least 3 recordings with a known risk are needed, got {len(r)}")
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    rng = np.random.default_rng(seed)
    first = rng.integers(len(r), size=n_pairs)
    second = (first + rng.integers(1, len(r), size=n_pairs)) % len(r)  # never the recording itself
    difference = np.abs(r[first] - r[second])
    similarity = np.einsum("nd,nd->n", z[first], z[second])
    figure = style.new_figure(4.6)
    axes = figure.subplots()
    cells = axes.hexbin(difference, similarity, gridsize=45, bins="log", mincnt=1, cmap="Blues", linewidths=0.1)
    figure.colorbar(cells, ax=axes, label="Pairs per cell")
    style.binned_quartiles(axes, difference, similarity)
    rho = spearman(difference, similarity)
    axes.set(
        title=f"Spearman ρ = {rho:.2f} over {n_pairs:,} random pairs of {len(r):,} recordings",
        xlabel=f"Absolute difference of {label}",
        ylabel="Cosine similarity",
    )
    axes.legend(frameon=True, loc="lower right", framealpha=0.9)
    style.tidy(axes)
    return figure


def probe_table_bars(rows: Sequence[ResultRow]) -> Figure:
    """Probe results as points with their intervals: one panel per metric, one group per number of labels.

    Points instead of bars, because a bar from zero hides what lies between 0.5 and 1.

    Args:
        rows: Results; methods keep the order of their first appearance.

    Raises:
        ValueError: if there is no row.

    Example:
        >>> from ecgloss.evaluate import Estimate
        >>> probe_table_bars([ResultRow("CLEF", "auroc", "50", Estimate(0.8, 0.7, 0.9))]).axes[0].get_xlabel()
        'AUROC'
    """
    if not rows:
        raise ValueError("rows: no result to draw")
    methods = list(dict.fromkeys(row.method for row in rows))
    labels = list(dict.fromkeys(row.labels for row in rows))
    metrics = list(dict.fromkeys(row.metric for row in rows))
    step = 0.7 / len(methods)
    figure = style.new_figure(1.4 + 0.28 * len(labels) * (len(methods) + 1))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics):
        for row in (row for row in rows if row.metric == metric):
            i = methods.index(row.method)
            y = labels.index(row.labels) + (i - (len(methods) - 1) / 2) * step
            style.interval(axes, row.estimate, y, row.method, i)
        chance = METRICS[metric].chance if metric in METRICS else None
        if chance is not None:
            axes.axvline(chance, color=style.GREY, linestyle="--", linewidth=1, zorder=0)
        axes.set(xlabel=metric_name(metric), yticks=range(len(labels)), yticklabels=[f"{n} labels" for n in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        style.tidy(axes)
    style.legend_below(figure, panels)
    return figure


def _embeddings(embeddings: ArrayLike, risk: ArrayLike) -> tuple[Floats, Floats]:
    """Finite (n, D) embeddings and (n,) risks."""
    z, r = np.asarray(embeddings, dtype=np.float64), np.asarray(risk, dtype=np.float64)
    if z.ndim != 2 or min(z.shape) < 2:
        raise ValueError(f"embeddings: need shape (n, D) with n, D >= 2, got {z.shape}")
    if not np.isfinite(z).all():
        rows = np.flatnonzero(~np.isfinite(z).all(axis=1))
        raise ValueError(f"embeddings: NaN or infinite in {len(rows)} rows, the first are {rows[:5].tolist()}")
    if r.shape != (len(z),):
        raise ValueError(f"risk: need shape ({len(z)},), got {r.shape}")
    return z, r


def _pca(z: Floats, n_components: int, seed: int) -> Floats:
    """Leading principal components; zeros where a collapsed encoder gives all recordings one embedding."""
    if not np.ptp(z, axis=0).any():
        return np.zeros((len(z), n_components))
    pca = require("sklearn.decomposition", "eval").PCA
    return np.asarray(pca(n_components, random_state=seed).fit_transform(z), dtype=np.float64)
