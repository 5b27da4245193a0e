"""What a probe predicts: the targets of a task, in the form that its kind of task needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgloss.data.dataset import EcgDataset
from ecgloss.data.recording_risk import recording_risks
from ecgloss.evaluate.probe_data import REGRESSION
from ecgloss.risk.scores import Region

RISK = "risk"
SINGLE_BEATS = "single_beats"  # every beat by itself; its own protocol, :mod:`ecgloss.evaluate.beat_evaluation`


@dataclass(frozen=True)
class Targets:
    """Targets of a task.

    Attributes:
        task: Its name.
        kind: ``"multilabel"``, ``"multiclass"`` or ``"regression"``.
        rows: (n,) recordings that have a target.
        values: Of those, (n, C) 0/1, (n,) class numbers or (n,) numbers.
        classes: Class names; empty for regression.
    """

    task: str
    kind: str
    rows: NDArray[np.int64]
    values: NDArray[np.float64] | NDArray[np.int64]
    classes: tuple[str, ...]


def task_targets(dataset: EcgDataset, task: str, *, region: Region = "moderate") -> Targets:
    """Targets of one task.

    A classification task in which every recording has exactly one label is multiclass, any other multilabel.

    Args:
        dataset: The recordings.
        task: One of ``dataset.tasks()``, or ``"risk"``: the SCORE2 or SCORE2-OP risk from the recordings' metadata.
        region: SCORE2 risk region, for the task ``"risk"``.

    Returns:
        The targets.

    Raises:
        ValueError: for an unknown task, listing those there are.
    """
    if task == RISK:
        return _regression(task, recording_risks(dataset, region)[0].double().numpy())
    known = dataset.tasks()
    if task not in known:
        raise ValueError(f"{dataset.source} has no task {task!r}; it has {', '.join([*known, RISK])}")
    try:
        labels = dataset.labels(task)
    except ValueError:
        return _regression(task, dataset.values(task))
    return _classification(task, labels)


def _regression(task: str, values: NDArray[np.float64]) -> Targets:
    rows = np.flatnonzero(np.isfinite(values))
    if not len(rows):
        raise ValueError(f"no recording has a value for the task {task!r}")
    return Targets(task, REGRESSION, rows, values[rows], ())


def _classification(task: str, labels: Sequence[tuple[str, ...] | None]) -> Targets:
    rows = np.array([i for i, found in enumerate(labels) if found is not None], np.int64)
    present = [labels[i] or () for i in rows]
    classes = tuple(sorted({name for found in present for name in found}))
    if not classes:
        raise ValueError(f"no recording has a label for the task {task!r}")
    member = np.array([[name in found for name in classes] for found in present], np.float64)
    if len(classes) > 1 and bool((member.sum(1) == 1).all()):
        return Targets(task, "multiclass", rows, member.argmax(1).astype(np.int64), classes)
    return Targets(task, "multilabel", rows, member, classes)
