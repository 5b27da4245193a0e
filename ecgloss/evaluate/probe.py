"""Linear probe on frozen embeddings: fitted on train, chosen on validation, scored once on test.

The protocol is the usual one for ECG foundation models (CLEF, arXiv 2512.02180, section on linear evaluation;
Alain and Bengio 2016 for the idea): the encoder stays frozen, and a penalised linear model tells how much its
embeddings say about a label.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.evaluate.linear_models import best_f1_thresholds, fit_multiclass, fit_multilabel, fit_regression
from ecgloss.evaluate.metrics import Metric, main_metric, metrics_of
from ecgloss.evaluate.probe_data import REGRESSION, Part, check_parts, draw_labelled
from ecgloss.evaluate.resampling import Estimate, bootstrap
from ecgloss.evaluate.weighting import Floats

__all__ = ["PENALTIES", "Part", "ProbeResult", "linear_probe"]

PENALTIES = (1e4, 1e3, 1e2, 1e1, 1.0, 1e-1, 1e-2)
"""L2 penalties tried, strongest first: on a tie in validation the strongest wins."""

_FITS = {
    "multilabel": fit_multilabel,
    "multiclass": fit_multiclass,
    "regression": fit_regression,
}


@dataclass(frozen=True)
class ProbeResult:
    """What a linear probe found.

    Attributes:
        kind: "multilabel", "multiclass" or "regression".
        metrics: The metrics of this kind on test, by their names in :data:`~ecgloss.evaluate.metrics.METRICS`: "auroc"
            and "f1" (macro over ``classes``), or "mae", "r2" and "spearman".
        per_class: AUROC (the main metric) on test of each scored class; empty for regression.
        regularisation: The chosen L2 penalty: scikit-learn's ``1 / C``, or ridge's ``alpha``.
        n_train: Recordings the probe was fitted on.
        n_validation: Recordings it was chosen on.
        n_test: Recordings it was scored on.
        classes: Scored classes, the columns of ``test_scores``; empty for regression.
        dropped: Classes that could not be trained or scored, each with the reason.
        test_scores: (n_test, len(classes)) logits or log-probabilities, or (n_test, 1) predicted values; feed
            those of two encoders to :func:`~ecgloss.evaluate.resampling.paired_difference`.
    """

    kind: str
    metrics: dict[str, Estimate]
    per_class: dict[str, Estimate]
    regularisation: float
    n_train: int
    n_validation: int
    n_test: int
    classes: tuple[str, ...]
    dropped: dict[str, str]
    test_scores: Floats

    def summary(self) -> dict[str, Any]:
        """Everything but the scores, as plain values for JSON; NaN becomes ``None``."""
        return {
            "kind": self.kind,
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "per_class": {name: estimate.to_json() for name, estimate in self.per_class.items()},
            "regularisation": self.regularisation,
            "n_train": self.n_train,
            "n_validation": self.n_validation,
            "n_test": self.n_test,
            "classes": list(self.classes),
            "dropped": dict(self.dropped),
        }


def linear_probe(
    train: Part,
    validation: Part,
    test: Part,
    *,
    kind: str,
    classes: Sequence[str] | None = None,
    n_labels: int | None = None,
    seed: int = 0,
    n_boot: int = 1000,
) -> ProbeResult:
    """Fit a linear model on frozen embeddings and score it once on test.

    1. Features are standardised with mean and deviation of the labelled train recordings.
    2. For each penalty in :data:`PENALTIES`: logistic regression per class ("multilabel"), multinomial
       regression ("multiclass"), or ridge regression ("regression").
    3. The penalty with the best macro AUROC (or mean absolute error) on validation is kept; so are, for
       "multilabel", the thresholds with the best F1 per class. "multiclass" predicts the likeliest class.
    4. The test recordings are scored, with intervals that resample patients.

    Few labels: ``n_labels`` cuts train *and* validation to at most that many recordings each, because
    choosing a penalty on a thousand validation labels is not learning from fifty. The probe thus sees up to
    twice ``n_labels`` labels. Both subsets depend on targets, groups and seed only, so encoders are compared on
    the same recordings, and a larger ``n_labels`` extends a smaller one. They are random but for two rules:
    first each class gets, as far as the number allows and rarest first, one positive and one negative
    recording; then a patient's second recording is drawn only after the first one of every patient. Rare
    classes are therefore slightly over-represented in small subsets.

    Args:
        train: Part to fit on.
        validation: Part to choose on.
        test: Part to score on.
        kind: "multilabel", "multiclass" or "regression".
        classes: Names of the C classes; ``None`` names them "0", "1", ...
        n_labels: Labelled recordings in train and in validation at most; ``None`` uses all.
        seed: Seed of the subsets and of the bootstrap.
        n_boot: Bootstrap resamples.

    Returns:
        The result. A class without both outcomes in train or in test is dropped, with the reason.

    Raises:
        ValueError: if shapes disagree, values are NaN, a patient is in two parts, or no class can be trained, chosen or
            scored; the message names the part.
        MissingExtraError: if scikit-learn is not installed.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(0, 2, size=(150, 1))
        >>> x = y + 0.1 * rng.normal(size=(150, 4))
        >>> parts = [Part(x[i::3], y[i::3], np.arange(i, 150, 3)) for i in range(3)]
        >>> result = linear_probe(*parts, kind="multilabel", classes=["MI"], n_labels=20)
        >>> print(result.metrics["auroc"], result.n_train)
        1.000 [1.000, 1.000] 20
    """
    names = check_parts({"train": train, "validation": validation, "test": test}, kind, classes, n_labels)
    train, validation, test = (_as_columns(part, kind, len(names)) for part in (train, validation, test))
    train = _labelled(train, kind, n_labels, np.random.default_rng([seed, 0]))
    validation = _labelled(validation, kind, n_labels, np.random.default_rng([seed, 1]))
    dropped: dict[str, str] = {}
    trained = np.arange(1) if kind == REGRESSION else _with_both_outcomes(train, "train", names, dropped)

    scaler = require("sklearn.preprocessing", "eval").StandardScaler().fit(train.features)
    x_train, x_validation, x_test = (scaler.transform(p.features) for p in (train, validation, test))
    y_validation = validation.targets[:, trained]
    models = _FITS[kind](x_train, train.targets[:, trained], PENALTIES)
    main = main_metric(kind)
    chosen = _best_on_validation([model(x_validation) for model in models], y_validation, main)
    scores = models[chosen](x_test)

    interval = partial(bootstrap, n_boot=n_boot, seed=seed, groups=test.groups)
    if kind == REGRESSION:
        scored, y = trained[:0], test.targets
        decisions = scores  # no metric of a regression looks at them
    else:
        decisions = _decide(scores, models[chosen](x_validation), y_validation, kind)
        scored = _with_both_outcomes(test, "test", names, dropped, among=trained)
        columns, y = np.searchsorted(trained, scored), test.targets[:, scored]
        scores, decisions = scores[:, columns], decisions[:, columns]
    metrics = {m.name: interval(m.function, decisions if m.needs_decisions else scores, y) for m in metrics_of(kind)}
    per_class = {names[c]: interval(main.function, scores[:, i], y[:, i]) for i, c in enumerate(scored)}
    return ProbeResult(
        kind=kind,
        metrics=metrics,
        per_class=per_class,
        regularisation=PENALTIES[chosen],
        n_train=len(train.features),
        n_validation=len(validation.features),
        n_test=len(test.features),
        classes=tuple(names[c] for c in scored),
        dropped=dropped,
        test_scores=scores,
    )


def _as_columns(part: Part, kind: str, n_classes: int) -> Part:
    """Float64 features, targets as float columns (n, C): one-hot for "multiclass"."""
    targets = np.asarray(part.targets)
    if kind == "multiclass":
        targets = targets[:, None] == np.arange(n_classes)
    columns = targets.reshape(len(targets), -1).astype(np.float64)
    return Part(np.asarray(part.features, dtype=np.float64), columns, np.asarray(part.groups))


def _labelled(part: Part, kind: str, n_labels: int | None, rng: np.random.Generator) -> Part:
    """The part cut to ``n_labels`` recordings."""
    if n_labels is None or n_labels >= len(part.features):
        return part
    rows = draw_labelled(None if kind == REGRESSION else part.targets, part.groups, n_labels, rng)
    return Part(part.features[rows], part.targets[rows], part.groups[rows])


def _with_both_outcomes(
    part: Part,
    where: str,
    names: Sequence[str],
    dropped: dict[str, str],
    among: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Classes with positives and negatives in the part; the others go into ``dropped`` with the reason."""
    kept = []
    for c in range(len(names)) if among is None else among:
        positives, n = int(part.targets[:, c].sum()), len(part.targets)
        if 0 < positives < n:
            kept.append(c)
        else:
            dropped[names[c]] = f"no {'negative' if positives else 'positive'} among {n} {where} recordings"
    if not kept:
        raise ValueError(f"{where}: no class can be used: " + "; ".join(f"{k}: {v}" for k, v in dropped.items()))
    return np.array(kept, dtype=np.int64)


def _best_on_validation(candidates: Sequence[Floats], targets: Floats, metric: Metric) -> int:
    """Index of the best scores, the first of equals."""
    quality = [metric.function(scores, targets) for scores in candidates]
    if math.isnan(quality[0]):
        raise ValueError(f"validation: no class has both outcomes among {len(targets)} recordings, none to choose by")
    return metric.best(quality)


def _decide(scores: Floats, validation_scores: Floats, validation_targets: Floats, kind: str) -> Floats:
    """0/1 decisions for test scores: above the threshold found on validation, or the likeliest class."""
    if kind == "multiclass":
        positive = scores.argmax(axis=1)[:, None] == np.arange(scores.shape[1])
    else:
        positive = scores >= best_f1_thresholds(validation_scores, validation_targets)
    return np.asarray(positive, dtype=np.float64)
