"""What a run logs of its steps. Values stay on the device until they are read, many steps at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.loggers.logger import Logger
from torch import Tensor

from ecgloss._files import read_json_lines
from ecgloss.train.checkpoint import METRICS, MetricsLog
from ecgloss.train.config import PretrainConfig
from ecgloss.train.divergence import refuse_not_finite
from ecgloss.train.loggers import open_logger
from ecgloss.train.watch import Watch

_SHOWN = frozenset({"loss", "contrastive", "alignment", "validation_loss", "monitor_top1"})


class StepLog:
    """The steps of a run, for metrics.jsonl and a logger.

    Reading a value makes the host wait for a GPU. Steps are therefore kept until :meth:`read`, which reads all at once
    and looks for losses that are not finite. Whoever saves a checkpoint calls :meth:`read` before, so that what has
    diverged never gets into one.

    Args:
        run: Folder of the run.
        config: Its options.
        step: Steps already done; what was logged after them is dropped, and done again.
        watch: Gets the losses.
        writes: Whether this process writes; the others only look for losses that are not finite.
    """

    def __init__(self, run: Path, config: PretrainConfig, step: int, watch: Watch, *, writes: bool) -> None:
        self.every, self.watch, self.loss = config.log_steps, watch, math.nan
        self._options = vars(config)
        self._by_validation = config.watch == "validation"
        self._validation_loss: float | None = None
        self._waiting: list[dict[str, Any]] = []
        self.begin_epoch()
        self._file = MetricsLog(run / METRICS, step) if writes else None
        self._logger: Logger | None = None
        if writes and config.logger is not None:
            self._logger = open_logger(config.logger, run, config.to_json())
            for line in read_json_lines(run / METRICS) if config.logger != "wandb" else ():
                self._log(line)

    def is_due(self, step: int) -> bool:
        """Whether values are read after a step, and monitors computed."""
        return step % self.every == 0

    def add(
        self, step: int, epoch: int, values: Mapping[str, Any], lr: float, *, recordings: int, waited: float
    ) -> None:
        """Keep the values of a step.

        Args:
            step: Its number, from 1.
            epoch: Number of its epoch, from 0.
            values: ``loss`` and others by name, 0-d tensors.
            lr: Its learning rate.
            recordings: How many recordings it had, over all devices.
            waited: Seconds in which the model waited for them.
        """
        self._waiting.append({"step": step, "epoch": epoch, **values, "lr": lr})
        self._recordings += recordings
        self._waited += waited
        self._validation_loss = None

    def add_to_last(self, *, validation_loss: float) -> None:
        """Add the validation loss of the epoch to the step that ended it."""
        self._waiting[-1]["validation_loss"] = self._validation_loss = validation_loss

    @property
    def watched_loss(self) -> float:
        """The loss of the epoch by which checkpoints are compared: that of validation, or the mean one of training."""
        if self._by_validation and self._validation_loss is not None:
            return self._validation_loss
        return self.watch.training_loss

    def read(self) -> dict[str, str]:
        """Read and write all steps that are kept.

        Returns:
            Some values of the last one as text, for a progress bar.

        Raises:
            FloatingPointError: for a loss that is not finite, with its step.
        """
        lines = _on_the_host(self._waiting)
        seconds = max(time.perf_counter() - self._clock, 1e-9)
        pace = {
            "samples_per_second": round(self._recordings / seconds, 1),
            "waited_for_data": round(min(self._waited / seconds, 1.0), 3),
        }
        for line in lines:
            self.loss = line["loss"]
            refuse_not_finite(self.loss, line["step"], self._options)
            self.watch.step_ends(self.loss)
            self._write({**line, **pace})
        self._waiting = []
        self.begin_epoch()
        if self._logger:
            self._logger.save()
        shown = {name: f"{x:.4f}" for name, x in lines[-1].items() if name in _SHOWN} if lines else {}
        return {
            **shown,
            "rec/s": f"{pace['samples_per_second']:.0f}",
            "waited": f"{100 * pace['waited_for_data']:.0f}%",
        }

    def begin_epoch(self) -> None:
        """Measure the pace from here."""
        self._clock, self._waited, self._recordings = time.perf_counter(), 0.0, 0

    def close(self) -> None:
        """Close the files."""
        if self._file:
            self._file.close()
        if self._logger:
            self._logger.finalize("success")

    def _write(self, line: dict[str, Any]) -> None:
        """One line of metrics.jsonl, and the same for the logger."""
        if self._file:
            self._file.write(**line)
        self._log(line)

    def _log(self, line: Mapping[str, Any]) -> None:
        if self._logger:
            self._logger.log_metrics({name: x for name, x in line.items() if name != "step"}, step=line["step"])


def _on_the_host(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines with numbers for tensors, all of which are read at once."""
    tensors = [x.detach().double() if x.device.type != "mps" else x.detach() for x in _tensors(lines)]
    numbers = iter(torch.stack(tensors).tolist() if tensors else [])
    return [{name: next(numbers) if isinstance(x, Tensor) else x for name, x in line.items()} for line in lines]


def _tensors(lines: list[dict[str, Any]]) -> list[Tensor]:
    return [x for line in lines for x in line.values() if isinstance(x, Tensor)]
