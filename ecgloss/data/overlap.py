"""Recordings that an encoder has seen before, found by content: whatever their file, folder, sampling rate or database.

A signature (:func:`ecgloss.data.duplicates.signature`, 96 bytes) and a thumbnail
(:func:`ecgloss.data.thumbnail.thumbnail`, 2,560 bytes) of every training recording travel in the checkpoint. The
signature finds copies that begin at the same moment, with noise too; the thumbnail those that begin at another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.duplicates import signature
from ecgloss.data.near_duplicates import near_duplicates
from ecgloss.data.thumbnail import SAMPLES, SLOTS, thumbnail

#: Correlation of two signatures from which two recordings count as one. PTB-XL's 147 recordings at 100 and 500 Hz reach
#: 0.96 at least, the most similar recordings of different patients 0.74 (tests/data/test_overlap.py).
SEEN = 0.9
_SIZE = 96
_SCALE = 127.0 * 2  # entries of a unit vector of length 96 are small; larger ones are clipped
_BLOCK = 2048
_EDGE_S, _SPIKE = 1.0, 2.0  # ends that are left out; excursions beyond this multiple of the usual ones are cut


class Contents(NamedTuple):
    """What recordings are recognised by.

    Attributes:
        signatures: (n, 96) int8.
        thumbnails: (n, 8, 320) int8; none, (0, 8, 320), in checkpoints of versions that had only signatures.

    Example:
        >>> Contents(np.zeros((2, 96), np.int8)).thumbnails.shape
        (0, 8, 320)
    """

    signatures: NDArray[np.int8]
    thumbnails: NDArray[np.int8] = np.zeros((0, SLOTS, SAMPLES), np.int8)


def contents(dataset: EcgDataset, rows: Iterable[int] | None = None, *, progress: bool = False) -> Contents:
    """Signatures and thumbnails of recordings.

    Args:
        dataset: The recordings.
        rows: Positions; default all.
        progress: Show a progress bar.
    """
    chosen = range(len(dataset)) if rows is None else [int(i) for i in rows]
    rate = dataset.preprocessing.sampling_rate
    bar = require("tqdm", "data").tqdm(chosen, desc="signatures", unit="rec", disable=not progress, leave=False)
    signatures = np.zeros((len(chosen), _SIZE), np.int8)
    thumbnails = np.zeros((len(chosen), SLOTS, SAMPLES), np.int8)
    for k, i in enumerate(bar):
        leads, signal = dataset.leads(i), dataset.signal(i)
        signatures[k] = np.rint(signature(leads, _calm(signal, rate), rate) * _SCALE).clip(-127, 127)
        thumbnails[k] = thumbnail(leads, signal, rate)
    return Contents(signatures, thumbnails)


def seen_before(own: Contents, trained: Contents) -> NDArray[np.bool_]:
    """Which recordings are among others, or altered copies of some of them, (n,) bool.

    Args:
        own: Those of n recordings.
        trained: Those of the others.

    Example:
        >>> x = np.random.default_rng(0).integers(-50, 50, (3, 96)).astype(np.int8)
        >>> seen_before(Contents(x), Contents(x[1:2])).tolist()
        [False, True, False]
    """
    a, b = _unit(own.signatures), _unit(trained.signatures)
    seen = np.zeros(len(a), np.bool_)
    for start in range(0, len(b), _BLOCK):
        seen |= (a @ b[start : start + _BLOCK].T >= SEEN).any(axis=1)
    if len(trained.thumbnails) and len(own.thumbnails):
        seen[near_duplicates(own.thumbnails, trained.thumbnails)[:, 0]] = True
    return seen


def _calm(signal: NDArray[np.float32], sampling_rate: float) -> NDArray[np.float32]:
    """Signals without what depends on the rate at which they were filtered: transients at the ends, and spikes."""
    edge = min(round(_EDGE_S * sampling_rate), signal.shape[1] // 4)
    middle = np.median(signal, axis=1, keepdims=True)
    limit = _SPIKE * np.percentile(np.abs(signal - middle), 90, axis=1, keepdims=True)
    calm = (signal - middle).clip(-limit, limit)
    calm[:, :edge] = calm[:, signal.shape[1] - edge :] = 0
    return np.asarray(calm, np.float32)


def _unit(x: NDArray[np.int8]) -> NDArray[np.float32]:
    """Rows of length 1; of a recording without any variation 0, which is like nothing."""
    wide = x.astype(np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-6))
