"""y-Aware InfoNCE: two recordings attract the more, the more alike the ages and sexes of their patients are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.losses import YAwareLoss
from ecgloss.models.encoder import Encoder
from ecgloss.train.methods.base import Method, Terms, embed

if TYPE_CHECKING:
    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.side_information import SideInformation


@dataclass(frozen=True)
class YAwareOptions:
    """Options of a run that only y-Aware InfoNCE has.

    Attributes:
        bandwidth: Width of yaware's Gaussian kernel, in standard deviations of age and sex.
    """

    bandwidth: float = 1.0


class YAware(Method):
    """Every recording of the batch is a positive, weighted by a Gaussian kernel of the difference in age and sex."""

    name = "yaware"
    hint = "recordings of similar age and sex"

    def __init__(self, config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.criterion = YAwareLoss(config.bandwidth, config.tau)

    @classmethod
    def check_options(cls, config: PretrainConfig) -> None:
        """The kernel has a width."""
        if not config.bandwidth > 0:
            raise ValueError(f"bandwidth must be positive; got {config.bandwidth}")

    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss."""
        pair = embed(encoder, view1, view2)
        z1, z2 = (self.gather(z) for z in pair)
        return Terms(self.criterion(z1, z2, self.gather(side.metadata)), {}, pair)

    def describe(self) -> dict[str, Any]:
        """Temperature, bandwidth and what is compared."""
        options = {"temperature": self.criterion.temperature, "bandwidth": self.criterion.bandwidth}
        return {**options, "metadata": ["age", "sex"]}

    def check(self, config: PretrainConfig, side: SideInformation, gaps: Mapping[str, str]) -> list[str]:
        """An unknown age or sex counts as the mean; all alike is refused."""
        if not bool(side.metadata.any()):
            raise ValueError(
                f"loss yaware needs ages or sexes that differ; those of all {len(side.metadata)} training recordings "
                f"of {config.data} are equal or unknown"
            )
        return [f"{gaps[name]}; the mean is taken" for name in ("age", "sex") if name in gaps]
