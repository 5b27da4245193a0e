"""Colours, axes and line styles that the figures share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.evaluate.resampling import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#9A9A9A"
_MARKERS = "osD^vP"  # one fewer than colours: 42 methods differ in one or the other
_WIDTH = 8.0  # inches: about the width of a page
_PAPER_MINOR, _PAPER_MAJOR = "#F6DEDE", "#E9B3B3"


def new_figure(height: float) -> Figure:
    """A figure of page width and the given height in inches; pyplot does not register it."""
    figure: Figure = require("matplotlib.figure", "eval").Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure


def tidy(axes: Axes) -> None:
    """Remove the frame lines at the top and on the right, which carry no numbers."""
    axes.spines[["top", "right"]].set_visible(False)


def curve(axes: Axes, points: Floats, name: str, index: int) -> None:
    """Points (n, 2) of step and value as a thin line, their running mean over 2 % of the run as a thick one."""
    colour = COLOURS[index % len(COLOURS)]
    step, value = points.T
    window = max(1, len(value) // 50)
    if window > 1:
        axes.plot(step, value, color=colour, linewidth=0.5, alpha=0.3)
        value = np.convolve(value, np.full(window, 1.0 / window), mode="valid")
        step = np.convolve(step, np.full(window, 1.0 / window), mode="valid")
    marker = _MARKERS[index % len(_MARKERS)]
    axes.plot(step, value, color=colour, linewidth=1.6, label=name, marker=marker, markersize=4, markevery=(0.05, 0.2))


def ecg_paper(axes: Axes, seconds: float, values: Floats, unit: str) -> None:
    """Grid of ECG paper: small squares of 0.04 s and 0.1 mV, large ones of 0.2 s and 0.5 mV."""
    locator = require("matplotlib.ticker", "eval").MultipleLocator
    axes.set_xlim(0.0, seconds)
    axes.xaxis.set_major_locator(locator(0.2 if seconds <= 3.0 else 1.0))
    fine, coarse = np.arange(0.0, seconds, 0.04), np.arange(0.0, seconds, 0.2)
    axes.vlines(fine, 0, 1, transform=axes.get_xaxis_transform(), color=_PAPER_MINOR, linewidth=0.4, zorder=0)
    axes.vlines(coarse, 0, 1, transform=axes.get_xaxis_transform(), color=_PAPER_MAJOR, linewidth=0.6, zorder=1)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    if unit == "mV":
        axes.set_ylim(0.5 * math.floor(2 * low - 0.2), 0.5 * math.ceil(2 * high + 0.2))
    large = 0.5 if unit == "mV" else 1.0
    if high - low <= 10 * large:  # beyond that (artefacts) the squares would merge
        axes.yaxis.set_major_locator(locator(large))
        axes.yaxis.set_minor_locator(locator(large / 5))
    axes.grid(axis="y", which="minor", color=_PAPER_MINOR, linewidth=0.4, zorder=0)
    axes.grid(axis="y", which="major", color=_PAPER_MAJOR, linewidth=0.6, zorder=1)
    axes.set_axisbelow(True)
    axes.tick_params(which="minor", length=0)


def binned_quartiles(axes: Axes, x: Floats, y: Floats, n_bins: int = 10) -> None:
    """Median and quartiles of y in bins with equally many points."""
    bins = np.array_split(np.argsort(x, kind="stable"), min(n_bins, len(x)))
    centre = np.array([np.median(x[rows]) for rows in bins])
    low, middle, high = np.array([np.percentile(y[rows], [25, 50, 75]) for rows in bins]).T
    axes.plot(centre, middle, color=COLOURS[1], marker="o", markersize=4, label="Median")
    axes.plot(centre, low, color=COLOURS[1], linestyle="--", label="Quartiles")
    axes.plot(centre, high, color=COLOURS[1], linestyle="--")


def interval(axes: Axes, estimate: Estimate, y: float, name: str, index: int) -> None:
    """A value with its interval, if it has one."""
    colour = COLOURS[index % len(COLOURS)]
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        axes.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=2.0, solid_capstyle="butt")
    marker = _MARKERS[index % len(_MARKERS)]
    axes.plot([estimate.value], [y], color=colour, marker=marker, markersize=6, linestyle="", label=name)


def legend_below(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, each name once, in order."""
    handles = {
        str(line.get_label()): line
        for axes in panels
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
