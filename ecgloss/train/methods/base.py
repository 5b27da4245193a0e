"""What a method of pretraining is to the loop, and what several of them need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ecgloss.engine.distributed import gather_rows
from ecgloss.models.resnext1d import ResNeXt1D
from ecgloss.train.config import PretrainConfig
from ecgloss.train.seeds import generator
from ecgloss.train.side_information import SideInformation


class Terms(NamedTuple):
    """A loss with what is logged of it."""

    loss: Tensor
    parts: dict[str, Tensor]


class Method(nn.Module, ABC):
    """Everything in which one way of pretraining differs from another.

    A method owns what it needs besides the encoder: heads, a momentum encoder, a queue. Its parameters are trained with
    the encoder's unless they require no gradient; its whole state is part of a checkpoint.

    Args:
        config: The run.
        encoder: The encoder it will train, before the first step.
        group: Processes that share a batch; None: this one alone. The loss is that of the whole batch: every process
            gets its value, and its own rows' gradient times the number of processes, which data parallelism averages.
    """

    def __init__(self, config: PretrainConfig, encoder: ResNeXt1D, group: ProcessGroup | None) -> None:
        super().__init__()
        self.group = group

    @abstractmethod
    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss of two views, (B, 1, L) each, and what is known about the B recordings."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Every option, for the card."""

    def after_step(self, encoder: nn.Module) -> None:
        """What follows a step of the optimiser."""

    def check(self, config: PretrainConfig, side: SideInformation, gaps: Mapping[str, str]) -> list[str]:
        """Look, once before the first step, whether the recordings are described as the method needs it.

        Args:
            config: The run.
            side: What is known about the training recordings.
            gaps: What is not known of all of them, by name.

        Returns:
            What the user should know, as sentences.

        Raises:
            ValueError: if the loss cannot be computed.
        """
        return []

    def gather(self, x: Tensor) -> Tensor:
        """Rows of all processes."""
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

    def forward(self, view1: Tensor, view2: Tensor, rows: Tensor) -> Terms:
        """The loss of two views of the recordings at positions ``rows``, (B,)."""
        terms: Terms = self.method(self.encoder, view1, view2, self.side.rows(rows))
        return Terms(terms.loss, {name: part.detach() for name, part in terms.parts.items()})


def embed(encoder: nn.Module, *views: Tensor) -> tuple[Tensor, ...]:
    """Embeddings of several views of B recordings, (B, D) each, in fp32 or wider."""
    z: Tensor = encoder(torch.cat(views))
    return (z.float() if z.dtype in (torch.float16, torch.bfloat16) else z).chunk(len(views))


def momentum_copy(network: nn.Module, momentum: float) -> AveragedModel:
    """A copy without gradients that ``update_parameters`` moves towards the network: m old + (1 - m) new."""
    copy = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(momentum))
    copy.n_averaged.fill_(
        1
    )  # the average begins with the first weights; from 0, it would forget them at the first step
    return copy.requires_grad_(False)


def perceptron(config: PretrainConfig, purpose: str, inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, batch normalisation, ReLU, linear; initialised by seed and purpose, not from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(config.seed, "head", purpose).initial_seed())
        layers = (nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs))
        return nn.Sequential(*layers)
