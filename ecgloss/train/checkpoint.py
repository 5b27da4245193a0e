"""The folder of a training run: what is needed to use the encoder, and to resume the run with the same result.

::

    RUN/config.json                 every option
    RUN/split.json                  which recordings train, validate and test
    RUN/metrics.jsonl               one line per step
    RUN/checkpoints/step-N/         encoder.safetensors, card.json, optimizer.safetensors, state.json, and
                                    method.safetensors where the method has a state: momentum encoder, heads, queue;
                                    trained_on.safetensors, by which recordings are recognised that were trained on

card.json, the card of the checkpoint, says what the encoder was trained on, and how. A checkpoint is written into a
temporary folder that is renamed when it is whole, so that a process killed at any moment leaves either the new
checkpoint or the ones before it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from ecgloss._file_errors import naming
from ecgloss._files import read_json, read_json_lines, write_json, write_text
from ecgloss.models.encoder import Encoder
from ecgloss.models.pretrained import (
    STATE,
    TRAINED_ON,
    WEIGHTS,
    EncoderCard,
    checkpoint_name,
    checkpoints,
    fit,
    load_weights,
    read_tensors,
    save_encoder,
)
from ecgloss.train.divergence import refuse_diverged
from ecgloss.train.saved_state import check_groups, check_moments, check_position, check_watch
from ecgloss.train.watch import Watch

_OLDER = "; delete the folder of this checkpoint to go on from the one before it"
METHOD, OPTIMIZER, METRICS = "method.safetensors", "optimizer.safetensors", "metrics.jsonl"


@dataclass(frozen=True)
class Position:
    """Where a run stands: ``step`` steps done, the next one is number ``batch`` of epoch ``epoch`` (from 0)."""

    step: int
    epoch: int
    batch: int


def save_checkpoint(
    run: Path,
    model: Encoder,
    method: nn.Module,
    optimizer: Optimizer,
    card: EncoderCard,
    position: Position,
    keep: int,
    trained_on: dict[str, Tensor] | None = None,
    watch: Watch | None = None,
) -> Path:
    """Write a checkpoint and remove all but the newest ``keep`` and the best, which ``watch`` names.

    Returns:
        Its folder.

    Raises:
        FloatingPointError: If the weights are not finite; nothing is written.
        FileError: If it cannot be written, naming the file and the way out; the checkpoints before it are kept.
    """
    refuse_diverged(position.step, card.training, model, method)
    watch = watch or Watch()
    folder = run / "checkpoints"
    final = folder / checkpoint_name(position.step)
    temporary = final.with_name(f".{final.name}.tmp")
    with naming(folder):
        folder.mkdir(exist_ok=True)
    for left in folder.glob(".step-*"):  # by a process that was killed here
        shutil.rmtree(left, ignore_errors=True)
    try:
        with naming(final):
            _write(temporary, model, method, optimizer, card, position, trained_on, watch)
            if final.exists():  # the same step again, after a resume
                _remove(final)
            os.replace(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # makes room again on a full disk
    for old in checkpoints(run)[:-keep]:
        if old.name != checkpoint_name(watch.best_step):
            with naming(old):
                _remove(old)
    return final


def _write(
    folder: Path,
    model: Encoder,
    method: nn.Module,
    optimizer: Optimizer,
    card: EncoderCard,
    position: Position,
    trained_on: dict[str, Tensor] | None,
    watch: Watch,
) -> None:
    """Write all files of a checkpoint into a new folder."""
    save_encoder(folder, model, card)
    held = method.state_dict()
    if held:
        save_file({name: x.detach().cpu().contiguous() for name, x in held.items()}, folder / METHOD)
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": value.detach().cpu().contiguous()
        for index, slots in state["state"].items()
        for name, value in slots.items()
    }
    save_file(tensors, folder / OPTIMIZER)
    if trained_on is not None:
        save_file(trained_on, folder / TRAINED_ON)
    rest = {"position": asdict(position), "watch": asdict(watch), "param_groups": state["param_groups"]}
    write_json(folder / STATE, rest)
    _flush(folder)


def _remove(folder: Path) -> None:
    """Remove a checkpoint; a process that is killed here leaves nothing that looks like a whole one."""
    hidden = folder.with_name(f".{folder.name}.removed")
    os.replace(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def load_checkpoint(folder: Path, model: Encoder, method: nn.Module, optimizer: Optimizer) -> Position:
    """Put model, method and optimiser into the state of a checkpoint.

    Raises:
        ValueError: if a file is missing or damaged, naming it.
    """
    load_weights(model, folder / WEIGHTS)
    if method.state_dict():
        fit(method, folder / METHOD, "the method of this run")
    state = read_json(folder / STATE)
    slots: dict[int, dict[str, Tensor]] = {}
    tensors = read_tensors(folder / OPTIMIZER)
    try:
        position = Position(**check_position(state))
        check_groups(state, optimizer)
    except ValueError as error:
        raise ValueError(f"{folder / STATE} is damaged: {error}{_OLDER}") from error
    try:
        check_moments(tensors, optimizer)
    except ValueError as error:
        raise ValueError(f"{folder / OPTIMIZER} is damaged: {error}{_OLDER}") from error
    for name, value in tensors.items():
        index, slot = name.split(".", 1)
        slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": slots, "param_groups": state["param_groups"]})
    return position


def load_watch(folder: Path) -> Watch:
    """The watched loss as it was at a checkpoint; a new one for checkpoints that were written before there was one."""
    try:
        return Watch(**check_watch(read_json(folder / STATE)))
    except ValueError as error:
        raise ValueError(f"{folder / STATE} is damaged: {error}{_OLDER}") from error


class MetricsLog:
    """metrics.jsonl: one JSON object per step, appended; a resumed run drops the steps it will repeat.

    Args:
        path: The file.
        steps: Steps already done; later lines are dropped.
    """

    def __init__(self, path: Path, steps: int) -> None:
        kept = [line for line in read_metrics(path) if line["step"] <= steps] if path.exists() else []
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._path = path
        with naming(path):
            self._file = path.open("ab", buffering=0)

    def write(self, **values: Any) -> None:
        """Append one line.

        Raises:
            FileError: If it cannot be written; what was written of it is left out when the run goes on.
        """
        with naming(self._path):
            line = (json.dumps(values) + "\n").encode()
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl.

    Raises:
        ValueError: If a line is damaged, naming it.
    """
    lines = read_json_lines(path)
    for number, line in enumerate(lines, start=1):
        step, rest = line.get("step"), line.values()
        if type(step) is not int or not all(x is None or isinstance(x, int | float) for x in rest):
            raise ValueError(f"line {number} of {path} is damaged; delete the line to go on without it")
    return lines


def _flush(folder: Path) -> None:
    """Ask for the files to be on disk before the folder gets its final name."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
