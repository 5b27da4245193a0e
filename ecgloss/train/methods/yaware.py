"""y-Aware InfoNCE: recordings attract as far as their patients' ages and sexes are alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.losses import YAwareLoss
from ecgloss.models.resnext1d import ResNeXt1D
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods.base import Method, Terms, embed
from ecgloss.train.side_information import SideInformation


class YAware(Method):
    """Everybody is a positive, by a Gaussian kernel of age and sex in standard deviations."""

    def __init__(self, config: PretrainConfig, encoder: ResNeXt1D, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.criterion = YAwareLoss(config.bandwidth, config.temperature)

    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss."""
        z1, z2 = (self.gather(z) for z in embed(encoder, view1, view2))
        return Terms(self.criterion(z1, z2, self.gather(side.metadata)), {})

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
