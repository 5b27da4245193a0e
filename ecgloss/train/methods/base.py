"""The interface of a pretraining method, the module that is trained, and what several methods need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.engine.distributed import gather_rows
from ecgloss.functional import monitor
from ecgloss.models.encoder import Encoder
from ecgloss.train.seeds import generator

if TYPE_CHECKING:
    from ecgloss.train.beat_views import Beats
    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.side_information import SideInformation
    from ecgloss.train.waves import Waves


class Terms(NamedTuple):
    """The loss of a batch.

    Attributes:
        loss: 0-d.
        parts: By name what is logged besides, 0-d each: its terms, and what says how it came about.
        pair: The embeddings of the two views that the loss compares, (B, D) each, by which a run is watched; None: not.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    pair: tuple[Tensor, Tensor] | None = None


class Method(nn.Module, ABC):
    """Everything in which one way of pretraining differs from another.

    To add a method, write its class in a module of this folder and list it in :data:`ecgloss.train.methods.METHODS`.
    Options that only it has are a frozen dataclass in the same module, from which
    :class:`ecgloss.train.methods.MethodOptions` inherits; they then appear on the command line, in configuration files
    and in ``PretrainConfig``.

    A method owns what it needs besides the encoder: heads, a momentum encoder, a queue. Its parameters are trained with
    the encoder's unless they require no gradient; its whole state is part of a checkpoint.

    Args:
        config: The run.
        encoder: The encoder it will train, before the first step.
        group: Processes that share a batch; None: this one alone. The loss is that of the whole batch: every process
            gets its value, and the gradient of its own rows times the number of processes, because data parallelism
            then takes the mean over processes.

    Attributes:
        name: The value of the option ``--loss`` that chooses the method.
        hint: A few words on it for the help of ``--loss``; may be empty.
        usual_temperature: What the option ``--temperature preset`` stands for.
        compares_risk: Whether it needs risks; they are then looked at before the first step.
    """

    name: ClassVar[str]
    hint: ClassVar[str] = ""
    usual_temperature: ClassVar[float] = 0.07
    compares_risk: ClassVar[bool] = False

    def __init__(self, config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None) -> None:
        super().__init__()
        self.group = group

    @classmethod
    def check_options(cls, config: PretrainConfig) -> None:
        """Check this method's own options, before anything is read or written.

        It is called for every method, whichever the run uses: ``config.loss == cls.name`` says whether it is this one.

        Raises:
            ValueError: for a value that is not accepted, naming the option.
        """

    @classmethod
    def brings_patients_together(cls, config: PretrainConfig) -> bool:
        """Whether recordings of a patient should stand in the same batch."""
        return False

    @classmethod
    def needs_waves(cls, config: PretrainConfig) -> bool:
        """Whether it needs R peaks and waves of all recordings; ``forward`` then gets ``beats`` as well."""
        return False

    @classmethod
    def needs_features(cls, config: PretrainConfig) -> bool:
        """Whether it compares physiological features; they are then part of ``side``."""
        return False

    def learn(self, waves: Waves) -> None:
        """Called once before the first step, for a method that needs waves: take what stays the same in the run."""

    @abstractmethod
    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss of two views, (B, C, L) each, and what is known about the B recordings."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Every option of the loss, for the card: the file beside a checkpoint that says how it was made."""

    def after_step(self, encoder: nn.Module) -> None:
        """Called after every step of the optimiser, e.g. to move a momentum encoder."""

    def monitor(self, z1: Tensor, z2: Tensor, side: SideInformation) -> dict[str, Tensor]:
        """What :func:`ecgloss.monitor` says of the embeddings of a batch, (B, D) each, over all processes."""
        found = monitor(self.gather(z1), self.gather(z2))._asdict()
        del found["effective_negatives"]  # a constant, where negatives have no weights
        return found

    def check(self, config: PretrainConfig, side: SideInformation, gaps: Mapping[str, str]) -> list[str]:
        """Check, once before the first step, that enough is known about the recordings for this method.

        Args:
            config: The run.
            side: What is known about the training recordings.
            gaps: For each kind of information that some of them lack, a sentence that says how many.

        Returns:
            Sentences for the user.

        Raises:
            ValueError: if the loss cannot be computed.
        """
        return []

    def gather(self, x: Tensor) -> Tensor:
        """Rows of all processes, with gradients."""
        return x if self.group is None else gather_rows(x, self.group)


class Training(nn.Module):
    """Encoder and method as one module: what is trained, moved to devices and wrapped for several of them.

    Args:
        encoder: The encoder.
        method: The method.
        side: What is known about all recordings of the dataset. It is held as it is: no precision of the model casts
            risks, and no buffer is sent between devices.
    """

    def __init__(self, encoder: nn.Module, method: Method, side: SideInformation) -> None:
        super().__init__()
        self.encoder, self.method, self.side = encoder, method, side

    def forward(self, view1: Tensor, view2: Tensor, rows: Tensor, beats: Beats | None = None) -> Terms:
        """The loss of two views of the recordings at positions ``rows``, (B,), and of their beats."""
        more = () if beats is None else (beats,)
        terms: Terms = self.method(self.encoder, view1, view2, self.side.rows(rows), *more)
        pair = None if terms.pair is None else (terms.pair[0].detach(), terms.pair[1].detach())
        return Terms(terms.loss, {name: part.detach() for name, part in terms.parts.items()}, pair)


def embed(encoder: nn.Module, view1: Tensor, view2: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of two views of B recordings, (B, D) each, in fp32 or wider."""
    z1, z2 = widened(encoder(torch.cat([view1, view2]))).chunk(2)
    return z1, z2


def widened(z: Tensor) -> Tensor:
    """The same in fp32 where it is in half precision."""
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def perceptron(config: PretrainConfig, purpose: str, inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, batch normalisation, ReLU, linear; initialised by seed and purpose, not from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(config.seed, "head", purpose).initial_seed())
        layers = (nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs))
        return nn.Sequential(*layers)
