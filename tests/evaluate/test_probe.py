"""The linear probe: chance stays chance, nothing leaks, few labels stay few."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from ecgloss.evaluate import Part, linear_probe
from ecgloss.evaluate import probe as probe_module
from ecgloss.evaluate.linear_models import best_f1_thresholds
from ecgloss.evaluate.probe import PENALTIES
from ecgloss.evaluate.probe_data import draw_labelled

Parts = tuple[Part, Part, Part]


def parts_of(kind: str, seed: int, sizes: tuple[int, int, int] = (120, 60, 80), signal: float = 1.0) -> Parts:
    """Parts whose features say something about the targets, on different scales and with different means."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(3, 6))
    parts = []
    for shift, n in enumerate(sizes):
        latent = rng.normal(size=(n, 3))
        x = (signal * latent @ mixing + rng.normal(size=(n, 6))) * [1, 10, 0.1, 1, 100, 1] + 0.3 * shift
        targets = {
            "multilabel": (latent + 0.5 * rng.normal(size=(n, 3)) > [0.0, 0.5, 1.0]).astype(int),
            "multiclass": latent.argmax(1),
            "regression": latent[:, 0] + 0.3 * rng.normal(size=n),
        }[kind]
        parts.append(Part(x, targets, np.array([f"p{shift}-{i // 2}" for i in range(n)])))
    return parts[0], parts[1], parts[2]


_numbers = count()


def patients(n: int) -> np.ndarray:
    """Patients that no other part has."""
    return np.array([next(_numbers) for _ in range(n)])


@pytest.mark.parametrize("one", [0, 1])
def test_a_patient_in_two_parts_is_refused(one):
    parts = list(parts_of("regression", 0))
    parts[one].groups[3] = parts[2].groups[5] = "p 7"
    with pytest.raises(
        ValueError, match=r"1 patient is in (train|validation) and in test, such as p 7; split by patient"
    ):
        linear_probe(*parts, kind="regression")


def spied(monkeypatch: pytest.MonkeyPatch, kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features and targets of every fit from now on."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    fit = probe_module._FITS[kind]

    def record(x, y, penalties):
        seen.append((x, y))
        return fit(x, y, penalties)

    monkeypatch.setitem(probe_module._FITS, kind, record)
    return seen


def test_random_features_are_at_chance():
    contained = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        parts = [Part(rng.normal(size=(n, 8)), rng.integers(0, 2, (n, 1)), patients(n)) for n in (150, 80, 150)]
        auroc = linear_probe(*parts, kind="multilabel", n_boot=200).metrics["auroc"]
        contained.append(auroc.low <= 0.5 <= auroc.high)
    assert sum(contained) >= 17  # at a coverage of 0.94, fewer than 17 of 20 happen in 3 % of all seeds


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_separable_classes_are_found_exactly(kind):
    rng = np.random.default_rng(0)
    parts = []
    for n in (60, 30, 30):
        y = np.arange(n) % 3
        onehot = np.eye(3)[y]
        x = onehot + 0.01 * rng.normal(size=(n, 3))
        parts.append(Part(x, y if kind == "multiclass" else onehot, patients(n)))
    result = linear_probe(*parts, kind=kind, n_boot=50)
    assert result.metrics["auroc"].value == 1.0
    assert result.metrics["f1"].value == 1.0


def test_a_linear_target_is_found_exactly():
    rng = np.random.default_rng(0)
    parts = [Part(x := rng.normal(size=(n, 3)), x @ [1.0, -2.0, 3.0] + 7, patients(n)) for n in (200, 50, 50)]
    result = linear_probe(*parts, kind="regression", n_boot=50)
    assert result.metrics["r2"].value > 0.999  # the weakest penalty is 0.01, not zero
    assert result.regularisation == PENALTIES[-1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "regression"])
def test_the_probe_is_scikit_learn_fitted_on_train_and_chosen_on_validation(kind, seed):
    train, validation, test = parts_of(kind, seed, sizes=(80, 50, 60))
    scaler = StandardScaler().fit(train.features)
    x, v, t = (scaler.transform(part.features) for part in (train, validation, test))
    best, expected, chosen = -np.inf, None, None
    for penalty in PENALTIES:
        if kind == "regression":
            model = Ridge(alpha=penalty).fit(x, train.targets)
            quality, scores = -np.abs(model.predict(v) - validation.targets).mean(), model.predict(t)[:, None]
        elif kind == "multiclass":
            model = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-6).fit(x, train.targets)
            onehot = np.eye(3)[validation.targets]
            quality = roc_auc_score(onehot, model.predict_log_proba(v), average="macro")
            scores = model.predict_log_proba(t)
        else:
            models = [LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-6).fit(x, y) for y in train.targets.T]
            decide = [np.column_stack([m.decision_function(part) for m in models]) for part in (v, t)]
            quality, scores = roc_auc_score(validation.targets, decide[0], average="macro"), decide[1]
        if quality > best + 1e-12:
            best, expected, chosen = quality, scores, penalty
    result = linear_probe(train, validation, test, kind=kind, n_boot=10)
    assert result.regularisation == chosen
    # scikit-learn's default solver stops at a gradient of 1e-4: scores of order 1 to 10 differ by less than this.
    assert np.abs(result.test_scores - expected).max() < 0.02


@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "regression"])
def test_permuting_test_labels_changes_nothing_that_was_learnt(kind):
    train, validation, test = parts_of(kind, 1)
    order = np.random.default_rng(0).permutation(len(test.features))
    result = linear_probe(train, validation, test, kind=kind, n_boot=10)
    permuted = linear_probe(train, validation, replace(test, targets=test.targets[order]), kind=kind, n_boot=10)
    assert permuted.regularisation == result.regularisation
    np.testing.assert_array_equal(permuted.test_scores, result.test_scores)
    assert permuted.metrics != result.metrics


@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "regression"])
def test_other_test_recordings_change_nothing_for_a_recording(kind):
    train, validation, test = parts_of(kind, 2)
    junk = test.features.copy()
    junk[40:] = 1e3 * np.random.default_rng(1).normal(size=junk[40:].shape) - 500
    result = linear_probe(train, validation, test, kind=kind, n_boot=10)
    changed = linear_probe(train, validation, replace(test, features=junk), kind=kind, n_boot=10)
    assert changed.regularisation == result.regularisation
    np.testing.assert_array_equal(changed.test_scores[:40], result.test_scores[:40])
    assert np.abs(changed.test_scores[40:] - result.test_scores[40:]).max() > 1


def test_features_are_standardised_with_the_labelled_train_recordings_alone(monkeypatch):
    train, validation, test = parts_of("regression", 3)
    seen = spied(monkeypatch, "regression")
    for n_labels in (None, 30):
        linear_probe(train, validation, test, kind="regression", n_labels=n_labels, n_boot=10)
        x = seen[-1][0]
        assert len(x) == (n_labels or 120)
        np.testing.assert_allclose(x.mean(0), 0.0, atol=1e-12)
        np.testing.assert_allclose(x.std(0), 1.0, rtol=1e-12)


def test_validation_only_chooses(monkeypatch):
    train, validation, test = parts_of("multilabel", 3)
    seen = spied(monkeypatch, "multilabel")
    linear_probe(train, validation, test, kind="multilabel", n_boot=10)
    linear_probe(train, replace(validation, features=9 - validation.features), test, kind="multilabel", n_boot=10)
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    np.testing.assert_array_equal(seen[0][1], train.targets)


def test_thresholds_are_those_with_the_best_f1_on_validation():
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.integers(-3, 4, size=(12, 1)) / 2  # ties
        y = (rng.random((12, 1)) < 0.4).astype(float)
        if y.min() == y.max():
            continue

        def f1(threshold: float, s: np.ndarray = scores, y: np.ndarray = y) -> float:
            p = s >= threshold
            return 2 * (p * y).sum() / (p.sum() + y.sum())

        best = max(f1(t) for t in np.linspace(-2, 2, 401))
        assert f1(best_f1_thresholds(scores, y)[0]) == pytest.approx(best, abs=1e-12)


def test_a_class_with_one_outcome_in_validation_falls_back_to_probability_one_half():
    assert best_f1_thresholds(np.array([[3.0], [4.0]]), np.ones((2, 1))).tolist() == [0.0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "regression"])
def test_ten_labels_are_ten_labels_in_training_and_in_validation(kind, seed, monkeypatch):
    seen = spied(monkeypatch, kind)
    result = linear_probe(*parts_of(kind, seed), kind=kind, n_labels=10, seed=seed, n_boot=20)
    assert result.n_train == len(seen[0][0]) == 10
    assert result.n_validation == 10
    assert result.n_test == 80
    assert result.dropped == {}
    if kind != "regression":
        assert ((seen[0][1].sum(0) > 0) & (seen[0][1].sum(0) < 10)).all()


def test_validation_labels_beyond_the_budget_are_never_looked_at():
    """With other targets outside the drawn rows of validation the result must be the same."""
    train, validation, test = parts_of("regression", 5)
    result = linear_probe(train, validation, test, kind="regression", n_labels=10, n_boot=10)
    drawn = draw_labelled(None, validation.groups, 10, np.random.default_rng([0, 1]))
    hidden = validation.targets + 1e6
    hidden[drawn] = validation.targets[drawn]
    again = linear_probe(train, replace(validation, targets=hidden), test, kind="regression", n_labels=10, n_boot=10)
    assert again.regularisation == result.regularisation
    np.testing.assert_array_equal(again.test_scores, result.test_scores)


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_encoders_are_compared_on_the_same_labelled_recordings(kind, monkeypatch):
    parts = parts_of(kind, 6)
    unique = [replace(part, targets=np.arange(len(part.targets)) * 1.0) for part in parts]
    parts = tuple(unique) if kind == "regression" else parts
    rng = np.random.default_rng(1)
    other = [replace(part, features=rng.normal(size=(len(part.features), 11))) for part in parts]
    seen = spied(monkeypatch, kind)
    for encoder in (parts, other):
        linear_probe(*encoder, kind=kind, n_labels=25, seed=4, n_boot=10)
    linear_probe(*parts, kind=kind, n_labels=25, seed=5, n_boot=10)
    np.testing.assert_array_equal(seen[0][1], seen[1][1])
    assert not np.array_equal(seen[0][1], seen[2][1])


@pytest.mark.parametrize("seed", range(5))
def test_a_larger_label_budget_extends_a_smaller_one(seed):
    train = parts_of("multilabel", seed)[0]
    drawn = [draw_labelled(train.targets, train.groups, n, np.random.default_rng(seed)) for n in (5, 10, 50, 120)]
    for small, large in pairwise(drawn):
        assert large[: len(small)].tolist() == small.tolist()
    assert sorted(drawn[-1]) == list(range(120))


def test_few_labels_come_from_as_many_patients_as_possible():
    groups = np.repeat(np.arange(30), 4)
    drawn = draw_labelled(None, groups, 40, np.random.default_rng(0))
    assert len(set(groups[drawn[:30]])) == 30
    assert len(set(drawn)) == 40


def test_rare_classes_come_first_into_a_small_subset():
    y = np.zeros((200, 2))
    y[7, 0] = 1
    y[::2, 1] = 1
    for seed in range(10):
        drawn = draw_labelled(y, np.arange(200), 4, np.random.default_rng(seed))
        assert 7 in drawn
        assert 0 < y[drawn, 1].sum() < 4


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_classes_without_both_outcomes_are_dropped_by_name_with_the_reason(kind):
    rng = np.random.default_rng(0)
    parts = []
    for where, n in enumerate((60, 30, 30)):
        y = np.arange(n) % 2
        y[:3] = 2 if where == 0 else 0  # class c: in train only
        if where == 2:
            y[3:6] = 3  # class d: in test only
        x = np.eye(4)[y] + 0.1 * rng.normal(size=(n, 4))
        parts.append(Part(x, y if kind == "multiclass" else np.eye(4)[y], patients(n)))
    result = linear_probe(*parts, kind=kind, classes=["a", "b", "c", "d"], n_boot=50)
    assert result.classes == ("a", "b")
    assert list(result.per_class) == ["a", "b"]
    assert result.test_scores.shape == (30, 2)
    assert result.dropped == {
        "c": "no positive among 30 test recordings",
        "d": "no positive among 60 train recordings",
    }
    assert result.per_class["a"].value > 0.85  # "d" recordings have no feature of their own that was trained


def test_the_macro_auroc_is_the_mean_of_the_classes():
    result = linear_probe(*parts_of("multilabel", 0), kind="multilabel", n_boot=10)
    mean = np.mean([estimate.value for estimate in result.per_class.values()])
    assert result.metrics["auroc"].value == pytest.approx(mean, abs=1e-12)


def test_intervals_resample_test_patients():
    train, validation, test = parts_of("regression", 0)
    copies = [np.repeat(values, 5, axis=0) for values in (test.features, test.targets, np.arange(80))]
    once = linear_probe(train, validation, replace(test, groups=np.arange(80)), kind="regression").metrics["mae"]
    copied = linear_probe(train, validation, Part(*copies), kind="regression").metrics["mae"]
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=1e-10)


def test_a_constant_feature_does_no_harm():
    train, validation, test = (
        replace(part, features=np.column_stack([part.features, np.full(len(part.features), 3.0)]))
        for part in parts_of("multilabel", 0)
    )
    assert np.isfinite(linear_probe(train, validation, test, kind="multilabel", n_boot=10).test_scores).all()


def test_the_summary_is_json_even_where_there_is_no_interval():
    train, validation, test = parts_of("multilabel", 0)
    rare = test.targets.copy()
    rare[:, 0] = np.arange(80) == 0
    result = linear_probe(train, validation, replace(test, targets=rare), kind="multilabel", n_boot=50)
    summary = json.loads(json.dumps(result.summary(), allow_nan=False))
    assert summary["per_class"]["0"]["low"] is None
    assert summary["n_train"] == 120


def with_nan(part: Part, rows: list[int]) -> Part:
    features = part.features.copy()
    features[rows, 1] = np.nan
    return replace(part, features=features)


def constant(part: Part) -> Part:
    return replace(part, targets=np.zeros_like(part.targets))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b, c: (with_nan(a, [3]), b, c), r"train\.features: NaN or infinite in 1 rows.*\[3\]"),
        (lambda a, b, c: (a, with_nan(b, [2, 9]), c), r"validation\.features: NaN .* 2 rows.*\[2, 9\]"),
        (lambda a, b, c: (a, b, with_nan(c, [0])), r"test\.features: NaN"),
        (lambda a, b, c: (replace(a, features=a.features[:0]), b, c), r"train\.features: need shape"),
        (lambda a, b, c: (a, replace(b, features=b.features[:, 0]), c), r"validation\.features: need shape"),
        (lambda a, b, c: (a, b, replace(c, groups=c.groups[:-1])), r"test\.groups: need shape \(80,\)"),
        (lambda a, b, c: (a, b, replace(c, targets=c.targets[:-1])), r"test\.targets: .*n = 80"),
        (lambda a, b, c: (a, replace(b, targets=b.targets + 1), c), r"validation\.targets: multilabel needs 0 or 1"),
        (lambda a, b, c: (a, b, replace(c, features=c.features[:, :3])), "features: all parts need one embedding size"),
        (lambda a, b, c: (a, b, replace(c, targets=c.targets[:, :2])), "same number of classes"),
        (lambda a, b, c: (constant(a), b, c), "^train: no class can be used.*no positive among 120 train"),
        (lambda a, b, c: (a, constant(b), c), "^validation: no class has both outcomes among 60"),
        (lambda a, b, c: (a, b, constant(c)), "^test: no class can be used.*no positive among 80 test"),
    ],
)
def test_unusable_input_is_an_error_that_names_the_part(change: Callable[..., Parts], message: str):
    with pytest.raises(ValueError, match=message):
        linear_probe(*change(*parts_of("multilabel", 0)), kind="multilabel", n_boot=10)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("ranking", {}, "kind: got 'ranking', accepted are multilabel, multiclass, regression"),
        ("multilabel", {"n_labels": 1}, "n_labels: at least 2"),
        ("multilabel", {"classes": ["a", "b"]}, "need 3 different names"),
        ("multilabel", {"classes": ["a", "b", "b"]}, "need 3 different names"),
        ("multiclass", {"classes": ["a", "b"]}, "need 3 different names"),
        ("regression", {"classes": ["a"]}, "a regression has none"),
    ],
)
def test_wrong_options_are_errors_that_say_what_is_accepted(kind, options, message):
    parts = parts_of(kind if kind != "ranking" else "multilabel", 0)
    with pytest.raises(ValueError, match=message):
        linear_probe(*parts, kind=kind, **options)


@pytest.mark.parametrize(
    ("kind", "targets", "message"),
    [
        ("multiclass", np.full(120, 0.5), r"train\.targets: multiclass needs integer"),
        ("multiclass", np.full(120, -1), r"train\.targets: multiclass needs integer class ids >= 0"),
        ("regression", np.full(120, np.nan), r"train\.targets: NaN or infinite in 120 rows"),
    ],
)
def test_targets_that_do_not_fit_the_kind_are_errors(kind, targets, message):
    train, validation, test = parts_of(kind, 0)
    with pytest.raises(ValueError, match=message):
        linear_probe(replace(train, targets=targets), validation, test, kind=kind)
