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

if TYPE_CHECKING:
    from ecgloss import data, evaluate, functional, losses, models, physiology, plots, risk, train
    from ecgloss.engine import backends
    from ecgloss.functional import monitor
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
    "losses",
    "models",
    "monitor",
    "physiology",
    "plots",
    "risk",
    "train",
]

_SUBPACKAGES = ("data", "evaluate", "functional", "losses", "models", "physiology", "plots", "risk", "train")

_ELSEWHERE = {"backends": "engine", "monitor": "functional"}  # all others are losses


def __getattr__(name: str) -> Any:
    """Import what is used when it is used first: ``import ecgloss`` alone loads nothing, not even torch."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"ecgloss.{name}")
    if name in __all__:
        return getattr(importlib.import_module(f"ecgloss.{_ELSEWHERE.get(name, 'losses')}"), name)
    raise AttributeError(f"module 'ecgloss' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
