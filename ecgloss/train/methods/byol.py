"""BYOL: from one view, predict the projection of the other view by a slowly moving copy; no negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.losses import BYOLLoss
from ecgloss.models.encoder import Encoder
from ecgloss.train.methods.base import Terms, embed, perceptron
from ecgloss.train.methods.momentum import MomentumMethod, momentum_copy

if TYPE_CHECKING:
    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.side_information import SideInformation

PROJECTION = 256  # width of the projections, and twice the encoder's width inside: the authors' 2048 -> 4096 -> 256


class Byol(MomentumMethod):
    """Encoder, projector and predictor learn; the target, a momentum copy of encoder and projector, follows.

    Batch normalisation sees both views of the recordings of a device at once, so one recording per device is enough.
    """

    name = "byol"
    usual_momentum = 0.996

    def __init__(self, config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.hidden = 2 * encoder.out_features
        self.projector = perceptron(config, "projector", encoder.out_features, self.hidden, PROJECTION)
        self.predictor = perceptron(config, "predictor", PROJECTION, self.hidden, PROJECTION)
        self.target = momentum_copy(nn.Sequential(encoder, self.projector), self.momentum)
        self.criterion = BYOLLoss(reduction="none")

    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The mean of both directions."""
        online = nn.Sequential(encoder, self.projector, self.predictor)
        p1, p2 = embed(online, view1, view2)
        with torch.no_grad():
            z1, z2 = embed(self.target, view1, view2)
        return Terms(self.gather(self.criterion(p1, p2, z1, z2)).mean(), {}, (p1, z2))

    def after_step(self, encoder: nn.Module) -> None:
        """The target follows."""
        self.target.update_parameters(nn.Sequential(encoder, self.projector))

    def describe(self) -> dict[str, Any]:
        """Momentum, and widths of the heads."""
        return {"momentum": self.momentum, "hidden": self.hidden, "projection": PROJECTION}
