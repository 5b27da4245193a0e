"""What MoCo and BYOL share: a copy of the network that follows it slowly, as a moving average of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import nn
from torch.distributed import ProcessGroup
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ecgloss.models.encoder import Encoder
from ecgloss.train.methods.base import Method

if TYPE_CHECKING:
    from ecgloss.train.config import PretrainConfig


@dataclass(frozen=True)
class MomentumOptions:
    """Options of methods with a momentum encoder.

    Attributes:
        momentum: Momentum of the momentum encoder, in [0, 1); "preset": 0.999 for moco, 0.996 for byol.
    """

    momentum: float | Literal["preset"] = "preset"


class MomentumMethod(Method):
    """A method with a momentum encoder; ``usual_momentum`` is what the option value "preset" stands for."""

    usual_momentum: ClassVar[float]

    def __init__(self, config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.momentum = self.usual_momentum if config.momentum == "preset" else config.momentum

    @classmethod
    def check_options(cls, config: PretrainConfig) -> None:
        """The momentum is in range, and the precision can hold the small steps of the average."""
        if config.momentum != "preset" and not 0 <= config.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1); got {config.momentum}")
        if config.loss == cls.name and config.precision in ("16-true", "bf16-true"):
            raise ValueError(
                f"loss {cls.name} needs another precision, 32-true or a mixed one; got {config.precision}, "
                "in which the small steps of the momentum encoder are rounded away"
            )


def momentum_copy(network: nn.Module, momentum: float) -> AveragedModel:
    """A copy without gradients that ``update_parameters`` moves towards the network: m old + (1 - m) new."""
    copy = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(momentum))
    copy.n_averaged.fill_(1)  # counts the first weights as averaged; with 0 the first update would replace them
    return copy.requires_grad_(False)
