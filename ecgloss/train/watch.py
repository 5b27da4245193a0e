"""The loss by which a run chooses its best checkpoint and stops early."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Watch:
    """The best epoch so far, how many epochs have not improved on it, and the mean loss of the epoch under way.

    All of it is part of a checkpoint, so that a resumed run stops in the epoch in which the uninterrupted one does.

    Attributes:
        best_loss: Lowest loss of an epoch; None before the first one ends.
        best_step: Step at which that epoch ended, the number of the best checkpoint.
        reference: Loss on which a later epoch must improve by more than ``min_delta``.
        waited: Epochs since one did.
        total: Sum of the training losses of the epoch under way.
        steps: Their number.

    Example:
        >>> watch = Watch()
        >>> for step, loss in enumerate([3.0, 2.0, 1.99, 2.5], start=1):
        ...     watch.epoch_ends(step, loss, min_delta=0.1)
        >>> watch.best_step, watch.waited, watch.stops(patience=2)
        (3, 2, True)
    """

    best_loss: float | None = None
    best_step: int = 0
    reference: float | None = None
    waited: int = 0
    total: float = 0.0
    steps: int = 0

    def step_ends(self, loss: float) -> None:
        """Count the training loss of a step."""
        self.total, self.steps = self.total + loss, self.steps + 1

    @property
    def training_loss(self) -> float:
        """Mean training loss of the epoch under way; NaN before its first step."""
        return self.total / self.steps if self.steps else math.nan

    def epoch_ends(self, step: int, loss: float, min_delta: float) -> None:
        """Count the watched loss of an epoch that ended with ``step``, and begin the next one."""
        finite = math.isfinite(loss)
        if finite and (self.best_loss is None or loss < self.best_loss):
            self.best_loss, self.best_step = loss, step
        if finite and (self.reference is None or loss < self.reference - min_delta):
            self.reference, self.waited = loss, 0
        else:
            self.waited += 1
        self.total, self.steps = 0.0, 0

    def stops(self, patience: int) -> bool:
        """Whether the run ends early; never with a patience of 0."""
        return 0 < patience <= self.waited
