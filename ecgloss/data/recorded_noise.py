"""Noise that was recorded: the MIT-BIH noise stress test database, where the user has it.

Moody, Muldrow, Mark: A noise stress test for arrhythmia detectors. Computers in Cardiology 11:381-384, 1984;
physionet.org/content/nstdb. Its records bw, em and ma are half an hour of two channels each, at 360 Hz.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ecgloss._extras import require
from ecgloss.data.noise import unit_rms
from ecgloss.data.wfdb import InvalidRecordError
from ecgloss.data.wfdb.records import read_voltages

#: Record of each kind of noise.
RECORDS = {"baseline": "bw", "electrode": "em", "motion": "ma"}


def recorded_noise(folder: Path, kind: str, length: int, sampling_rate: float) -> Tensor:
    """All whole pieces of a record of noise, (pieces, length), each without its mean and with mean square 1.

    Args:
        folder: With the records bw, em and ma.
        kind: One of :data:`RECORDS`.
        length: Samples of a piece.
        sampling_rate: To which the record is resampled, in Hz.

    Raises:
        ValueError: If the record is missing, broken or too short.

    Example:
        >>> recorded_noise(Path("no such folder"), "baseline", 100, 100.0)
        Traceback (most recent call last):
        ...
        ValueError: noise_folder no such folder: bw.hea is missing; it must hold the records bw, em and ma of nstdb
    """
    try:
        record = read_voltages(folder / f"{RECORDS[kind]}.hea")
    except InvalidRecordError as error:
        raise ValueError(f"noise_folder {folder}: {error}; it must hold the records bw, em and ma of nstdb") from error
    signal = require("scipy.signal", "data")
    up, down = round(10 * sampling_rate), round(10 * record.sampling_rate)
    x = signal.resample_poly(np.nan_to_num(record.signal), up, down, axis=-1, padtype="line")
    pieces = x.shape[1] // length
    if not pieces:
        raise ValueError(f"noise_folder {folder}: {RECORDS[kind]} has {x.shape[1]} samples, a view needs {length}")
    found = torch.from_numpy(np.ascontiguousarray(x[:, : pieces * length], np.float32)).reshape(-1, length)
    return unit_rms(found - found.mean(1, keepdim=True))
