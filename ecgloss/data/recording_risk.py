"""Clinical risk of the recordings of a dataset, from whatever metadata they carry."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ecgloss.data.dataset import EcgDataset
from ecgloss.risk import clinical_risk
from ecgloss.risk.score2 import Region

# What clinical_risk takes; anything outside is a recording error and counts as missing.
PLAUSIBLE = {"age": (0.0, 130.0), "sbp": (30.0, 350.0), "total_chol": (0.5, 30.0), "hdl_chol": (0.05, 10.0)}


def recording_risks(dataset: EcgDataset, region: Region) -> tuple[Tensor, Tensor]:
    """SCORE2 or SCORE2-OP of every recording.

    Args:
        dataset: Recordings with metadata.
        region: SCORE2 risk region.

    Returns:
        Risk as a fraction, (n,) fp32, NaN where age or sex is unknown; and the fraction of its inputs that are
        missing, (n,) fp32. Implausible values count as missing.
    """
    index = dataset.index
    numbers = {}
    for name, (low, high) in PLAUSIBLE.items():
        values = index[name].to_numpy(dtype=np.float64, na_value=np.nan)
        numbers[name] = np.where((values >= low) & (values <= high), values, np.nan)
    flags = {
        name: np.array([np.nan if _unknown(x) else float(bool(x)) for x in index[name].tolist()])
        for name in ("smoker", "diabetes")
    }
    sex = [x if isinstance(x, str) else None for x in index["sex"].tolist()]
    result = clinical_risk(sex=sex, **numbers, **flags, region=region)
    return torch.from_numpy(result.risk).float(), torch.from_numpy(result.missing).float()


def _unknown(x: object) -> bool:
    """None, NaN and pandas' NA are unknown."""
    return x is None or x != x or str(x) == "<NA>"
