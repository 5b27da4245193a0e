"""Where the values of a run go besides metrics.jsonl: TensorBoard, Weights & Biases or CSV, as loggers of Fabric.

A resumed run writes the lines of metrics.jsonl before its own once more: files are whole and hold no step twice.
"""

from __future__ import annotations

import secrets
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from ecgloss._extras import require
from ecgloss._files import read_json, write_json

LoggerName = Literal["tensorboard", "wandb", "csv"]
_WANDB = "wandb.json"  # the number of a run at Weights & Biases, by which a resumed one goes on there


def open_logger(name: LoggerName, run: Path, options: Mapping[str, Any]) -> Logger:
    """A logger that writes into the folder of a run: ``csv/metrics.csv``, ``tensorboard/`` or ``wandb/``.

    Args:
        name: Which one. ``"wandb"`` also writes to the service, unless WANDB_MODE says otherwise.
        run: Folder of the run.
        options: All options of the run, shown by Weights & Biases.

    Raises:
        MissingExtraError: if the extra of that name is not installed.
    """
    if name == "wandb":
        return WandbLogger(run, options)
    if name == "csv":
        (run / "csv" / "metrics.csv").unlink(missing_ok=True)
        return CSVLogger(run, name="", version="csv")
    require("tensorboard", "tensorboard")
    for old in (run / "tensorboard").glob("events.out.tfevents.*"):
        old.unlink()
    return TensorBoardLogger(run, name="", version="tensorboard", default_hp_metric=False)


class WandbLogger(Logger):
    """Weights & Biases by the interface of Fabric, whose own package has no such logger.

    Args:
        run: Folder of the run; its name is that of the run at the service.
        options: Options that the service shows.
    """

    def __init__(self, run: Path, options: Mapping[str, Any]) -> None:
        wandb = require("wandb", "wandb")
        path = run / _WANDB
        if not path.is_file():
            write_json(path, {"id": secrets.token_hex(8)})
        self._name, self._id = run.name, str(read_json(path)["id"])
        self._experiment = wandb.init(
            project="ecgloss", name=self._name, id=self._id, resume="allow", dir=str(run), config=dict(options)
        )
        self._experiment.define_metric("*", step_metric="step")

    @property
    def name(self) -> str:
        """Name of the run."""
        return self._name

    @property
    def version(self) -> str:
        """Its number at the service."""
        return self._id

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Send the values of a step."""
        self._experiment.log({**metrics, "step": step})

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Show further options."""
        self._experiment.config.update(vars(params) if isinstance(params, Namespace) else params)

    def finalize(self, status: str) -> None:
        """Wait until all is sent."""
        self._experiment.finish(exit_code=0 if status == "success" else 1)
