"""What a probe is given: the parts of a split, the kinds of task, and a small subset of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSIFICATION = ("multilabel", "multiclass")
REGRESSION = "regression"
KINDS = (*CLASSIFICATION, REGRESSION)


@dataclass(frozen=True)
class Part:
    """Embeddings, targets and patients of one part of a split.

    Attributes:
        features: (n, D) float embeddings.
        targets: (n, C) 0/1 for kind "multilabel", (n,) integer class ids for "multiclass", (n,) floats for
            "regression".
        groups: (n,) patient ids of any sortable type.
    """

    features: NDArray[Any]
    targets: NDArray[Any]
    groups: NDArray[Any]


def check_parts(
    parts: Mapping[str, Part], kind: str, classes: Sequence[str] | None, n_labels: int | None
) -> tuple[str, ...]:
    """Raise a ``ValueError`` that names the part if a probe cannot use it; returns the class names."""
    if kind not in KINDS:
        raise ValueError(f"kind: got {kind!r}, accepted are {', '.join(KINDS)}")
    if n_labels is not None and n_labels < 2:
        raise ValueError(f"n_labels: at least 2 recordings are needed, got {n_labels}")
    for name, part in parts.items():
        _check_features(name, part)
        _check_targets(name, np.asarray(part.targets), len(part.features), kind)
    _check_patients(parts)
    widths = {name: np.shape(part.features)[1] for name, part in parts.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"features: all parts need one embedding size, got {widths}")
    return _class_names(parts, kind, classes)


def draw_labelled(
    targets: NDArray[Any] | None, groups: NDArray[Any], n_labels: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of a random labelled subset, always contained in the subset of a larger ``n_labels``.

    Args:
        targets: (n, C) 0/1; each class gets a positive and a negative row first, rarest class first. ``None``
            draws without looking at targets.
        groups: (n,) patient ids; the first rows of all patients come before any second row.
        n_labels: Number of rows.
        rng: Source of the order.
    """
    order = _first_rows_first(groups, rng)
    required: list[int] = []
    if targets is not None:
        rarity = np.minimum(targets.sum(axis=0), len(targets) - targets.sum(axis=0))
        for c in np.argsort(rarity, kind="stable"):
            for outcome in (1, 0):
                rows = order[targets[order, c] == outcome]
                if rarity[c] > 0 and not (targets[required, c] == outcome).any():
                    required.append(int(rows[0]))
    rest = order[~np.isin(order, required)]
    return np.concatenate([np.array(required, dtype=np.int64), rest])[:n_labels]


def _first_rows_first(groups: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """Random order in which every patient's first row precedes any patient's second row."""
    order = rng.permutation(len(groups))
    _, patient, sizes = np.unique(groups[order], return_inverse=True, return_counts=True)
    occurrence = np.empty(len(order), dtype=np.int64)
    occurrence[np.argsort(patient, kind="stable")] = np.concatenate([np.arange(size) for size in sizes])
    return order[np.argsort(occurrence, kind="stable")]


def _check_features(name: str, part: Part) -> None:
    """Finite (n, D) features and (n,) groups."""
    features = np.asarray(part.features)
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"{name}.features: need shape (n, D) with n, D > 0, got {features.shape}")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise ValueError(f"{name}.features: NaN or infinite in {len(bad)} rows, the first are {bad[:5].tolist()}")
    if np.shape(part.groups) != (len(features),):
        raise ValueError(f"{name}.groups: need shape ({len(features)},), got {np.shape(part.groups)}")


def _check_patients(parts: Mapping[str, Part]) -> None:
    """No patient in two parts: what is learnt about one would be tested on the same one."""
    for (one, first), (other, second) in combinations(parts.items(), 2):
        shared = np.intersect1d(first.groups, second.groups)
        if len(shared):
            some = ", ".join(map(str, shared[:3].tolist()))
            patients = "1 patient is" if len(shared) == 1 else f"{len(shared)} patients are"
            raise ValueError(f"{patients} in {one} and in {other}, such as {some}; split by patient")


def _check_targets(name: str, targets: NDArray[Any], n: int, kind: str) -> None:
    """Targets of the shape and values that the kind asks for."""
    shape = "(n, C)" if kind == "multilabel" else "(n,)"
    if targets.ndim != (2 if kind == "multilabel" else 1) or len(targets) != n or targets.size == 0:
        raise ValueError(f"{name}.targets: {kind} needs shape {shape} with n = {n}, got {targets.shape}")
    if kind == "multilabel" and not np.isin(targets, (0, 1)).all():
        raise ValueError(f"{name}.targets: multilabel needs 0 or 1, got {targets[~np.isin(targets, (0, 1))][:3]}")
    if kind == "multiclass" and (not np.issubdtype(targets.dtype, np.integer) or targets.min() < 0):
        raise ValueError(f"{name}.targets: multiclass needs integer class ids >= 0, got {targets[:3]}")
    if kind == REGRESSION:
        bad = np.flatnonzero(~np.isfinite(targets.astype(np.float64)))
        if len(bad):
            raise ValueError(f"{name}.targets: NaN or infinite in {len(bad)} rows, the first are {bad[:5].tolist()}")


def _class_names(parts: Mapping[str, Part], kind: str, classes: Sequence[str] | None) -> tuple[str, ...]:
    """One unique name per class column or id; none for regression."""
    if kind == REGRESSION:
        if classes is not None:
            raise ValueError("classes: a regression has none")
        return ()
    if kind == "multilabel":
        sizes = {name: np.shape(part.targets)[1] for name, part in parts.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"targets: all parts need the same number of classes, got {sizes}")
    else:
        sizes = {name: int(np.max(part.targets)) + 1 for name, part in parts.items()}
    needed = max(sizes.values())
    names = tuple(map(str, range(needed) if classes is None else classes))
    if len(names) < needed or (kind == "multilabel" and len(names) != needed) or len(set(names)) < len(names):
        raise ValueError(f"classes: need {needed} different names, got {list(names)}")
    return names
