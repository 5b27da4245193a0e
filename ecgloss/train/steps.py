"""The steps of an epoch, each of one batch or of several whose gradients are added."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import Terms, Training
from ecgloss.train.views import ViewBatch, ViewBatches, WindowBatch, WindowBatches


@dataclass(frozen=True)
class Step:
    """What one step of the optimiser learns from.

    Attributes:
        batches: Its batches on the device, this process's part.
        waited: Seconds in which the model waited for them.
    """

    batches: list[ViewBatch]
    waited: float

    @property
    def recordings(self) -> int:
        """Recordings of this process."""
        return sum(len(batch.rows) for batch in self.batches)


class EpochSteps:
    """The steps of one epoch.

    Batches that do not fill a step are left out, other ones in every epoch; an epoch has at least one step.

    Args:
        views: The batches of the epoch.
        fabric: Where they go.
        config: Batches per step, and processes that prepare them.
        first: The step to begin with.
    """

    def __init__(self, views: ViewBatches, fabric: Fabric, config: PretrainConfig, first: int = 0) -> None:
        self.views, self.device = views, fabric.device
        self.per_step = min(config.accumulate, len(views))
        self.count = len(views) // self.per_step
        if first > self.count:
            raise ValueError(f"the checkpoint stands at step {first} of an epoch with {self.count}: it is damaged")
        self.loader: DataLoader[ViewBatch | WindowBatch] = DataLoader(
            views if self.device.type == "cpu" else WindowBatches(views),  # a device makes its views itself
            batch_size=None,
            sampler=range(first * self.per_step, self.count * self.per_step),
            num_workers=config.workers,
            pin_memory=self.device.type == "cuda",  # else the host waits for every copy
        )

    def __iter__(self) -> Iterator[Step]:
        batches: list[ViewBatch] = []
        waited, waiting = 0.0, time.perf_counter()
        for batch in self.loader:
            waited += time.perf_counter() - waiting
            batches.append(self.views.augment(batch.to(self.device)) if isinstance(batch, WindowBatch) else batch)
            if len(batches) == self.per_step:
                yield Step(batches, waited)
                batches, waited = [], 0.0
            waiting = time.perf_counter()


def backward(fabric: Fabric, wrapped: nn.Module, step: Step) -> Terms:
    """Add up the gradients of a step: those of the mean of its batches' losses.

    Every batch has its own negatives: several small batches are not one large batch.

    Args:
        fabric: For precision and several devices.
        wrapped: The :class:`~ecgloss.train.methods.Training`, as Fabric has set it up.
        step: The batches.

    Returns:
        The mean of losses and parts over the batches, without a gradient, and the embeddings of the last batch. They
        are on the device: nothing here waits for it.
    """
    count, losses, parts = len(step.batches), [], []
    for i, batch in enumerate(step.batches, start=1):
        with fabric.no_backward_sync(wrapped, enabled=i < count):  # type: ignore[arg-type]
            terms: Terms = wrapped(*batch.tensors())
            fabric.backward(terms.loss / count if count > 1 else terms.loss)
        losses.append(terms.loss.detach())
        parts.append(terms.parts)
    if count == 1:
        return terms._replace(loss=losses[0])
    means = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
    return terms._replace(loss=torch.stack(losses).mean(), parts=means)


def monitors(training: Training, terms: Terms, step: Step) -> dict[str, Tensor]:
    """What :func:`ecgloss.monitor` says of the last batch of a step, under names that begin with ``monitor_``."""
    if terms.pair is None:
        return {}
    found = training.method.monitor(*terms.pair, training.side.rows(step.batches[-1].rows))
    return {f"monitor_{name}": value for name, value in found.items()}


@torch.no_grad()
def validation_loss(fabric: Fabric, wrapped: nn.Module, views: ViewBatches, config: PretrainConfig) -> float:
    """Mean loss of batches that are not learned from, in evaluation mode: queues and statistics stay as they are.

    Every process gets the value of the first one.
    """
    training = {module: module.training for module in wrapped.modules()}
    wrapped.eval()
    steps = EpochSteps(views, fabric, replace(config, accumulate=1))
    losses = [wrapped(*batch.tensors()).loss for step in steps for batch in step.batches]
    for module, mode in training.items():
        module.training = mode
    return float(fabric.broadcast(torch.stack(losses).mean().item()))


def clip(fabric: Fabric, wrapped: nn.Module, optimizer: Optimizer, norm: float) -> Tensor:
    """Scale gradients that are longer than ``norm`` to it; returns the length they had, 0-d."""
    found = fabric.clip_gradients(wrapped, optimizer, max_norm=norm, error_if_nonfinite=False)
    assert found is not None
    return found.detach()
