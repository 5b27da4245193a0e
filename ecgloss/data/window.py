"""The window an encoder sees: a cut of fixed length, standardised."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ecgloss.data.preprocess import Preprocessing


def cut(signal: np.ndarray, length: int, at: float = 0.0) -> np.ndarray:
    """Cut a window from a signal.

    Args:
        signal: (..., samples).
        length: Samples to return.
        at: Position of the window, in [0, 1): 0 is the first possible, just below 1 the last.

    Returns:
        (..., length), zero-padded at the end if the signal is shorter.

    Example:
        >>> cut(np.arange(5.0), 3, 0.99).tolist(), cut(np.ones(2), 3).tolist()
        ([2.0, 3.0, 4.0], [1.0, 1.0, 0.0])
    """
    spare = signal.shape[-1] - length
    if spare < 0:
        return np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, -spare)])
    start = int(at * (spare + 1))
    return signal[..., start : start + length]


def normalise(x: Tensor, preprocessing: Preprocessing) -> Tensor:
    """What an encoder sees of windows in mV.

    Args:
        x: (..., L) in mV.
        preprocessing: Its ``normalisation`` says what is done, and its ``scale_mv`` is used by "dataset".

    Raises:
        ValueError: If the scale is needed and not known.

    Example:
        >>> x = torch.tensor([1.0, 3.0])
        >>> normalise(x, Preprocessing()).tolist()
        [-1.0, 1.0]
        >>> normalise(x, Preprocessing(normalisation="dataset", scale_mv=2.0)).tolist()
        [0.5, 1.5]
    """
    if preprocessing.normalisation == "recording":
        return standardise(x)
    if preprocessing.normalisation == "none":
        return x
    if preprocessing.scale_mv is None:
        raise ValueError('normalisation "dataset" needs scale_mv, which pretraining finds and its checkpoints hold')
    return x / preprocessing.scale_mv


def standardise(x: Tensor) -> Tensor:
    """Z-score along the last axis; flat signals become zeros.

    Example:
        >>> standardise(torch.tensor([[1.0, 3.0], [2.0, 2.0]])).tolist()
        [[-1.0, 1.0], [0.0, 0.0]]
    """
    centred = x - x.mean(-1, keepdim=True)
    spread = centred.square().mean(-1, keepdim=True).sqrt()
    return torch.where(spread > 1e-6, centred / spread.clamp(min=1e-6), torch.zeros_like(x))
