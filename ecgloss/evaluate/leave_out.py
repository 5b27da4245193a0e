"""Linear probes that leave one patient out at a time: few patients with many beats each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.evaluate.linear_models import best_f1_thresholds, fit_multilabel
from ecgloss.evaluate.metrics import macro_auroc
from ecgloss.evaluate.probe import PENALTIES
from ecgloss.evaluate.probe_data import draw_labelled
from ecgloss.evaluate.weighting import Floats

MOST_TRAINING = 10_000  # beats a probe learns from: all premature ones up to half of it, and others drawn at random
_VALIDATION = 0.3  # share of the other patients that choose penalty and thresholds
_TRIED = 2000  # choices of validation patients that are looked at


@dataclass(frozen=True)
class LeaveOut:
    """Decisions about every row by a probe that saw nothing of its patient.

    Attributes:
        decisions: (n,) class of each row, a column of the targets, or -1 for none of them; -1 as well for patients who
            were not tested.
        tested: Patients that were left out, one after the other.
        n_train: Rows the probe of each of them was fitted on.
        n_validation: Rows that chose its penalty and thresholds.
        penalties: Its L2 penalty.
        unlearnt: Of each, the names of the classes that could not be learnt without this patient.
    """

    decisions: NDArray[np.int64]
    tested: tuple[str, ...]
    n_train: tuple[int, ...]
    n_validation: tuple[int, ...]
    penalties: tuple[float, ...]
    unlearnt: tuple[tuple[str, ...], ...]


def leave_patients_out(
    features: NDArray[np.float32],
    targets: Floats,
    patients: Sequence[str],
    *,
    classes: Sequence[str],
    never_tested: Sequence[str] = (),
    label_fraction: float = 1.0,
    seed: int = 0,
) -> LeaveOut:
    """Decide about the rows of each patient with a linear probe of the others.

    For each patient: about three tenths of the other patients are set aside so that they hold about this share of every
    class. A logistic regression per class is fitted on the rest, on standardised features; those set aside choose the
    L2 penalty with the best macro AUROC, and per class the threshold with the best F1. A row above several thresholds
    belongs to the class whose threshold it exceeds most, in logits. The patient's own rows are looked at once, at last.

    Args:
        features: (n, D) embeddings.
        targets: (n, C), 1 or 0, at most one 1 in a row.
        patients: (n,) whose each row is.
        classes: Names of the C classes.
        never_tested: Patients who only train: an encoder has seen them.
        label_fraction: Share of the training labels to use, in (0, 1], and at most as many for choosing.
        seed: Of the subsets.

    Returns:
        The decisions.

    Raises:
        ValueError: If shapes disagree, there are fewer than three patients, no patient can be tested, or no class can
            be learnt.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> patients = np.repeat(["a", "b", "c", "d"], 50)
        >>> y = (rng.random((200, 1)) < 0.2).astype(float)
        >>> found = leave_patients_out(y + 0.1 * rng.normal(size=(200, 3)), y, patients, classes=["V"])
        >>> bool(((found.decisions == 0) == (y[:, 0] == 1)).all()), found.tested
        (True, ('a', 'b', 'c', 'd'))
    """
    x, y, whose = np.asarray(features), np.asarray(targets, np.float64), np.asarray(patients)
    if y.shape != (len(x), len(classes)) or whose.shape != (len(x),):
        raise ValueError(
            f"targets and patients: need shapes ({len(x)}, {len(classes)}) and ({len(x)},), "
            f"got {y.shape} and {whose.shape}"
        )
    everyone = np.unique(whose)
    tested = [str(p) for p in everyone if p not in set(never_tested)]
    if len(everyone) < 3 or not tested:
        raise ValueError(
            f"one patient is tested, others train and choose: need three patients at least, and one to test; got "
            f"{len(everyone)} patients, of whom {len(tested)} can be tested"
        )
    decisions = np.full(len(x), -1, np.int64)
    folds = []
    for patient in tested:
        rng = np.random.default_rng([seed, list(everyone).index(patient)])
        fold = _Fold.of(x, y, whose, patient, [p for p in never_tested if p != patient], label_fraction, rng)
        decisions[whose == patient] = fold.decide(x[whose == patient])
        folds.append(fold)
    if not any(len(fold.learnt) for fold in folds):
        raise ValueError(f"no class of {', '.join(classes)} occurs in three patients: none can be learnt")
    return LeaveOut(
        decisions=decisions,
        tested=tuple(tested),
        n_train=tuple(fold.n_train for fold in folds),
        n_validation=tuple(fold.n_validation for fold in folds),
        penalties=tuple(fold.penalty for fold in folds),
        unlearnt=tuple(tuple(c for k, c in enumerate(classes) if k not in fold.learnt) for fold in folds),
    )


class _Fold:
    """The probe that leaves out one patient."""

    def __init__(self, x: NDArray[Any], y: Floats, train: NDArray[np.int64], validation: NDArray[np.int64]) -> None:
        self.learnt = np.flatnonzero(_both_outcomes(y[train]) & _both_outcomes(y[validation]))
        self.n_train, self.n_validation, self.penalty = len(train), len(validation), float("nan")
        if not len(self.learnt):
            return
        self._scaler = require("sklearn.preprocessing", "eval").StandardScaler().fit(x[train].astype(np.float64))
        models = fit_multilabel(self._scaled(x[train]), y[train][:, self.learnt], PENALTIES)
        checked, true = self._scaled(x[validation]), y[validation][:, self.learnt]
        best = int(np.argmax([macro_auroc(model(checked), true) for model in models]))
        self.penalty, self._model = PENALTIES[best], models[best]
        self._thresholds = best_f1_thresholds(self._model(checked), true)

    @classmethod
    def of(
        cls,
        x: NDArray[Any],
        y: Floats,
        whose: NDArray[np.str_],
        patient: str,
        only_train: Sequence[str],
        label_fraction: float,
        rng: np.random.Generator,
    ) -> _Fold:
        """The probe without a patient, fitted."""
        chosen = validation_patients(y, whose, patient, only_train, rng)
        choosing = np.isin(whose, chosen)
        train = np.flatnonzero(~choosing & (whose != patient))
        n_labels = max(2, round(label_fraction * len(train)))
        train = train[_most_useful(y[train], rng)]
        validation = np.flatnonzero(choosing)
        if label_fraction < 1:
            train, validation = (
                rows[draw_labelled(y[rows], whose[rows], n_labels, rng)] if n_labels < len(rows) else rows
                for rows in (train, validation)
            )
        return cls(x, y, train, validation)

    def _scaled(self, x: NDArray[Any]) -> Floats:
        """Standardised features; only some at a time are in double precision, for the sake of memory."""
        return np.asarray(self._scaler.transform(x.astype(np.float64)))

    def decide(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """The class of each row, -1 for none."""
        if not len(self.learnt):
            return np.full(len(x), -1, np.int64)
        above = self._model(self._scaled(x)) - self._thresholds
        return np.where(above.max(axis=1) >= 0, self.learnt[above.argmax(axis=1)], -1)


def validation_patients(
    targets: Floats, whose: NDArray[np.str_], tested: str, only_train: Sequence[str], rng: np.random.Generator
) -> list[str]:
    """The patients who choose penalty and thresholds, with about three tenths of every class among the others' rows.

    Example:
        >>> y, whose = np.array([[1.0], [0], [1], [1], [0], [0]]), np.array(["a", "a", "b", "c", "c", "d"])
        >>> validation_patients(y, whose, "b", [], np.random.default_rng(0))
        ['a']
    """
    others = np.unique(whose[whose != tested])
    able = [str(p) for p in others if p not in set(only_train)]
    if len(others) < 2 or not able:
        return []
    counts = {str(p): targets[whose == p].sum(axis=0) for p in others}
    total = np.maximum(np.sum([counts[str(p)] for p in others], axis=0), 1)
    size = min(max(1, round(_VALIDATION * len(others))), len(able), len(others) - 1)
    tried: list[list[str]] = (
        [list(some) for some in combinations(able, size)]
        if math.comb(len(able), size) <= _TRIED
        else [[able[k] for k in rng.permutation(len(able))[:size]] for _ in range(_TRIED)]
    )

    def strangeness(some: Sequence[str]) -> float:
        share = np.sum([counts[p] for p in some], axis=0) / total
        return float(np.abs(share - _VALIDATION).sum() + 10 * ((share == 0) | (share == 1)).sum())

    return sorted(tried[int(np.argmin([strangeness(some) for some in tried]))])


def _most_useful(targets: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most :data:`MOST_TRAINING` rows, those of a class first."""
    if len(targets) <= MOST_TRAINING:
        return np.arange(len(targets))
    of_class = rng.permutation(np.flatnonzero(targets.any(axis=1)))[: MOST_TRAINING // 2]
    rest = rng.permutation(np.flatnonzero(~targets.any(axis=1)))[: MOST_TRAINING - len(of_class)]
    return np.sort(np.concatenate([of_class, rest]))


def _both_outcomes(targets: Floats) -> NDArray[np.bool_]:
    """Which classes have a positive and a negative row, (C,)."""
    if not len(targets):
        return np.zeros(targets.shape[1], np.bool_)
    return np.asarray((targets.min(axis=0) == 0) & (targets.max(axis=0) == 1))
