"""Splits into training, validation and test recordings: by patient, from a seed, saved as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgloss._files import read_json, write_json
from ecgloss._value_types import check_values

if TYPE_CHECKING:
    from ecgloss.data.dataset import EcgDataset

PARTS = ("train", "validation", "test")
FRACTIONS = (0.7, 0.15, 0.15)
_FORMAT = 1


@dataclass
class _SavedSplit:
    """What a file says of a split besides the parts."""

    seed: int
    fractions: tuple[float, float, float]
    fingerprint: str


class Overlap(NamedTuple):
    """Recordings that left validation and test; patients of the test part who were trained on, and how many it had."""

    moved: int
    patients: int
    test_patients: int


@dataclass(frozen=True, eq=False)
class Split:
    """Which recordings belong to which part.

    Attributes:
        train: Sorted positions in the dataset's index.
        validation: Positions of the validation recordings.
        test: Positions of the test recordings.
        seed: Seed of the assignment.
        fractions: Requested fractions of the groups, in the order train, validation, test.
        fingerprint: Fingerprint of the dataset.
        names: Name of every recording of the dataset, in its order.

    Example:
        >>> split = split_groups(["a", "b", "c", "c"], ["r0", "r1", "r2", "r3"], seed=1)
        >>> len(split.train) + len(split.validation) + len(split.test)
        4
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    seed: int
    fractions: tuple[float, float, float]
    fingerprint: str
    names: tuple[str, ...]

    def save(self, path: str | Path) -> None:
        """Write the split as JSON: every recording's name with its part.

        Args:
            path: File to write; it is replaced in one step.
        """
        part = {int(i): name for name in PARTS for i in getattr(self, name)}
        content = {
            "format": _FORMAT,
            "seed": self.seed,
            "fractions": list(self.fractions),
            "fingerprint": self.fingerprint,
            "recordings": {name: part.get(i) for i, name in enumerate(self.names)},
        }
        write_json(path, content)

    @classmethod
    def load(cls, path: str | Path) -> Split:
        """Read a split written by `save`.

        Args:
            path: The file.

        Raises:
            ValueError: If it cannot be read or is not a split.
        """
        raw = read_json(path)
        try:
            if raw["format"] != _FORMAT:
                raise ValueError(f"its format is {raw['format']!r}, not {_FORMAT}")
            parts = list(raw["recordings"].values())
            if not set(parts) <= {*PARTS, None}:
                odd = sorted(set(map(str, parts)) - set(PARTS))
                raise ValueError(f"it has unknown parts {', '.join(odd)[:200]}")
            train, validation, test = _positions(parts)
            check_values(_SavedSplit, raw)
            a, b, c = map(float, raw["fractions"])
            names = tuple(raw["recordings"])
            return cls(train, validation, test, int(raw["seed"]), (a, b, c), str(raw["fingerprint"]), names)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"cannot read the split {path}: not a split of ecgloss") from error
        except ValueError as error:
            raise ValueError(f"cannot read the split {path}: {error}") from error

    def align(self, dataset: EcgDataset) -> Split:
        """Find the same recordings in a dataset opened in another way, for example at another rate.

        Args:
            dataset: A dataset with the same recordings, in any order.

        Returns:
            The split with positions in that dataset.

        Raises:
            ValueError: If a recording of one is not in the other.
        """
        names = dataset.index["name"].tolist()
        position = {name: i for i, name in enumerate(names)}
        different = sorted(set(self.names) ^ set(names))
        if different:
            raise ValueError(
                f"the split and {dataset.source} differ in {len(different)} recordings: {', '.join(different[:3])}"
            )
        train, validation, test = (
            np.sort(np.array([position[self.names[i]] for i in getattr(self, part)], np.int64)) for part in PARTS
        )
        return Split(train, validation, test, self.seed, self.fractions, dataset.fingerprint, tuple(names))

    def keep_in_train(self, dataset: EcgDataset, seen: NDArray[np.bool_]) -> tuple[Split, Overlap]:
        """Move patients who were trained on before out of validation and test.

        Args:
            dataset: The dataset of this split.
            seen: (n,) bool, recordings an encoder has been trained on; other recordings of their patients move too.

        Returns:
            The split, and how many were moved.

        Raises:
            ValueError: If nothing is left to validate or to test on.
        """
        groups = dataset.index["group"].to_numpy()
        before = set(groups[seen].tolist())
        known = np.array([group in before for group in groups])
        validation, test = self.validation[~known[self.validation]], self.test[~known[self.test]]
        moved = len(self.validation) + len(self.test) - len(validation) - len(test)
        overlap = Overlap(moved, len(before & set(groups[self.test])), len(set(groups[self.test])))
        if not len(validation) or not len(test):
            raise ValueError(
                f"{dataset.source}: {overlap.patients} of {overlap.test_patients} test patients were trained on, and "
                "every patient of validation or test; evaluate on other data"
            )
        rest = np.setdiff1d(np.arange(len(groups)), np.concatenate([validation, test]))
        return replace(self, train=rest, validation=validation, test=test), overlap


def chosen_split(
    dataset: EcgDataset, said: str | None, *, seed: int, fractions: tuple[float, float, float] | None = None
) -> tuple[Split, str]:
    """The split that was asked for, or the usual one; and which it is, in words.

    Args:
        dataset: The recordings.
        said: As for :func:`split_as_said`; None: the usual one.
        seed: As for :func:`usual_split`.
        fractions: As for :func:`usual_split`.

    Raises:
        ValueError: As these two.
    """
    if said is None:
        return usual_split(dataset, seed=seed, fractions=fractions)
    return split_as_said(dataset, said), f"that of {said}"


def usual_split(
    dataset: EcgDataset, *, seed: int, fractions: tuple[float, float, float] | None = None
) -> tuple[Split, str]:
    """The split of the database or of the table, if it has one, else a new one by patient.

    Args:
        dataset: The recordings.
        seed: Of a new split.
        fractions: Of a new split, for train, validation and test; None: the split of the database or, where it has
            none, 0.7, 0.15 and 0.15.

    Returns:
        The split, and which it is, in words. A recording of validation or test whose patient or signal also trains is
        left out of a database's split, and counted.

    Raises:
        ValueError: As :func:`split_by_patient`.
    """
    if fractions is None and dataset.parts is not None and set(PARTS) <= set(dataset.parts):
        split, straddling = _split_of_parts(dataset, dataset.parts)
        left_out = f"; {straddling} recordings left out, their patient or signal is in another part"
        return split, f"that of the database{left_out if straddling else ''}"
    return split_by_patient(dataset, seed=seed, fractions=fractions or FRACTIONS), f"new, by patient, seed {seed}"


def _split_of_parts(dataset: EcgDataset, parts: Sequence[str | None]) -> tuple[Split, int]:
    """A split by the part of every recording; of a group in several parts the first one of them stays."""
    groups = dataset.index["group"].tolist()
    first: dict[str, str] = {}
    for name in PARTS:
        for group, part in zip(groups, parts):
            if part == name:
                first.setdefault(group, name)
    kept = [part if part is not None and first[group] == part else None for group, part in zip(groups, parts)]
    return _as_split(dataset, kept), sum(a is not None and b is None for a, b in zip(parts, kept))


def _as_split(dataset: EcgDataset, parts: Sequence[str | None]) -> Split:
    """A split by the part of every recording."""
    names = tuple(dataset.index["name"].tolist())
    return Split(*_positions(parts), 0, (0.0, 0.0, 0.0), dataset.fingerprint, names)


def part_of_fold(fold: float) -> str | None:
    """Part of a recording by its fold, as in the benchmark of PTB-XL: 1 to 8 train, 9 validates, 10 tests.

    Args:
        fold: Its number; any other than 1 to 10, and NaN, is none.

    Example:
        >>> [part_of_fold(fold) for fold in (1, 9, 10, 0, float("nan"))]
        ['train', 'validation', 'test', None, None]
    """
    return {9.0: "validation", 10.0: "test"}.get(fold, "train") if 1 <= fold <= 10 else None


def _positions(parts: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted positions of the recordings of each part."""
    train, validation, test = (np.flatnonzero([part == name for part in parts]) for name in PARTS)
    return train, validation, test


def unknown_patients(dataset: EcgDataset) -> list[str]:
    """A sentence for the user where the database does not say whose a recording is; nothing where it does.

    Args:
        dataset: The recordings; one without a known patient has its own name as patient.
    """
    unknown = int((dataset.index["name"].to_numpy() == dataset.index["patient"].to_numpy()).sum())
    if not unknown:
        return []
    n = len(dataset.index)
    which = "patients are" if unknown == n else f"the patients of {unknown} of {n} recordings are"
    return [f"{which} not identified: each such recording counts as a patient of its own, unless a table names them"]


def split_as_said(dataset: EcgDataset, source: str) -> Split:
    """A split that was made elsewhere.

    Args:
        dataset: The recordings.
        source: ``"all"``: every recording trains; ``"folds"``: the split of the database; a file as
            :meth:`Split.save` writes it; or a column of a table, whose parts the dataset has. A recording without a
            part is in none.

    Raises:
        ValueError: If it cannot be read, nothing trains, or a patient is in two parts.
    """
    names = tuple(dataset.index["name"].tolist())
    if source == "all":
        empty = np.zeros(0, np.int64)
        return Split(np.arange(len(names)), empty, empty, 0, (1.0, 0.0, 0.0), dataset.fingerprint, names)
    if source == "folds" and (dataset.parts is None or "train" not in dataset.parts):
        raise ValueError(f"split folds: {dataset.source} comes without a split of its own")
    if source == "folds" and dataset.parts is not None:
        return _split_of_parts(dataset, dataset.parts)[0]
    if Path(source).is_file():
        split = Split.load(source).align(dataset)
    elif dataset.parts is not None:
        split = _as_split(dataset, dataset.parts)
    else:
        raise ValueError(f"split {source} is no file, and no column of a table (--table); or say all or folds")
    groups = dataset.index["group"].to_numpy()
    where: dict[str, str] = {}
    for part in PARTS:
        for group in set(groups[getattr(split, part)].tolist()):
            if where.setdefault(group, part) != part:
                raise ValueError(f"split {source}: patient {group} is in {where[group]} and in {part}")
    if not len(split.train):
        raise ValueError(f"split {source}: no recording trains")
    return split


def split_by_patient(dataset: EcgDataset, *, seed: int = 0, fractions: tuple[float, float, float] = FRACTIONS) -> Split:
    """Split a dataset so that no patient, and no signal that occurs twice, is in more than one part.

    Args:
        dataset: The recordings; those of one ``group`` stay together.
        seed: Seed of the assignment. The same seed and names give the same split on every machine.
        fractions: Fractions of the groups for train, validation and test; positive, with sum 1.

    Returns:
        The split. No part is empty.

    Raises:
        ValueError: If there are fewer than three groups, or the fractions are invalid.
    """
    index = dataset.index
    return split_groups(
        index["group"].tolist(),
        index["name"].tolist(),
        seed=seed,
        fractions=fractions,
        fingerprint=dataset.fingerprint,
    )


def split_groups(
    groups: Sequence[str],
    names: Sequence[str],
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    fingerprint: str = "",
) -> Split:
    """Split recordings by group (see `split_by_patient`).

    Args:
        groups: Group of every recording.
        names: Name of every recording, each once.
        seed: Seed of the assignment.
        fractions: Fractions of the groups for train, validation and test.
        fingerprint: Fingerprint of the dataset.

    Raises:
        ValueError: If there are fewer than three groups, the names repeat, or the fractions are invalid.

    Example:
        >>> split_groups(["a", "a"], ["r0", "r1"])
        Traceback (most recent call last):
        ...
        ValueError: a split needs at least 3 patients (or groups of identical recordings), got 1
    """
    if len(fractions) != 3 or not all(f > 0 for f in fractions) or not math.isclose(sum(fractions), 1.0):
        raise ValueError(f"fractions must be three positive numbers with sum 1, got {fractions}")
    if len(set(names)) != len(names) or len(names) != len(groups):
        raise ValueError(f"names must be unique, one per recording: {len(groups)} recordings, {len(set(names))} names")
    distinct = sorted(set(groups))
    if len(distinct) < 3:
        raise ValueError(f"a split needs at least 3 patients (or groups of identical recordings), got {len(distinct)}")
    held_out = [max(1, round(fraction * len(distinct))) for fraction in fractions[1:]]
    while sum(held_out) >= len(distinct):  # of a few groups, rounding up may leave none for training
        held_out[int(np.argmax(held_out))] -= 1
    order = np.random.default_rng(seed).permutation(len(distinct))
    part = np.zeros(len(distinct), np.int64)
    part[order[: held_out[0]]] = 1
    part[order[held_out[0] : sum(held_out)]] = 2
    number = {group: i for i, group in enumerate(distinct)}
    recording_part = part[[number[group] for group in groups]]
    train, validation, test = (np.flatnonzero(recording_part == p) for p in range(3))
    a, b, c = fractions
    return Split(train, validation, test, seed, (a, b, c), fingerprint, tuple(names))
