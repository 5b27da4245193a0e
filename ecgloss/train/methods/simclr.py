"""SimCLR: two views of a recording attract, all others repel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.losses import NTXentLoss
from ecgloss.models.encoder import Encoder
from ecgloss.train.methods.base import Method, Terms, embed

if TYPE_CHECKING:
    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.side_information import SideInformation


class SimClr(Method):
    """NT-Xent on the embeddings of a batch; needs nothing but the signals."""

    name = "simclr"

    def __init__(self, config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.criterion = NTXentLoss(config.tau, group=group)

    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss."""
        z1, z2 = embed(encoder, view1, view2)
        return Terms(self.criterion(z1, z2), {}, (z1, z2))

    def describe(self) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": self.criterion.temperature}
