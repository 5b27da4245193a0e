"""Which axis of an array holds recordings, leads and samples: decided by the number of leads, never by size alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layout:
    """How recordings lie in an array.

    Attributes:
        n: Number of recordings.
        recordings: Axis along which they lie; None: the array is one recording.
        leads: Axis of the leads; None: there is one lead, without an axis of its own.
        samples: Axis of the samples.
    """

    n: int
    recordings: int | None
    leads: int | None
    samples: int

    def row(self, array: Any, k: int) -> NDArray[Any]:
        """Recording ``k`` of an array as (leads, samples); of an array on disk, no other is read.

        Example:
            >>> Layout(2, 0, 2, 1).row(np.zeros((2, 500, 12)), 1).shape
            (12, 500)
        """
        if self.recordings is None:
            found = np.asarray(array[...])
        else:
            at: list[Any] = [slice(None)] * array.ndim
            at[self.recordings] = k
            found = np.asarray(array[tuple(at)])
        if self.leads is None:
            return found.reshape(1, -1)
        return found if self.leads < self.samples else found.T

    def reversed(self, ndim: int) -> Layout:
        """The same for an array whose axes lie in the opposite order, as MATLAB's do in HDF5.

        Example:
            >>> Layout(2, 0, 1, 2).reversed(3)
            Layout(n=2, recordings=2, leads=1, samples=0)
        """
        recordings, leads = (None if axis is None else ndim - 1 - axis for axis in (self.recordings, self.leads))
        return Layout(self.n, recordings, leads, ndim - 1 - self.samples)


def layout_of(shape: tuple[int, ...], n_leads: int, source: str) -> Layout:
    """Find recordings, leads and samples.

    Three axes are (n, leads, samples) or (n, samples, leads): the leads are where their number is. Two axes are one
    recording, or (n, samples) of one lead. One axis is one recording of one lead.

    Args:
        shape: Of the array.
        n_leads: How many leads have been named.
        source: Name of the array, for errors.

    Raises:
        ValueError: If the number of leads is nowhere, or on both axes.

    Example:
        >>> layout_of((40, 5000, 12), 12, "a.h5")
        Layout(n=40, recordings=0, leads=2, samples=1)
        >>> layout_of((40, 12, 12), 12, "a.h5")
        Traceback (most recent call last):
        ...
        ValueError: a.h5: the shape (40, 12, 12) has 12 leads on either axis; save it as (n, leads, samples) with more samples than leads
    """  # noqa: E501
    if not all(shape):
        raise ValueError(f"{source}: the shape {shape} is empty")
    if n_leads == 1 and len(shape) == 1:
        return Layout(1, None, None, 0)
    if n_leads == 1 and len(shape) == 2:
        if 1 in shape:
            return Layout(1, None, shape.index(1), 1 - shape.index(1))
        return Layout(shape[0], 0, None, 1)
    if len(shape) in (2, 3):
        first, last = len(shape) - 2, len(shape) - 1
        if shape[first] == n_leads == shape[last]:
            raise ValueError(
                f"{source}: the shape {shape} has {n_leads} leads on either axis; save it as (n, leads, samples) with "
                "more samples than leads"
            )
        n, at = (shape[0], 0) if len(shape) == 3 else (1, None)
        if shape[first] == n_leads:
            return Layout(n, at, first, last)
        if shape[last] == n_leads:
            return Layout(n, at, last, first)
    raise ValueError(
        f"{source} must be (n, {n_leads} leads, samples); got shape {shape}; name as many --leads as it has (its last "
        "two axes may be swapped, and one recording needs no axis n)"
    )
