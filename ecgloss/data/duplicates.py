"""Groups of recordings that must be in one part of a split: those of one patient, and copies of one signal.

Databases contain one signal under two patient identifiers (PTB-XL 145 and 463) or under two names (Georgia
E07509 and E07510). A compact signature of every recording finds candidates; the stored signals then decide. Altered
copies are found by their thumbnails (`ecgloss.data.near_duplicates`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache

import numpy as np

from ecgloss.data.near_duplicates import near_duplicates

#: Correlation over all common leads from which two recordings count as one. On the real databases duplicates
#: (100 Hz copies included) reach 0.9996 and the most similar recordings of different patients 0.64.
SAME_SIGNAL = 0.98
#: Correlation of two signatures from which the signals are compared. The random projection changes a correlation of
#: 0.98 by about 0.005.
_CANDIDATE = 0.9
_LENGTH_S, _RATE, _SIZE = 10.0, 50.0, 96
_PREFERRED = ("II", "MLII", "I", "V5", "V2", "V1")
_CHUNK = 1024

ReadSignal = Callable[[int], tuple[Sequence[str], np.ndarray]]


def signature(leads: Sequence[str], signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Summarise one recording: a fixed random projection of ten seconds of one lead at 50 Hz.

    Args:
        leads: Lead names.
        signal: ``(leads, samples)`` in any unit, band-passed.
        sampling_rate: In Hz.

    Returns:
        ``(96,)`` float32 of unit length, so that the dot product of two signatures estimates the correlation of
        their signals; zeros for a recording without any variation.

    Example:
        >>> x = np.sin(np.arange(5000) / 40.0, dtype=np.float32)[None]
        >>> a, b = signature(("II",), x, 500.0), signature(("II",), 2 * x, 500.0)
        >>> bool(a @ b > 0.999)
        True
    """
    row = next((i for i in _in_order(tuple(leads)) if signal[i].max() > signal[i].min()), None)
    if row is None:
        return np.zeros(_SIZE, np.float32)
    x = signal[row, : round(_LENGTH_S * sampling_rate)].astype(np.float64)
    edges, widths = _edges(sampling_rate, len(x))
    low = np.zeros(int(_LENGTH_S * _RATE))
    low[: len(edges)] = np.add.reduceat(x - x.mean(), edges) / widths
    projected: np.ndarray = low @ _projection()
    return np.asarray(projected / max(float(np.linalg.norm(projected)), 1e-12), np.float32)


def groups(
    patients: Sequence[str], signatures: np.ndarray, read: ReadSignal, thumbnails: np.ndarray | None = None
) -> list[str]:
    """Join recordings of one patient and recordings with the same signal.

    Args:
        patients: Patient of each recording.
        signatures: ``(recordings, 96)`` as `signature` makes them.
        read: Given an index, returns lead names and the ``(leads, samples)`` signal.
        thumbnails: ``(recordings, 8, 320)`` as :func:`ecgloss.data.thumbnail.thumbnail` makes them, by which altered
            copies are found as well; None: they are not.

    Returns:
        One name per recording, equal for recordings that belong together: the patient of the first of them.

    Raises:
        ValueError: If there is not one signature per recording.

    Example:
        >>> x = np.random.default_rng(0).standard_normal((1, 5000)).astype(np.float32)
        >>> same = np.stack([signature(("II",), x, 500.0)] * 2)
        >>> groups(["a", "b"], same, lambda i: (("II",), x))
        ['a', 'a']
    """
    if len(signatures) != len(patients):
        raise ValueError(f"signatures must have one row per recording ({len(patients)}), got {len(signatures)}")
    parents = _Parents(patients)
    for i, j in _candidates(signatures, parents.roots()):
        if parents.find(i) != parents.find(j) and same_signal(read(i), read(j)):
            parents.join(i, j)
    if thumbnails is not None:
        for i, j in near_duplicates(thumbnails, groups=np.array(parents.roots(), np.int64)).tolist():
            parents.join(i, j)
    return [patients[root] for root in parents.roots()]


def join_groups(groups: Sequence[str], others: Sequence[str | None]) -> list[str]:
    """Groups of recordings that share a group or, where it is known, another mark such as a patient.

    Args:
        groups: Group of every recording.
        others: The other mark of every recording; None: unknown.

    Returns:
        One name per recording, the group of the first of those that belong together.

    Example:
        >>> join_groups(["a", "b", "c", "d"], ["x", None, "x", None])
        ['a', 'b', 'a', 'd']
    """
    parents = _Parents(groups)
    first: dict[str, int] = {}
    for i, mark in enumerate(others):
        if mark is not None:
            parents.join(first.setdefault(mark, i), i)
    return [groups[root] for root in parents.roots()]


def same_signal(a: tuple[Sequence[str], np.ndarray], b: tuple[Sequence[str], np.ndarray]) -> bool:
    """Tell whether two recordings are the same signal, up to rounding, noise and gain.

    Args:
        a: Lead names and ``(leads, samples)`` signal.
        b: The other recording, at the same rate. The common leads are compared over the shorter length.

    Example:
        >>> x = np.random.default_rng(0).standard_normal((1, 500))
        >>> same_signal((("I",), x), (("I",), 2 * x)), same_signal((("I",), x), (("I",), x[:, ::-1]))
        (True, False)
    """
    common = [lead for lead in a[0] if lead in b[0]]
    length = min(a[1].shape[1], b[1].shape[1])
    if not common:
        return False
    x, y = (s[[list(leads).index(lead) for lead in common], :length].astype(np.float64) for leads, s in (a, b))
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    energy = float(np.sqrt(np.sum(x * x) * np.sum(y * y)))
    return energy > 0.0 and float(np.sum(x * y)) >= SAME_SIGNAL * energy


class _Parents:
    """Union-find; the root of a set is its smallest index, so that results do not depend on the order."""

    def __init__(self, patients: Sequence[str]) -> None:
        first: dict[str, int] = {}
        self._parent = [first.setdefault(patient, i) for i, patient in enumerate(patients)]

    def find(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        low, high = sorted((self.find(i), self.find(j)))
        self._parent[high] = low

    def roots(self) -> list[int]:
        return [self.find(i) for i in range(len(self._parent))]


def _candidates(signatures: np.ndarray, roots: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield pairs of different sets with similar signatures, block by block: never the N x N matrix."""
    root = np.asarray(roots)
    for start in range(0, len(signatures), _CHUNK):
        block = signatures[start : start + _CHUNK] @ signatures[start:].T
        rows, columns = np.nonzero(block > _CANDIDATE)
        keep = (columns > rows) & (root[rows + start] != root[columns + start])
        yield from zip((rows[keep] + start).tolist(), (columns[keep] + start).tolist())


@lru_cache
def _in_order(leads: tuple[str, ...]) -> list[int]:
    """Positions of leads, those first that are preferred."""
    return sorted(range(len(leads)), key=lambda i: _PREFERRED.index(leads[i]) if leads[i] in _PREFERRED else 99)


@lru_cache
def _edges(sampling_rate: float, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the samples at 50 Hz begin, and how many samples of the signal each has."""
    edges = (np.arange(int(_LENGTH_S * _RATE)) * (sampling_rate / _RATE)).astype(np.int64)
    edges = edges[edges < samples]
    return edges, np.maximum(np.diff(edges, append=samples), 1)


@cache
def _projection() -> np.ndarray:
    """Return the random projection, (500, 96); its seed is fixed, so that the same recordings are always joined."""
    generator = np.random.Generator(np.random.PCG64(20))
    return np.asarray(generator.standard_normal((int(_LENGTH_S * _RATE), _SIZE)) / np.sqrt(_SIZE))
