"""SupCon: recordings of one class attract; and CMSC: recordings of one patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.losses import SupConLoss
from ecgloss.models.encoder import Encoder
from ecgloss.train.methods.base import Method, Terms, embed

if TYPE_CHECKING:
    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.side_information import SideInformation


@dataclass(frozen=True)
class SupConOptions:
    """Options of a run that only SupCon has.

    Attributes:
        label_column: The classes of supcon: a classification task of the data, or sex. Required for supcon.
    """

    label_column: str | None = None


class Cmsc(Method):
    """Views of all recordings of a patient are positives of each other (CLOCS, arXiv 2005.13249)."""

    name = "cmsc"
    hint = "recordings of one patient"

    def __init__(self, config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.criterion = SupConLoss(config.tau)

    @classmethod
    def brings_patients_together(cls, config: PretrainConfig) -> bool:
        """Otherwise patients with several recordings rarely meet themselves."""
        return True

    def classes(self, side: SideInformation) -> Tensor:
        """(B,) numbers; recordings with equal numbers are positives of each other."""
        return side.patient

    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss; the other view of a recording is always a positive."""
        pair = embed(encoder, view1, view2)
        z1, z2 = (self.gather(z) for z in pair)
        return Terms(self.criterion(torch.cat([z1, z2]), self.gather(self.classes(side)).repeat(2)), {}, pair)

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

    name = "supcon"
    hint = "recordings of one class are positives"

    def __init__(self, config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.label_column = config.label_column

    @classmethod
    def check_options(cls, config: PretrainConfig) -> None:
        """Labels are named if, and only if, this is the method of the run."""
        if config.loss == cls.name and config.label_column is None:
            raise ValueError(f"loss {cls.name} needs label_column, a classification task of the data such as sex")
        if config.loss != cls.name and config.label_column is not None:
            raise ValueError(f"label_column is for loss {cls.name}; got {config.label_column} with loss {config.loss}")

    @classmethod
    def brings_patients_together(cls, config: PretrainConfig) -> bool:
        """Classes meet in random batches."""
        return False

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
