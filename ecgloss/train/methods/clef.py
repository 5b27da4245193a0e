"""CLEF: negatives weighted by clinical risk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.losses import CLEFLoss
from ecgloss.models.resnext1d import ResNeXt1D
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods.base import Method, Terms, embed
from ecgloss.train.side_information import SideInformation


class Clef(Method):
    """CLEF on the embeddings and the risks of a batch."""

    def __init__(self, config: PretrainConfig, encoder: ResNeXt1D, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.region = config.region
        self.criterion = CLEFLoss(**vars(config.clef.resolve(config.temperature)), group=group)

    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss, and its two terms."""
        z1, z2 = embed(encoder, view1, view2)
        loss, contrastive, alignment = self.criterion.terms(z1, z2, side.risk, side.missing)
        return Terms(loss, {"contrastive": contrastive, "alignment": alignment})

    def describe(self) -> dict[str, Any]:
        """Risk region, and the options of the loss with its preset filled in."""
        return {"region": self.region, **vars(self.criterion.options)}

    def check(self, config: PretrainConfig, side: SideInformation, gaps: Mapping[str, str]) -> list[str]:
        """Unknown risks are allowed."""
        return [gaps["risk"]] if "risk" in gaps else []
