"""What the committed static roofline predicts of a training step, to be printed beside what was measured."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from gpu_steps import loss_of

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


@cache
def _kernels() -> list[dict[str, Any]]:
    return list(read_json(RESULTS)["kernels"]) if RESULTS.exists() else []


def predicted(rule: str, n: int, d: int, architecture: str = "sm90") -> float | None:
    """Milliseconds of forward and backward in bf16; from the nearest N of the model by N^2; None for other rules."""
    found = [k for k in _kernels() if (k["architecture"], k["rule"], k["D"]) == (architecture, rule, d)]
    if not found:
        return None
    nearest = min((int(size) for size in found[0]["ms"]), key=lambda size: abs(size - n))
    return float(sum(k["ms"][str(nearest)] for k in found)) * (n / nearest) ** 2


def this_architecture() -> str:
    """The name of the GPU at hand in the model; an unknown one has no predictions."""
    return "sm{}{}".format(*torch.cuda.get_device_capability())


def step_ms(rule: str, d: int, n: int = LARGE, calls: int = 5) -> float:
    """Measured milliseconds of forward and backward on the GPU at hand; the inputs are made anew, some 0.1 ms."""

    def step() -> None:
        z, loss = loss_of(rule, n, d)
        torch.autograd.grad(loss, z)

    for _ in range(2):
        step()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        step()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / calls


def beside_measured() -> list[str]:
    """Lines of predicted and measured milliseconds at N = LARGE."""
    lines = [f"forward and backward, bf16, N = {LARGE:,}: predicted ms (a model) | measured ms | measured / predicted"]
    for rule, d in BESIDE:
        model, measured = predicted(rule, LARGE, d, this_architecture()), step_ms(rule, d)
        beside = f"{model:.2f} | {measured:.2f} | {measured / model:.2f}" if model else f"- | {measured:.2f} | -"
        lines.append(f"{rule}, D = {d}: {beside}")
    return lines
