"""MoCo: a momentum encoder makes the keys, and a queue keeps those of earlier batches as negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.losses import MoCoLoss
from ecgloss.models.encoder import Encoder
from ecgloss.train.methods.base import Terms, widened
from ecgloss.train.methods.momentum import MomentumMethod, momentum_copy

if TYPE_CHECKING:
    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.side_information import SideInformation


@dataclass(frozen=True)
class MocoOptions:
    """Options of a run that only MoCo has.

    Attributes:
        queue: Number of keys of earlier batches that moco keeps as negatives, at least batch_size.
    """

    queue: int = 4096


class Moco(MomentumMethod):
    """Queries are the encoder's embeddings of first views, keys the momentum encoder's embeddings of second views."""

    name = "moco"
    usual_momentum = 0.999

    def __init__(self, config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.momentum_encoder = momentum_copy(encoder, self.momentum)
        self.criterion = MoCoLoss(
            encoder.out_features, config.queue, config.tau, group=group, reduction="none", seed=config.seed
        )

    @classmethod
    def check_options(cls, config: PretrainConfig) -> None:
        """The queue holds at least a batch of keys."""
        super().check_options(config)
        if config.queue < 1:
            raise ValueError(f"queue must be at least 1; got {config.queue}")
        if config.loss == cls.name and config.queue < config.batch_size:
            raise ValueError(
                f"queue must hold a batch of keys: queue is {config.queue}, batch_size {config.batch_size}"
            )

    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss against the queue of earlier batches; then the keys of this batch are written into it."""
        q = widened(encoder(view1))
        with torch.no_grad():
            k = widened(self.momentum_encoder(view2))
        return Terms(self.gather(self.criterion(q, k)).mean(), {}, (q, k))

    def after_step(self, encoder: nn.Module) -> None:
        """The momentum encoder follows."""
        self.momentum_encoder.update_parameters(encoder)

    def describe(self) -> dict[str, Any]:
        """Temperature, entries of the queue, momentum."""
        size = len(self.criterion.queue)
        return {"temperature": self.criterion.temperature, "queue": size, "momentum": self.momentum}
