"""Linear models on standardised features, one per penalty, through scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.evaluate.weighting import Floats

_MAX_ITERATIONS = 10_000  # features are standardised: in practice a few hundred are enough


@dataclass(frozen=True)
class LinearModel:
    """Scores ``x @ weights + bias``.

    Attributes:
        weights: (D, K).
        bias: (K,).
        log_softmax: Whether scores are normalised over the classes, which makes them comparable between
            recordings: log-probabilities instead of logits.
    """

    weights: Floats
    bias: Floats
    log_softmax: bool = False

    def __call__(self, x: Floats) -> Floats:
        """Scores (n, K) of standardised features (n, D)."""
        scores: Floats = x @ self.weights + self.bias
        if self.log_softmax:
            scores = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        return scores


def fit_multilabel(x: Floats, y: Floats, penalties: Sequence[float]) -> list[LinearModel]:
    """One logistic regression per class and penalty; y (n, K) holds both outcomes in each column."""
    columns = [_logistic_path(x, column, penalties) for column in y.T]
    return [
        LinearModel(
            np.column_stack([path[i][0][0] for path in columns]),
            np.concatenate([path[i][1] for path in columns]),
        )
        for i in range(len(penalties))
    ]


def fit_multiclass(x: Floats, y: Floats, penalties: Sequence[float]) -> list[LinearModel]:
    """One multinomial regression per penalty; y (n, K) is one-hot, every class present.

    A recording of a class outside the K columns has no row with a one and must be left out by the caller.
    """
    path = _logistic_path(x, y.argmax(axis=1), penalties)
    if y.shape[1] == 2:  # scikit-learn keeps the logit of the second class only
        path = [(np.vstack([0.0 * w, w]), np.append(0.0 * b, b)) for w, b in path]
    return [LinearModel(w.T, b, log_softmax=True) for w, b in path]


def fit_regression(x: Floats, y: Floats, penalties: Sequence[float]) -> list[LinearModel]:
    """One ridge regression per penalty; y (n, 1)."""
    ridge = require("sklearn.linear_model", "eval").Ridge
    fitted = [ridge(alpha=penalty).fit(x, y[:, 0]) for penalty in penalties]
    return [LinearModel(model.coef_[:, None], np.atleast_1d(model.intercept_)) for model in fitted]


def best_f1_thresholds(scores: Floats, targets: Floats) -> Floats:
    """Threshold of each class with the highest F1, halfway between two neighbouring scores, (K,).

    Logit 0 (probability one half) where a class has only one outcome and no threshold can be preferred.
    """
    return np.array([_best_f1_threshold(s, y) for s, y in zip(scores.T, targets.T)])


def _best_f1_threshold(scores: Floats, targets: Floats) -> float:
    """Scan of all cuts between distinct scores, from the top down."""
    if targets.min() == targets.max():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    s, y = scores[order], targets[order]
    last_of_tie = np.append(s[1:] != s[:-1], True)
    f1 = 2.0 * np.cumsum(y) / (np.arange(1, len(y) + 1) + y.sum())
    best = int(np.argmax(np.where(last_of_tie, f1, -1.0)))
    return float(s[best] if best + 1 == len(s) else 0.5 * (s[best] + s[best + 1]))


def _logistic_path(x: Floats, y: NDArray[np.generic], penalties: Sequence[float]) -> list[tuple[Floats, Floats]]:
    """Coefficients and intercepts for descending penalties, each fit started from the one before."""
    model = require("sklearn.linear_model", "eval").LogisticRegression(max_iter=_MAX_ITERATIONS, warm_start=True)
    path = []
    for penalty in penalties:
        model.set_params(C=1.0 / penalty).fit(x, y)
        path.append((model.coef_.copy(), model.intercept_.copy()))
    return path
