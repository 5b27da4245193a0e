"""The losses as modules: they hold options (MoCo's a queue as well) and call :mod:`ecgloss.functional`."""

from ecgloss.losses.base import LogTemperature
from ecgloss.losses.clef import CLEFLoss
from ecgloss.losses.contrastive import BYOLLoss, InfoNCELoss, NTXentLoss, PhysioCLRLoss, SupConLoss, YAwareLoss
from ecgloss.losses.moco import MoCoLoss

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
]
