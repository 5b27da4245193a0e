"""The learning rate, a function of the place in a run alone: nothing to restore when a run is resumed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["restarts", "cosine", "constant"]


@dataclass(frozen=True)
class Schedule:
    """Learning rate of every step: constant within an epoch, but for the warm-up, which rises with every step.

    With t epochs done of a cycle of T (restarts: arXiv 1608.03983, equation 5)::

        lr(t) = min_lr + (lr - min_lr) (1 + cos(pi t / T)) / 2        times (i + 1) / w in step i of w of the warm-up

    Attributes:
        kind: ``"restarts"``: cycles of ``restart_epochs`` epochs, each ``restart_factor`` times as long as the one
            before; ``"cosine"``: one cycle of all epochs; ``"constant"``.
        lr: Learning rate at the start of a cycle.
        min_lr: Learning rate that a cycle approaches.
        epochs: Epochs of the run.
        steps: Steps per epoch.
        restart_epochs: Epochs of the first cycle.
        restart_factor: Length of each cycle relative to the one before.
        warmup_epochs: Epochs, or a part of one, over which the rate rises from 0.

    Example:
        >>> schedule = Schedule("restarts", lr=1.0, min_lr=0.0, epochs=3, steps=4, restart_epochs=1, restart_factor=2)
        >>> [round(schedule.at(epoch, 0), 2) for epoch in range(3)]
        [1.0, 1.0, 0.5]
    """

    kind: Kind
    lr: float
    min_lr: float
    epochs: int
    steps: int
    restart_epochs: int = 10
    restart_factor: int = 2
    warmup_epochs: float = 0.0

    def at(self, epoch: int, step: int) -> float:
        """The learning rate of a step (from 0) of an epoch (from 0)."""
        done, length = self._cycle(epoch)
        rate = self.lr
        if self.kind != "constant":
            rate = self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * done / length)) / 2
        rising = round(self.warmup_epochs * self.steps)
        return rate * min(1.0, (epoch * self.steps + step + 1) / rising) if rising else rate

    def note(self) -> str | None:
        """A sentence if the run ends inside a cosine cycle, with what to do about it; else None.

        Example:
            >>> Schedule("restarts", lr=1e-4, min_lr=1e-6, epochs=100, steps=1).note()
            'the learning rate ends inside a cosine cycle, at 7.1e-05 after 30 of its 80 epochs: --epochs 70 or 150 end with a cycle, --schedule cosine has one for all epochs'
        """  # noqa: E501
        if self.kind != "restarts":
            return None
        done, length = self._cycle(self.epochs)
        if done == 0:
            return None
        ends = [self.epochs - done, self.epochs - done + length]
        end = " or ".join(f"{epochs}" for epochs in ends if epochs > 0)
        return (
            f"the learning rate ends inside a cosine cycle, at {self.at(self.epochs - 1, self.steps - 1):.2g} after "
            f"{done} of its {length} epochs: --epochs {end} end{'s' * (ends[0] == 0)} with a cycle, --schedule cosine "
            "has one for all epochs"
        )

    def _cycle(self, epoch: int) -> tuple[int, int]:
        """How many epochs of its cycle are done before an epoch, and how many the cycle has."""
        if self.kind != "restarts":
            return epoch, self.epochs
        length = self.restart_epochs
        while epoch >= length:
            epoch, length = epoch - length, length * self.restart_factor
        return epoch, length
