"""SupCon: recordings of one class attract; and CMSC: recordings of one patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.losses import SupConLoss
from ecgloss.models.resnext1d import ResNeXt1D
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods.base import Method, Terms, embed
from ecgloss.train.side_information import SideInformation


class Cmsc(Method):
    """Views of all recordings of a patient are positives of each other (CLOCS, arXiv 2005.13249)."""

    def __init__(self, config: PretrainConfig, encoder: ResNeXt1D, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.criterion = SupConLoss(config.temperature)

    def classes(self, side: SideInformation) -> Tensor:
        """(B,) what makes recordings positives of each other."""
        return side.patient

    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss; the other view of a recording is always a positive."""
        z1, z2 = (self.gather(z) for z in embed(encoder, view1, view2))
        return Terms(self.criterion(torch.cat([z1, z2]), self.gather(self.classes(side)).repeat(2)), {})

    def describe(self) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": self.criterion.temperature}

    def check(self, config: PretrainConfig, side: SideInformation, gaps: Mapping[str, str]) -> list[str]:
        """Patients with one recording are allowed."""
        patients, counts = side.patient.unique(return_counts=True)
        several = int((counts > 1).sum())
        return [f"{several} of {len(patients)} training patients have more than one recording"]


class SupCon(Cmsc):
    """Recordings with the same labels are positives of each other (arXiv 2004.11362)."""

    def __init__(self, config: PretrainConfig, encoder: ResNeXt1D, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.label_column = config.label_column

    def classes(self, side: SideInformation) -> Tensor:
        """(B,) the class of every recording."""
        return side.label

    def describe(self) -> dict[str, Any]:
        """The temperature, and which labels."""
        return {**super().describe(), "label_column": self.label_column}

    def check(self, config: PretrainConfig, side: SideInformation, gaps: Mapping[str, str]) -> list[str]:
        """Recordings without a label are allowed; their own views are their positives."""
        if len(side.label.unique()) < 2:
            raise ValueError(
                f"loss supcon needs labels that differ; in label_column {config.label_column} those of all "
                f"{len(side.label)} training recordings of {config.data} are the same"
            )
        return [gaps["label"]] if "label" in gaps else []
