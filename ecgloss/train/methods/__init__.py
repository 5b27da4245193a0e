"""The methods of pretraining, by name: each is one class, and the loop knows none of them."""

from __future__ import annotations

from torch.distributed import ProcessGroup

from ecgloss.models.resnext1d import ResNeXt1D
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods.base import Method, Terms, Training
from ecgloss.train.methods.byol import Byol
from ecgloss.train.methods.clef import Clef
from ecgloss.train.methods.moco import Moco
from ecgloss.train.methods.simclr import SimClr
from ecgloss.train.methods.supcon import Cmsc, SupCon
from ecgloss.train.methods.yaware import YAware

__all__ = ["METHODS", "Method", "Terms", "Training", "build_method"]

METHODS: dict[str, type[Method]] = {
    "clef": Clef,
    "simclr": SimClr,
    "moco": Moco,
    "byol": Byol,
    "supcon": SupCon,
    "cmsc": Cmsc,
    "yaware": YAware,
}


def build_method(config: PretrainConfig, encoder: ResNeXt1D, group: ProcessGroup | None = None) -> Method:
    """The method a configuration names.

    Args:
        config: The run.
        encoder: The encoder it will train; a momentum encoder starts as its copy.
        group: Processes that share a batch; None: this one alone.

    Example:
        >>> from ecgloss.models import resnext1d
        >>> config = PretrainConfig(data="synthetic", out="runs/moco", loss="moco", queue=128)
        >>> build_method(config, resnext1d("small")).describe()
        {'temperature': 0.07, 'queue': 128, 'momentum': 0.999}
    """
    return METHODS[config.loss](config, encoder, group)
