"""Figures of a clinical score: its distribution, and the weights of pairs that follow from it."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecgloss.evaluate.figure_style import COLOURS, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ecgloss.pairs.look import WeightsLook
    from ecgloss.risk.missing import ClinicalRisk

_COLUMNS = 110  # characters of small type across a page


def risk_and_weights(found: ClinicalRisk, look: WeightsLook, n_batch: int) -> Figure:
    """Histograms of a score, by the model in use, and of the weights W of the pairs of one batch.

    Args:
        found: The scores.
        look: What the weights of a batch show.
        n_batch: Recordings in the batch.

    Returns:
        The figure; its title is the warning if the weights are degenerate.
    """
    figure = new_figure(3.2)
    left, right = figure.subplots(1, 2)
    known = np.isfinite(found.risk)
    groups: list[NDArray[np.float64]] = []
    names = []
    for k, model in enumerate(found.models):
        values = found.risk[known & (found.model == k)]
        if len(values):
            groups.append(values)
            names.append(f"{model.title} ({len(values):,})")
    if groups:
        left.hist(groups, bins=40, stacked=True, color=COLOURS[: len(groups)], label=names)
        left.legend(frameon=False, fontsize="small")
    left.set_xlabel("score")
    left.set_ylabel("patients")
    left.set_title(f"{int(known.sum()):,} of {len(found):,} patients have a score", fontsize="medium")
    right.hist(look.weights, bins=np.linspace(0.0, 1.0, 51).tolist(), color=COLOURS[0])
    right.set_xlabel("weight W of a pair")
    right.set_ylabel("pairs")
    right.set_title(f"W of {n_batch:,} patients", fontsize="medium")
    for axes in (left, right):
        tidy(axes)
    warning = look.sentences()
    if warning:
        lines = [line for sentence in warning for line in wrap(sentence, _COLUMNS)]
        figure.suptitle("\n".join(lines), fontsize="small", color=COLOURS[1])
    return figure
