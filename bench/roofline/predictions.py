"""What the committed static roofline predicts of a training step, to be printed beside what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from gpu_steps import step_of

from ecgloss._files import read_json

RESULTS = Path(__file__).resolve().parents[1] / "results" / "static-roofline.json"
BESIDE = (
    ("ntxent", 256),
    ("clef paper", 256),
    ("clef official", 256),
    ("labels", 256),
    ("features", 256),
    ("ntxent", 512),
)
LARGE = 32768  # rows: a step is long enough to hide its launches
CALLS, WARM_UPS = 5, 2
SECONDS = 60  # no measurement begins later: each may have to compile its kernels first
PASSES = ("forward", "backward")


class Prediction(NamedTuple):
    """Milliseconds of a step in bf16, and the N of the model that they were scaled from by N^2."""

    forward: float
    backward: float
    of: int

    @property
    def step(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward


@cache
def _kernels(path: Path) -> list[dict[str, Any]]:
    return list(read_json(path)["kernels"]) if path.exists() else []


def predicted(rule: str, n: int, d: int, architecture: str) -> Prediction | None:
    """Of the nearest N of the model; None for a rule, D or architecture that it does not have."""
    found = [k for k in _kernels(RESULTS) if (k["architecture"], k["rule"], k["D"]) == (architecture, rule, d)]
    if not found:
        return None
    nearest = min((int(size) for size in found[0]["ms"]), key=lambda size: abs(size - n))
    scale = (n / nearest) ** 2
    forward, backward = (
        scale * sum(float(k["ms"][str(nearest)]) for k in found if (k["pass"] == "forward") == first)
        for first in (True, False)
    )
    return Prediction(forward, backward, nearest)


def this_architecture() -> str:
    """The name of the GPU at hand in the model; an unknown one has no predictions."""
    return "sm{}{}".format(*torch.cuda.get_device_capability())


def measured(rule: str, d: int, n: int = LARGE) -> tuple[float, float]:
    """Milliseconds of forward and backward on the GPU at hand, with all their kernels."""
    z, loss = step_of(rule, n, d)
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(3)] for _ in range(WARM_UPS + CALLS)]
    for begin, middle, end in events:
        begin.record()
        value = loss()
        middle.record()
        torch.autograd.grad(value, z)
        end.record()
    torch.cuda.synchronize()
    forward = sum(begin.elapsed_time(middle) for begin, middle, _ in events[WARM_UPS:]) / CALLS
    backward = sum(middle.elapsed_time(end) for _, middle, end in events[WARM_UPS:]) / CALLS
    return forward, backward


def beside_measured(
    architecture: str,
    measure: Callable[[str, int], tuple[float, float]] = measured,
    clock: Callable[[], float] = time.monotonic,
) -> list[str]:
    """Lines of predicted and measured milliseconds at N = LARGE; one that fails says why."""
    lines = [f"bf16, N = {LARGE:,}, ms of forward and backward: predicted (a model) | measured | measured / predicted"]
    end = clock() + SECONDS
    for rule, d in BESIDE:
        model = predicted(rule, LARGE, d, architecture)
        if model is None:
            lines.append(f"{rule}, D = {d}: no prediction for {architecture}")
        elif clock() > end:
            lines.append(f"{rule}, D = {d}: not measured within {SECONDS} s")
        else:
            try:
                lines.append(f"{rule}, D = {d}: {beside((model.forward, model.backward), measure(rule, d))}")
            except Exception as error:  # of a GPU that a test may have left unusable; the other results still count
                lines.append(f"{rule}, D = {d}: not measured, {type(error).__name__}: {str(error)[:100]}")
    return lines


def beside(model: Sequence[float], times: Sequence[float]) -> str:
    """Of forward and backward."""
    parts = (" + ".join(f"{ms:.2f}" for ms in pair) for pair in (model, times))
    ratios = ", ".join(f"{name} {time / ms:.2f}" for name, ms, time in zip(PASSES, model, times))
    return f"{' | '.join(parts)} | {ratios}, step {sum(times) / sum(model):.2f}"
