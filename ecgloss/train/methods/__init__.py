"""The methods of pretraining. :data:`METHODS` is the only list of them: loop, configuration and command line ask it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.distributed import ProcessGroup

from ecgloss.models.encoder import Encoder
from ecgloss.train.methods.base import Method, Terms, Training
from ecgloss.train.methods.byol import Byol
from ecgloss.train.methods.clef import Clef, ClefRunOptions
from ecgloss.train.methods.moco import Moco, MocoOptions
from ecgloss.train.methods.momentum import MomentumOptions
from ecgloss.train.methods.physioclr import PhysioClr, PhysioClrRunOptions
from ecgloss.train.methods.simclr import SimClr
from ecgloss.train.methods.supcon import Cmsc, SupCon, SupConOptions
from ecgloss.train.methods.yaware import YAware, YAwareOptions

if TYPE_CHECKING:
    from ecgloss.train.config import PretrainConfig

__all__ = ["METHODS", "Method", "MethodOptions", "Terms", "Training", "build_method", "list_methods"]

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (Clef, PhysioClr, SimClr, Moco, Byol, SupCon, Cmsc, YAware)
}


@dataclass(frozen=True)
class MethodOptions(SupConOptions, YAwareOptions, MocoOptions, MomentumOptions, PhysioClrRunOptions, ClefRunOptions):
    """The options of all methods. A dataclass has the fields of its last base first: ``clef`` to ``label_column``."""


def build_method(config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None = None) -> Method:
    """The method a configuration names.

    Args:
        config: The run.
        encoder: The encoder it will train; a momentum encoder starts as its copy.
        group: Processes that share a batch; None: this one alone.

    Example:
        >>> from ecgloss.models import resnext1d
        >>> from ecgloss.train.config import PretrainConfig
        >>> config = PretrainConfig(data="synthetic", out="runs/moco", loss="moco", queue=128)
        >>> build_method(config, resnext1d("small")).describe()
        {'temperature': 0.07, 'queue': 128, 'momentum': 0.999}
    """
    return METHODS[config.loss](config, encoder, group)


def list_methods() -> str:
    """All methods in words, for the help of the command line.

    Example:
        >>> list_methods().split(", ")[0]
        'clef'
    """
    *most, last = (f"{m.name} ({m.hint})" if m.hint else m.name for m in METHODS.values())
    return f"{', '.join(most)} or {last}"
