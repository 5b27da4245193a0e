"""Contrastive losses for pretraining ECG encoders, without ever storing the N x N similarity matrix.

Example:
    >>> import torch, ecgloss
    >>> criterion = ecgloss.CLEFLoss()
    >>> z1, z2 = torch.randn(8, 16), torch.randn(8, 16)
    >>> loss = criterion(z1, z2, risk=torch.rand(8))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ecgloss import functional
from ecgloss.engine import backends
from ecgloss.losses import (
    BYOLLoss,
    CLEFLoss,
    InfoNCELoss,
    LogTemperature,
    MoCoLoss,
    NTXentLoss,
    PhysioCLRLoss,
    SupConLoss,
    YAwareLoss,
)

if TYPE_CHECKING:
    from ecgloss import data, evaluate, models, plots, risk, train

__version__ = "0.1.0"
__all__ = [
    "BYOLLoss",
    "CLEFLoss",
    "InfoNCELoss",
    "LogTemperature",
    "MoCoLoss",
    "NTXentLoss",
    "PhysioCLRLoss",
    "SupConLoss",
    "YAwareLoss",
    "__version__",
    "backends",
    "data",
    "evaluate",
    "functional",
    "models",
    "plots",
    "risk",
    "train",
]

_LAZY = ("data", "evaluate", "models", "plots", "risk", "train")


def __getattr__(name: str) -> Any:
    """Import a subpackage on first use, so that ``import ecgloss`` stays fast."""
    if name in _LAZY:
        return importlib.import_module(f"ecgloss.{name}")
    raise AttributeError(f"module 'ecgloss' has no attribute {name!r}")
