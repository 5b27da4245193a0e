"""Clinical risk of the recordings of a dataset, from their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecgloss.data.dataset import EcgDataset
from ecgloss.risk.inputs import QUANTITIES, YES_NO
from ecgloss.risk.missing import ClinicalRisk, clinical_risk
from ecgloss.risk.scores import Region


def risk_inputs(dataset: EcgDataset) -> dict[str, Any]:
    """The inputs of clinical scores that a dataset knows, (n,) each, in the units of its index.

    Example:
        >>> import tempfile
        >>> from ecgloss.data import Preprocessing, open_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = open_dataset("synthetic:3", preprocessing=Preprocessing(), cache_dir=folder, progress=False)
        ...     list(risk_inputs(dataset))
        ['sex', 'age', 'sbp', 'total_chol', 'hdl_chol', 'smoker', 'diabetes']
    """
    index = dataset.index
    columns: dict[str, Any] = {"sex": [x if isinstance(x, str) else None for x in index["sex"].tolist()]}
    for name in QUANTITIES:
        if name in index:
            columns[name] = index[name].to_numpy(dtype=np.float64, na_value=np.nan)
    for name in YES_NO:
        if name in index:
            columns[name] = np.array([np.nan if _unknown(x) else float(bool(x)) for x in index[name].tolist()])
    return columns


def recording_risk(
    dataset: EcgDataset, region: Region | None = None, *, inputs: Mapping[str, Any] | None = None, **options: Any
) -> ClinicalRisk:
    """The clinical risk of every recording, and how it came about.

    Values that are impossible, or look as if they were in another unit, are flagged and not used.

    Args:
        dataset: Recordings with metadata.
        region: Risk region of the country the patients live in: "low", "moderate", "high" or "very_high".
        inputs: What to use in place of :func:`risk_inputs`.
        options: Of :func:`ecgloss.risk.clinical_risk`: ``score``, ``country``, ``extrapolate``, ``missing_inputs``, ...

    Raises:
        ValueError: As :func:`ecgloss.risk.clinical_risk`.
    """
    columns = risk_inputs(dataset) if inputs is None else inputs
    return clinical_risk(**columns, region=region, implausible="flag", **options)


def recording_risks(dataset: EcgDataset, region: Region) -> tuple[Tensor, Tensor]:
    """Return the clinical risk of every recording: SCORE2 below 70 years, SCORE2-OP from 70 on.

    Both are ten-year risks of a first cardiovascular event; see `ecgloss.risk.clinical_risk` for how missing inputs
    are replaced, and :func:`recording_risk` for a full account.

    Args:
        dataset: Recordings with metadata.
        region: Risk region of the country the patients live in: "low", "moderate", "high" or "very_high".

    Returns:
        Risk as a fraction in (0, 1), (n,) fp32, NaN where age or sex is unknown or the age lies outside 40 to 89; and
        the fraction of the inputs of the score that are missing, (n,) fp32.

    Example:
        >>> import tempfile
        >>> from ecgloss.data import Preprocessing, open_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = open_dataset("synthetic:3", preprocessing=Preprocessing(), cache_dir=folder, progress=False)
        ...     risk, missing = recording_risks(dataset, "moderate")
        >>> risk.shape, bool(((risk > 0) & (risk < 1)).all())
        (torch.Size([3]), True)
    """
    return tensors(recording_risk(dataset, region))


def tensors(found: ClinicalRisk) -> tuple[Tensor, Tensor]:
    """Risk and share of missing inputs, (n,) fp32 each, as the losses take them."""
    return torch.from_numpy(found.risk).float(), torch.from_numpy(found.missing).float()


def _unknown(x: object) -> bool:
    """Tell whether a value is None, NaN or pandas' NA."""
    return x is None or x != x or str(x) == "<NA>"
