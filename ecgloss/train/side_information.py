"""What is known about recordings besides their signals, for losses that use it: risk, patient, label, age, sex."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgloss.data.dataset import EcgDataset
from ecgloss.train.config import PretrainConfig
from ecgloss.train.risks import RunRisk, run_risk


@dataclass(frozen=True)
class SideInformation:
    """What is known about n recordings, one row each.

    Attributes:
        risk: (n,) or (n, K) risks, fp32, NaN where unknown.
        missing: (n,) fraction of its inputs that are missing, fp32.
        patient: (n,) int64; equal for recordings of one patient, and for copies of one signal.
        label: (n,) int64 class; a recording without a label has a number of its own.
        metadata: (n, 2) age and sex, fp32, with mean 0 and variance 1 over the training recordings; 0 where unknown.
        features: (n, F) physiological features, scaled on the training recordings, fp32; rows of NaN where unknown.
            None for a method that does not use them.
        usable: (n,) bool, whether the waves of a recording were found well enough. None for a method that uses none.
    """

    risk: Tensor
    missing: Tensor
    patient: Tensor
    label: Tensor
    metadata: Tensor
    features: Tensor | None = None
    usable: Tensor | None = None

    def rows(self, rows: Tensor) -> SideInformation:
        """The recordings at the given positions."""
        return self._each(lambda x: x[rows])

    def to(self, device: torch.device) -> SideInformation:
        """The same on a device."""
        return self._each(lambda x: x.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> SideInformation:
        """The same with every tensor changed."""
        values = (getattr(self, field.name) for field in fields(self))
        return SideInformation(*(None if x is None else change(x) for x in values))  # type: ignore[arg-type]


def side_information(
    config: PretrainConfig, dataset: EcgDataset, train: NDArray[np.int64], risks: RunRisk | None = None
) -> tuple[SideInformation, dict[str, str]]:
    """Collect what is known about all recordings of a dataset.

    Args:
        config: Risk region, and which labels.
        dataset: The recordings.
        train: Positions of the training recordings, over which ages and sexes are scaled.
        risks: The risks, where they are known already.

    Returns:
        What is known; and the gaps: for each of "risk", "age", "sex" and "label" that some training recordings lack, a
        sentence that says how many.

    Raises:
        ValueError: if ``config.label_column`` is no classification task of the dataset.
    """
    found = run_risk(config, dataset, train) if risks is None else risks
    risk, missing = found.risk, found.missing
    _, patient = np.unique(dataset.index["group"].to_numpy(), return_inverse=True)
    label, labelled = _labels(dataset, config.label_column)
    age = dataset.index["age"].to_numpy(dtype=np.float64, na_value=np.nan)
    sex = np.array([{"male": 0.0, "female": 1.0}.get(x, np.nan) for x in dataset.index["sex"].tolist()])
    known = {
        "risk": ~np.isnan(risk.numpy().reshape(len(risk), -1)).any(axis=1),
        "age": ~np.isnan(age),
        "sex": ~np.isnan(sex),
        "label": labelled,
    }
    gaps = {name: _gap(name, found[train]) for name, found in known.items() if not found[train].all()}
    metadata = np.stack([_scaled(age, train), _scaled(sex, train)], axis=1)
    side = SideInformation(
        risk, missing, torch.from_numpy(patient), torch.from_numpy(label), torch.from_numpy(metadata).float()
    )
    return side, gaps


def class_numbers(labels: Sequence[tuple[str, ...] | None]) -> NDArray[np.int64]:
    """One number per recording: equal for equal sets of labels; every recording without labels gets its own.

    Args:
        labels: Labels of every recording, as ``EcgDataset.labels`` gives them; None: not labelled.

    Example:
        >>> class_numbers([("MI",), ("CD", "MI"), None, ("MI", "CD"), (), None]).tolist()
        [2, 1, 3, 1, 0, 4]
    """
    sets = [None if found is None else tuple(sorted(found)) for found in labels]
    number = {found: i for i, found in enumerate(sorted({found for found in sets if found is not None}))}
    own = iter(range(len(number), len(number) + len(sets)))
    return np.array([next(own) if found is None else number[found] for found in sets], np.int64)


def _labels(dataset: EcgDataset, task: str | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Class of every recording, and whether it has one."""
    labels: Sequence[tuple[str, ...] | None] = [None] * len(dataset)
    if task is not None:
        try:
            labels = dataset.labels(task)
        except ValueError as error:
            raise ValueError(f"label_column: {error}") from error
    return class_numbers(labels), np.array([found is not None for found in labels])


def _scaled(x: NDArray[np.float64], train: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean 0 and variance 1 over the known values of the training recordings; 0 for an unknown value: the mean."""
    known = x[train][~np.isnan(x[train])]
    if not len(known):
        return np.zeros_like(x)
    scaled = (x - known.mean()) / (known.std() or 1.0)
    return np.where(np.isnan(scaled), 0.0, scaled)


def _gap(name: str, known: NDArray[np.bool_]) -> str:
    """A sentence on how many training recordings lack something."""
    return f"{np.count_nonzero(~known)} of {len(known)} training recordings have no known {name}"
