"""MoCo: a momentum encoder makes the keys, and a queue keeps those of earlier batches as negatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.losses import MoCoLoss
from ecgloss.models.resnext1d import ResNeXt1D
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods.base import Method, Terms, embed, momentum_copy
from ecgloss.train.side_information import SideInformation


class Moco(Method):
    """Queries are first views seen by the encoder, keys second views seen by the momentum encoder."""

    def __init__(self, config: PretrainConfig, encoder: ResNeXt1D, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.momentum = 0.999 if config.momentum == "preset" else config.momentum
        self.momentum_encoder = momentum_copy(encoder, self.momentum)
        self.criterion = MoCoLoss(
            encoder.out_features, config.queue, config.temperature, group=group, reduction="none", seed=config.seed
        )

    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss against the queue as it is; then the keys are written."""
        (q,) = embed(encoder, view1)
        with torch.no_grad():
            (k,) = embed(self.momentum_encoder, view2)
        return Terms(self.gather(self.criterion(q, k)).mean(), {})

    def after_step(self, encoder: nn.Module) -> None:
        """The momentum encoder follows."""
        self.momentum_encoder.update_parameters(encoder)

    def describe(self) -> dict[str, Any]:
        """Temperature, entries of the queue, momentum."""
        size = len(self.criterion.queue)
        return {"temperature": self.criterion.temperature, "queue": size, "momentum": self.momentum}
