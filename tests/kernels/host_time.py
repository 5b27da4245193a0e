"""How long the CPU is busy with one training step's loss on a GPU: no GPU is needed to find out.

    PYTHONPATH=.:bench python tests/kernels/host_time.py [--steps N] [--out FOLDER]

Kernels are compiled for an H100 and loaded into a driver that launches nothing, so that all is timed that Python, torch
and Triton do for a step, but not the few microseconds per launch of Triton's C code and the driver. Of small batches
the GPU waits for this. Beside it the plain loss, eager and compiled, of a batch so small that its arithmetic on the CPU
takes next to no time. All variants take turns; FOLDER/host-time.json and .md hold medians and quartiles of one run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from fake_gpu import install
from machine import describe
from plain import clef_paper, ntxent
from torch import Tensor

from ecgloss import functional as F
from ecgloss._files import write_json, write_text
from ecgloss.engine import triton_problem

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
SAMPLES, WIDTH = 256, 128  # B and D of the fused loss
TINY = 4  # B and D of the plain one
RISK = torch.rand(SAMPLES, generator=torch.Generator().manual_seed(7))
Step = Callable[[], None]


def step_of(loss: Callable[[Tensor, Tensor], Tensor], samples: int, width: int, dtype: torch.dtype) -> Step:
    """Forward and backward of a loss of two views."""
    z1, z2 = (torch.randn(samples, width).to(dtype).requires_grad_() for _ in range(2))

    def step() -> None:
        loss(z1, z2).backward()
        z1.grad = z2.grad = None

    return step


def without_sequences(step: Step) -> Step:
    """A step without launch sequences: Triton looks up every kernel, as for the first step of its kind."""

    def asking() -> None:
        sequences, triton_problem._SEQUENCES = triton_problem._SEQUENCES, {}
        try:
            step()
        finally:
            triton_problem._SEQUENCES = sequences

    return asking


def fused_clef(z1: Tensor, z2: Tensor) -> Tensor:
    """CLEF with made-up risks, which are there beforehand."""
    return F.clef(z1, z2, RISK, backend="triton")


def fused_ntxent(z1: Tensor, z2: Tensor) -> Tensor:
    """NT-Xent."""
    return F.ntxent(z1, z2, backend="triton")


def plain_clef(z1: Tensor, z2: Tensor) -> Tensor:
    """CLEF without a library."""
    return clef_paper(z1, z2, RISK[:TINY])


def steps() -> dict[tuple[str, str], Step]:
    """Loss and variant of everything that is timed."""
    found = {}
    for name, fused, plain in (("ntxent", fused_ntxent, ntxent), ("clef", fused_clef, plain_clef)):
        found[name, "ecgloss, triton"] = step_of(fused, SAMPLES, WIDTH, torch.bfloat16)
        found[name, "the same, kernels looked up by Triton"] = without_sequences(found[name, "ecgloss, triton"])
        found[name, "plain, eager"] = step_of(plain, TINY, TINY, torch.float32)
        found[name, "plain, torch.compile"] = step_of(torch.compile(plain), TINY, TINY, torch.float32)
    return found


def measure(count: int) -> list[dict[str, Any]]:
    """Microseconds of every variant, which take turns."""
    variants = steps()
    for step in variants.values():
        for _ in range(5):
            step()
    samples: dict[tuple[str, str], list[float]] = {key: [] for key in variants}
    for _ in range(count):
        for key, step in variants.items():
            start = time.perf_counter()
            step()
            samples[key].append(1e6 * (time.perf_counter() - start))
    results: list[dict[str, Any]] = []
    for (loss, variant), times in samples.items():
        low, median, high = statistics.quantiles(times, n=4)
        results.append({"loss": loss, "variant": variant, "median_us": median, "quartiles_us": [low, high]})
    return results


def report(results: Sequence[dict[str, Any]], header: dict[str, str]) -> str:
    """The result file."""
    lines = [", ".join(f"{k} {v}" for k, v in header.items()), "", (__doc__ or "").split("\n\n")[2].strip(), ""]
    lines += ["| loss | variant | microseconds per step | quartiles |", "|---|---|---|---|"]
    for r in results:
        low, high = r["quartiles_us"]
        lines.append(f"| {r['loss']} | {r['variant']} | {r['median_us']:.0f} | {low:.0f} - {high:.0f} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="CPU time of a training step's loss on a GPU")
    parser.add_argument("--steps", type=int, default=500, metavar="N", help="steps of every variant (500)")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where results are written")
    given = parser.parse_args(arguments)
    install().watched = False
    header = describe("cpu") | {"samples": str(SAMPLES), "width": str(WIDTH)}
    results = measure(given.steps)
    text = report(results, header)
    print(text)
    write_json(given.out / "host-time.json", {"header": header, "results": results})
    write_text(given.out / "host-time.md", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
