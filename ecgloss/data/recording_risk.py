"""SCORE2 risk of the recordings of a dataset, from their metadata."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ecgloss.data.dataset import EcgDataset
from ecgloss.risk import clinical_risk
from ecgloss.risk.inputs import POSSIBLE
from ecgloss.risk.missing import OLDEST_POSSIBLE
from ecgloss.risk.score2 import Region

#: Range of every number that `clinical_risk` takes; in a database, a value outside counts as missing.
PLAUSIBLE = {"age": (0.0, float(OLDEST_POSSIBLE))} | {name: (low, high) for name, (low, high, _) in POSSIBLE.items()}


def recording_risks(dataset: EcgDataset, region: Region) -> tuple[Tensor, Tensor]:
    """Return the clinical risk of every recording: SCORE2 below 70 years, SCORE2-OP from 70 on.

    Both are ten-year risks of a first cardiovascular event; see `ecgloss.risk.clinical_risk` for how missing inputs
    are replaced.

    Args:
        dataset: Recordings with metadata.
        region: Risk region of the country the patients live in: "low", "moderate", "high" or "very_high".

    Returns:
        Risk as a fraction in (0, 1), (n,) fp32, NaN where age or sex is unknown; and the fraction of the inputs of the
        score that are missing, (n,) fp32. Impossible values, such as a blood pressure of 0, count as missing.

    Example:
        >>> import tempfile
        >>> from ecgloss.data import Preprocessing, open_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = open_dataset("synthetic:3", preprocessing=Preprocessing(), cache_dir=folder, progress=False)
        ...     risk, missing = recording_risks(dataset, "moderate")
        >>> risk.shape, bool(((risk > 0) & (risk < 1)).all())
        (torch.Size([3]), True)
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
    """Tell whether a value is None, NaN or pandas' NA."""
    return x is None or x != x or str(x) == "<NA>"
