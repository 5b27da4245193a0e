"""plots.pairs draws the matrices of the loss as they are, in the order it says, and leaves no trace in pyplot."""

from __future__ import annotations

import io
import sys
import warnings

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

import ecgloss
import ecgloss.functional as F
from ecgloss._extras import MissingExtraError

NAN = float("nan")
RISK = torch.tensor([0.30, NAN, 0.02, 0.11, NAN, 0.05])
BY_RISK = [2, 5, 3, 0, 1, 4]
COUNTS = torch.tensor([0, 6, 0, 2, 1, 0])


@pytest.fixture
def views(rng):
    return torch.randn(2, 6, 4, generator=rng).unbind()


def drawn(figure: Figure, panel: int) -> np.ndarray:
    (image,) = figure.axes[panel].images
    return np.asarray(image.get_array())


def test_weights_and_similarities_are_those_of_the_loss_in_order_of_risk(views):
    figure = ecgloss.plots.pairs(*views, RISK, COUNTS, n_attributes=6, alpha=0.3, reliability="revert")
    weights = F.risk_weights(RISK, COUNTS, n_attributes=6, alpha=0.3, reliability="revert")
    np.testing.assert_array_equal(drawn(figure, 0), weights[BY_RISK][:, BY_RISK])
    rows = BY_RISK + [6 + sample for sample in BY_RISK]
    np.testing.assert_array_equal(drawn(figure, 1), F.similarity_matrix(torch.cat(views))[rows][:, rows])


def test_recordings_stay_where_they_are_on_request(views):
    figure = ecgloss.plots.pairs(*views, RISK, order=None)
    np.testing.assert_array_equal(drawn(figure, 0), F.risk_weights(RISK))
    np.testing.assert_array_equal(drawn(figure, 1), F.similarity_matrix(torch.cat(views)))
    assert figure.axes[0].get_xlabel() == "Recording"


def test_several_scores_are_ordered_by_the_first_and_unknown_in_any(views):
    risk = torch.stack([torch.arange(6.0).flip(0), torch.tensor([0, 0, NAN, 0, 0, 0])], 1)
    figure = ecgloss.plots.pairs(*views, risk)
    samples = [5, 4, 3, 1, 0, 2]
    np.testing.assert_array_equal(drawn(figure, 0), F.risk_weights(risk)[samples][:, samples])


def test_the_histogram_counts_every_pair_once_and_no_diagonal(views):
    axes = ecgloss.plots.pairs(*views, torch.tensor([0.0, 0, 0, 0, 0, 0.1])).axes[2]
    counts = {round(bar.get_x(), 3): bar.get_height() for bar in axes.patches if bar.get_height()}
    # 10 pairs of equal risk weigh alpha = 0.2; the 5 with the one at high risk weigh 1 / (1 + 1e-4), in the last bin
    assert counts == {0.2: 10, 0.975: 5}
    (mean,) = axes.lines
    expected = F.risk_weights(torch.tensor([0.0, 0, 0, 0, 0, 0.1])).sum() / 30
    assert mean.get_xdata()[0] == pytest.approx(float(expected))


def test_axes_and_colour_bars_say_what_they_show(views):
    figure = ecgloss.plots.pairs(*views, RISK)
    assert figure.get_suptitle() == "6 recordings in two views, 2 without a known risk"
    assert [axes.get_title() for axes in figure.axes] == ["Weights W", "Similarities S", "Weights off the diagonal"]
    assert figure.axes[0].get_xlabel() == "Recording, by increasing risk (unknown last)"
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["View 1", "View 2"]
    assert [axes.child_axes[0].get_ylabel() for axes in figure.axes[:2]] == ["Weight", "Cosine similarity"]
    assert (figure.axes[2].get_xlabel(), figure.axes[2].get_ylabel()) == ("Weight", "Pairs of recordings")
    assert ecgloss.plots.pairs(*views, torch.rand(6)).get_suptitle() == "6 recordings in two views"


CASES = {
    "unknown risks": lambda a, b: (a, b, RISK),
    "no risk known": lambda a, b: (a, b, torch.full((6,), NAN)),
    "equal risks": lambda a, b: (a, b, torch.ones(6)),
    "whole numbers as risks": lambda a, b: (a, b, torch.arange(6)),
    "parallel rows": lambda a, b: (torch.ones_like(a), torch.ones_like(b), RISK),
    "half precision, with gradient": lambda a, b: (a.bfloat16().requires_grad_(), b.bfloat16(), RISK),
    "two recordings": lambda a, b: (a[:2], b[:2], RISK[2:4]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_odd_batches_can_be_drawn(case, views):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        buffer = io.BytesIO()
        ecgloss.plots.pairs(*CASES[case](*views)).savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_pyplot_knows_nothing_of_the_figure(views):
    before = (pyplot.get_fignums(), matplotlib.get_backend(), dict(matplotlib.rcParams))
    ecgloss.plots.pairs(*views, RISK)
    assert (pyplot.get_fignums(), matplotlib.get_backend(), dict(matplotlib.rcParams)) == before


def test_a_figure_of_the_caller_is_drawn_in(views):
    mine = Figure()
    assert ecgloss.plots.pairs(*views, RISK, figure=mine) is mine
    assert len(mine.axes) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: ((torch.zeros(1025, 1), torch.zeros(1025, 1), torch.zeros(1025)), {}), "at most 1,024 .* N x N"),
        (lambda a, b: ((a, b, RISK[:5]), {}), r"risk must have shape .* got \(5,\)"),
        (lambda a, b: ((a, b, RISK), {"nan_risk": "raise"}), "risk is NaN for 2 samples: 1, 4"),
        (lambda a, b: ((a, b, RISK), {"alpha": 2.0}), "alpha must lie in"),
        (lambda a, b: ((a, b, RISK), {"order": "age"}), "order must be one of 'risk', None; got 'age'"),
        (lambda a, b: ((a, b, RISK, COUNTS), {"n_attributes": 5}), r"missing must hold counts in \[0, n_attributes"),
        (lambda a, b: ((a, b / 0.0, RISK), {}), "z2 has NaN or infinite values in 6 rows"),
        (lambda a, b: ((a, b[:5], RISK), {}), "z1 and z2 must have the same shape"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_names_it(call, message, views):
    arguments, options = call(*views)
    with pytest.raises(ValueError, match=message):
        ecgloss.plots.pairs(*arguments, **options)


def test_without_matplotlib_the_message_says_what_to_install(views, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"the extra eval brings; run: pip install 'scikit-learn>"):
        ecgloss.plots.pairs(*views, RISK)
