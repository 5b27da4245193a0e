"""Metrics against pair counting, scikit-learn and SciPy; the registry against what a probe needs of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, r2_score, roc_auc_score
from sklearn.metrics import mean_absolute_error as sk_mae

from ecgloss.evaluate import METRICS, bootstrap, macro_auroc, macro_f1, mean_absolute_error, r2, spearman
from ecgloss.evaluate.metrics import main_metric, metrics_of
from ecgloss.evaluate.probe_data import KINDS


def counted_pairs(scores: np.ndarray, targets: np.ndarray) -> float:
    """The definition of the AUROC: the share of (positive, negative) pairs in order, ties one half."""
    wins = pairs = 0.0
    for s, y in zip(scores, targets):
        for t, x in zip(scores, targets):
            if y == 1 and x == 0:
                pairs += 1
                wins += 1.0 if s > t else 0.5 if s == t else 0.0
    return wins / pairs if pairs else math.nan


def sk_macro_auroc(scores: np.ndarray, targets: np.ndarray) -> float:
    columns = [c for c in range(targets.shape[1]) if 0 < targets[:, c].sum() < len(targets)]
    return float(np.mean([roc_auc_score(targets[:, c], scores[:, c]) for c in columns])) if columns else math.nan


def sk_macro_f1(predictions: np.ndarray, targets: np.ndarray) -> float:
    columns = [c for c in range(targets.shape[1]) if targets[:, c].any() or predictions[:, c].any()]
    values = [f1_score(targets[:, c], predictions[:, c], zero_division=0.0) for c in columns]
    return float(np.mean(values)) if columns else math.nan


def sk_r2(predictions: np.ndarray, targets: np.ndarray) -> float:
    return math.nan if np.ptp(targets) == 0 else float(r2_score(targets, predictions))


def sp_spearman(predictions: np.ndarray, targets: np.ndarray) -> float:
    constant = np.ptp(targets) == 0 or np.ptp(predictions) == 0
    return math.nan if constant else float(spearmanr(predictions, targets).statistic)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), min_size=1, max_size=30))
def test_auroc_is_the_share_of_ordered_pairs_with_ties_as_one_half(rows):
    scores, targets = np.array(rows, float).T
    assert macro_auroc(scores, targets) == pytest.approx(counted_pairs(scores, targets), abs=1e-12, nan_ok=True)


@given(st.integers(0, 10_000))
def test_macro_metrics_agree_with_scikit_learn_and_leave_out_undefined_classes(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 25))
    targets = (rng.random((n, 4)) < [0.0, 0.1, 0.5, 1.0]).astype(float)
    scores = rng.integers(0, 5, size=(n, 4)).astype(float)
    predictions = (rng.random((n, 4)) < [0.0, 0.3, 0.5, 0.9]).astype(float)
    assert macro_auroc(scores, targets) == pytest.approx(sk_macro_auroc(scores, targets), abs=1e-12, nan_ok=True)
    assert macro_f1(predictions, targets) == pytest.approx(sk_macro_f1(predictions, targets), abs=1e-12, nan_ok=True)


@given(st.integers(0, 10_000))
def test_regression_metrics_agree_with_scikit_learn_and_scipy(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 25))
    p, y = rng.integers(0, 6, size=(2, n)).astype(float)  # integers: many ties
    assert mean_absolute_error(p, y) == pytest.approx(sk_mae(y, p), abs=1e-12)
    assert r2(p, y) == pytest.approx(sk_r2(p, y), abs=1e-12, nan_ok=True)
    assert spearman(p, y) == pytest.approx(sp_spearman(p, y), abs=1e-12, nan_ok=True)


PEERS = {
    "auroc": sk_macro_auroc,
    "f1": sk_macro_f1,
    "mae": lambda p, y: float(sk_mae(y, p)),
    "r2": sk_r2,
    "spearman": sp_spearman,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("patients", [None, 13])
def test_intervals_equal_those_of_a_metric_called_on_every_resample(name, patients):
    rng = np.random.default_rng(4)
    metric = METRICS[name]
    if "multilabel" in metric.kinds:
        y = (rng.random((40, 3)) < 0.3).astype(float)
        decisions = metric.needs_decisions
        p = (rng.random((40, 3)) < 0.4) * 1.0 if decisions else rng.integers(0, 4, (40, 3)).astype(float)
    else:
        y, p = rng.integers(0, 9, size=(2, 40)) + 0.1
    groups = None if patients is None else rng.integers(0, patients, 40)
    ours = bootstrap(metric.function, p, y, n_boot=150, seed=2, groups=groups)
    theirs = bootstrap(PEERS[name], p, y, n_boot=150, seed=2, groups=groups)
    expected = (theirs.value, theirs.low, theirs.high)
    assert (ours.value, ours.low, ours.high) == pytest.approx(expected, abs=1e-10)  # sums in another order


def test_r2_of_a_resample_with_one_value_is_undefined_not_minus_infinity():
    rng = np.random.default_rng(0)
    for value in 30 * rng.normal(size=50):
        y = np.array([value, value, value, value + 1])
        drawn = np.array([[3, 1, 0, 0], [1, 1, 2, 0], [7, 0, 0, 0], [1, 1, 1, 1]], float)
        values = METRICS["r2"].weighted(drawn, y + rng.normal(size=4), y)
        assert np.isnan(values).tolist() == [True, True, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_has_metrics_and_is_led_by_one_of_scores(kind):
    assert main_metric(kind) is metrics_of(kind)[0]
    assert not main_metric(kind).needs_decisions


def test_registered_metrics_are_what_they_say():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert set(metric.kinds) <= set(KINDS)
        assert not (metric.needs_decisions and "regression" in metric.kinds)  # only classes are decided
        perfect = np.array([[0.0], [1.0], [0.0], [1.0]])
        worse = 1 - perfect
        assert metric.sign * metric.function(perfect, perfect) > metric.sign * metric.function(worse, perfect)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: macro_auroc([0.1, 0.2], [0, 1, 1]), "scores and targets: need one shape"),
        (lambda: macro_auroc([0.1, math.nan], [0, 1]), "scores: 1 values are NaN"),
        (lambda: macro_auroc([0.1, 0.2], [0, 2]), "targets: must be 0 or 1, got values such as 2"),
        (lambda: macro_f1([0.5, 1], [0, 1]), "predictions: must be 0 or 1"),
        (lambda: r2([1.0, math.inf], [0.0, 1.0]), "predictions: 1 values are NaN or infinite"),
        (lambda: spearman([[1.0, 2.0]], [[1.0, 2.0]]), r"need shape \(n,\)"),
        (lambda: mean_absolute_error([], []), "n > 0"),
    ],
)
def test_what_cannot_be_measured_is_an_error_that_names_it(call, message):
    with pytest.raises(ValueError, match=message):
        call()
