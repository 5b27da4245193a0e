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

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from ecgloss._files import read_json, read_json_lines, write_json, write_text
from ecgloss.models.encoder import Encoder
from ecgloss.models.pretrained import (
    TRAINED_ON,
    WEIGHTS,
    EncoderCard,
    checkpoints,
    fit,
    load_weights,
    read_tensors,
    save_encoder,
)

METHOD, OPTIMIZER, STATE, METRICS = "method.safetensors", "optimizer.safetensors", "state.json", "metrics.jsonl"


@dataclass(frozen=True)
class Position:
    """Where a run stands: ``step`` steps done, the next one is batch ``batch`` of epoch ``epoch`` (from 0)."""

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
) -> Path:
    """Write a checkpoint and remove all but the newest ``keep``.

    Returns:
        Its folder.
    """
    final = run / "checkpoints" / f"step-{position.step:08d}"
    temporary = final.with_name(f".{final.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed here
    save_encoder(temporary, model, card)
    held = method.state_dict()
    if held:
        save_file({name: x.detach().cpu().contiguous() for name, x in held.items()}, temporary / METHOD)
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": value.detach().cpu().contiguous()
        for index, slots in state["state"].items()
        for name, value in slots.items()
    }
    save_file(tensors, temporary / OPTIMIZER)
    if trained_on is not None:
        save_file(trained_on, temporary / TRAINED_ON)
    write_json(temporary / STATE, {"position": asdict(position), "param_groups": state["param_groups"]})
    _flush(temporary)
    shutil.rmtree(final, ignore_errors=True)  # the same step again, after a resume
    os.replace(temporary, final)
    for old in checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return final


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
    for name, value in read_tensors(folder / OPTIMIZER).items():
        index, slot = name.split(".", 1)
        slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": slots, "param_groups": state["param_groups"]})
    return Position(**state["position"])


class MetricsLog:
    """metrics.jsonl: one JSON object per step, appended; a resumed run drops the steps it will repeat.

    Args:
        path: The file.
        steps: Steps already done; later lines are dropped.
    """

    def __init__(self, path: Path, steps: int) -> None:
        kept = [line for line in read_json_lines(path) if line["step"] <= steps] if path.exists() else []
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, **values: Any) -> None:
        """Append one line."""
        self._file.write(json.dumps(values) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _flush(folder: Path) -> None:
    """Ask for the files to be on disk before the folder gets its final name."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
