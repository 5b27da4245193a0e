"""Figures: labelled axes, what was measured at the right place, and no trace in pyplot."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from ecgloss.evaluate import Estimate, ResultRow, figures

NAN = math.nan
RNG = np.random.default_rng(0)
Z = RNG.normal(size=(12, 5))
RISK = np.where(np.arange(12) % 3 == 0, NAN, np.linspace(0.01, 0.3, 12))
BEAT = np.sin(np.linspace(0, 60, 300))
HISTORY = [{"step": i, "loss": 5.0 - 0.01 * i, "contrastive": 4.0, "alignment": None} for i in range(200)]
ROWS = [
    ResultRow("random", "auroc", "50", Estimate(0.6, 0.5, 0.7)),
    ResultRow("CLEF", "auroc", "50", Estimate(0.8, 0.75, 0.85)),
    ResultRow("CLEF", "f1", "all", Estimate(0.4, NAN, NAN)),
    ResultRow("random", "f1", "all", Estimate(NAN, NAN, NAN)),
]

CASES = {
    "loss": lambda: figures.loss_curves({"CLEF": HISTORY, "SimCLR": HISTORY[:1]}),
    "loss without methods in common": lambda: figures.loss_curves({"CLEF": HISTORY, "empty": []}),
    "loss that is not finite": lambda: figures.loss_curves({"CLEF": [{"step": 0, "loss": NAN}]}),
    "views": lambda: figures.views(BEAT, BEAT, BEAT, 100.0, "I", "I"),
    "views of two leads": lambda: figures.views([BEAT, 2 * BEAT], BEAT[None], BEAT, 100.0, "I", "V6", unit="SD"),
    "views of a flat and a missing signal": lambda: figures.views(0 * BEAT, NAN * BEAT, BEAT, 100.0, "I", "I"),
    "views of an artefact": lambda: figures.views(900 * BEAT, BEAT, BEAT, 100.0, "I", "I"),
    "map": lambda: figures.embedding_map(Z, RISK),
    "map without risks": lambda: figures.embedding_map(Z, np.full(12, NAN)),
    "map of one risk": lambda: figures.embedding_map(Z, np.full(12, 0.1)),
    "map of two recordings": lambda: figures.embedding_map(Z[:2], RISK[:2]),
    "map of a collapsed encoder": lambda: figures.embedding_map(np.full((12, 5), 0.1), RISK),
    "map of few collapsed": lambda: figures.embedding_map(np.ones((3, 5)), RISK[:3]),
    "similarity": lambda: figures.similarity_vs_risk(Z, RISK, 0, n_pairs=500),
    "similarity of three": lambda: figures.similarity_vs_risk(Z[:5], RISK[:5], 0, n_pairs=4),
    "similarity of equal risks": lambda: figures.similarity_vs_risk(Z, np.full(12, 0.1), 0, n_pairs=500),
    "similarity of a collapsed encoder": lambda: figures.similarity_vs_risk(np.zeros((12, 5)), RISK, 0, n_pairs=500),
    "bars": lambda: figures.probe_table_bars(ROWS),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_figures_have_labelled_axes_and_can_be_drawn(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would stand in every report; deprecations are not shown
        warnings.simplefilter("ignore", DeprecationWarning)
        figure = CASES[name]()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    assert isinstance(figure, Figure)
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert any(axes.get_xlabel() for axes in figure.axes)
    assert any(axes.get_ylabel() or len(axes.get_yticklabels()) for axes in figure.axes)


def test_pyplot_knows_nothing_of_the_figures():
    before = (pyplot.get_fignums(), matplotlib.get_backend(), dict(matplotlib.rcParams))
    for make in CASES.values():
        make()
    assert (pyplot.get_fignums(), matplotlib.get_backend(), dict(matplotlib.rcParams)) == before


@pytest.mark.slow
@pytest.mark.slow
def test_drawing_does_not_import_pyplot():
    program = (
        "import sys, io, numpy as np; from ecgloss.evaluate import figures\n"
        "z = np.random.default_rng(0).normal(size=(12, 4))\n"
        "figures.embedding_map(z, z[:, 0]).savefig(io.BytesIO())\n"
        "figures.similarity_vs_risk(z, z[:, 0], 0).savefig(io.BytesIO())\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_loss_value_is_drawn_with_its_term_and_name():
    figure = figures.loss_curves({"CLEF": HISTORY, "SimCLR": [{"step": 0, "loss": 2.0}, {"step": 9, "loss": 1.0}]})
    assert [axes.get_title() for axes in figure.axes] == ["Loss", "Contrastive term"]
    short = figure.axes[0].lines[-1]
    assert (short.get_label(), short.get_xydata().tolist()) == ("SimCLR", [[0.0, 2.0], [9.0, 1.0]])
    assert figure.axes[0].lines[0].get_xydata()[150].tolist() == [150.0, 3.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["CLEF", "SimCLR"]


def test_an_ecg_is_drawn_over_seconds_in_its_unit_and_no_longer_than_ten():
    figure = figures.views(np.zeros(2000), np.ones(2000), np.zeros(2000), 100.0, "II", "V1")
    x, y = figure.axes[1].lines[0].get_data()
    assert (x[1] - x[0], len(x), set(y)) == (0.01, 1000, {1.0})
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Recording, lead II",
        "View 1, lead II",
        "View 2, lead V1",
    ]
    assert {axes.get_ylabel() for axes in figure.axes} == {"Amplitude (mV)"}
    assert figure.axes[2].get_xlabel() == "Time (s)"


def test_recordings_without_a_risk_are_grey_and_the_others_keep_theirs():
    unknown, known = figures.embedding_map(Z, RISK).axes[0].collections
    assert len(unknown.get_offsets()) == np.isnan(RISK).sum()
    np.testing.assert_array_equal(known.get_array(), RISK[np.isfinite(RISK)])


def test_the_map_separates_what_is_far_apart_and_repeats_with_its_seed():
    z = np.concatenate([RNG.normal(size=(20, 8)), 50 + RNG.normal(size=(20, 8))])
    for rows in (np.arange(40), np.r_[:4, 20:24]):  # t-SNE, and PCA for few
        maps = [figures.embedding_map(z[rows], rows * 1.0).axes[0] for _ in range(2)]
        first, again = (np.asarray(axes.collections[0].get_offsets()) for axes in maps)
        np.testing.assert_array_equal(first, again)
        side = rows < 20
        between = np.linalg.norm(first[side].mean(0) - first[~side].mean(0))
        assert between > 2 * max(first[side].std(), first[~side].std())


def test_similarity_is_the_cosine_of_different_recordings():
    z = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    figure = figures.similarity_vs_risk(z, [0.0, 0.1, 1.0], 0, n_pairs=2000)
    middle = figure.axes[0].lines[0]
    # Pairs: (0, 1) is parallel and 0.1 apart, the other two are orthogonal and 0.9 and 1.0 apart.
    found = {(round(x, 6), round(y, 6)) for x, y in middle.get_xydata()}
    assert found == {(0.1, 1.0), (0.9, 0.0), (1.0, 0.0)}
    assert "2,000 random pairs of 3 recordings" in figure.axes[0].get_title()


def test_points_and_intervals_are_at_their_values():
    panels = figures.probe_table_bars(ROWS).axes
    assert [axes.get_xlabel() for axes in panels] == ["AUROC", "F1"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["50 labels", "all labels"]
    drawn = [line.get_xdata() for line in panels[0].lines]
    assert [0.5, 0.7] in [list(x) for x in drawn]
    assert [0.8] in [list(x) for x in drawn]
    assert len(panels[1].lines) == 2  # two values without intervals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.loss_curves({"CLEF": []}), "histories: no training step"),
        (lambda: figures.views(BEAT, BEAT, BEAT, 0.0, "I", "I"), "sampling_rate: must be positive"),
        (lambda: figures.views(BEAT, [BEAT, BEAT], BEAT, 1.0, "I", "I"), "view1: need"),
        (lambda: figures.views(BEAT, BEAT, [], 1.0, "I", "I"), "view2: need"),
        (lambda: figures.embedding_map(Z[:1], RISK[:1]), "embeddings: need shape"),
        (lambda: figures.embedding_map(np.where(Z > 2, NAN, Z - NAN), RISK), "embeddings: NaN or infinite in 12 rows"),
        (lambda: figures.embedding_map(Z, RISK[:3]), r"risk: need shape \(12,\), got \(3,\)"),
        (lambda: figures.similarity_vs_risk(Z, np.full(12, NAN), 0), "at least 3 recordings .* got 0"),
        (lambda: figures.probe_table_bars([]), "rows: no result"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_names_it(call, message):
    with pytest.raises(ValueError, match=message):
        call()
