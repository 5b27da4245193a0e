"""The loss of a step, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.losses import CLEFLoss, NTXentLoss
from ecgloss.train.config import PretrainConfig


@dataclass(frozen=True)
class Terms:
    """A loss with what is logged of it."""

    loss: Tensor
    parts: dict[str, Tensor]


class ClefObjective(nn.Module):
    """CLEF on the embeddings and risks of a batch."""

    def __init__(self, config: PretrainConfig, group: ProcessGroup | None) -> None:
        super().__init__()
        options = vars(config.clef.resolve(config.temperature))
        self.criterion = CLEFLoss(**options, group=group)

    def forward(self, z1: Tensor, z2: Tensor, risk: Tensor, missing: Tensor) -> Terms:
        """Embeddings (B, D), risks and missing fractions (B,)."""
        loss, contrastive, alignment = self.criterion.terms(z1, z2, risk, missing)
        return Terms(loss, {"contrastive": contrastive, "alignment": alignment})


class SimclrObjective(nn.Module):
    """NT-Xent; risks are not looked at."""

    def __init__(self, config: PretrainConfig, group: ProcessGroup | None) -> None:
        super().__init__()
        self.criterion = NTXentLoss(config.temperature, group=group)

    def forward(self, z1: Tensor, z2: Tensor, risk: Tensor, missing: Tensor) -> Terms:
        """Embeddings (B, D)."""
        return Terms(self.criterion(z1, z2), {})


OBJECTIVES: dict[str, type[ClefObjective] | type[SimclrObjective]] = {
    "clef": ClefObjective,
    "simclr": SimclrObjective,
}


def objective(config: PretrainConfig, group: ProcessGroup | None) -> ClefObjective | SimclrObjective:
    """The objective a configuration names."""
    return OBJECTIVES[config.loss](config, group)


def describe(config: PretrainConfig) -> dict[str, Any]:
    """Name and resolved options of the loss, for the card."""
    if config.loss == "clef":
        return {"name": "clef", "region": config.region, **vars(config.clef.resolve(config.temperature))}
    return {"name": config.loss, "temperature": config.temperature}
