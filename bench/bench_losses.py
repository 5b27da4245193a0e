"""Time and memory of the losses, forward and backward: every variant of a case interleaved in one run, medians.

    python bench/bench_losses.py [--device cpu|cuda] [--rounds 5] [--quick]

A figure is printed only if the variant's value and gradient passed the correctness gate of its case. Results go to
bench/results/ as JSON and Markdown, named by device.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

import ecgloss.functional as F
from ecgloss._files import write_json

RESULTS = Path(__file__).parent / "results"
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One problem: a loss at a size (N rows, width D)."""

    loss: str
    n: int
    d: int


CASES = [Case(loss, n, d) for loss in ("clef official", "clef paper", "ntxent") for n, d in
         ((128, 256), (512, 256), (2048, 256), (4096, 1024), (8192, 256))]  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """Median and spread of one variant of one case."""

    case: Case
    variant: str
    milliseconds: float
    quartiles: tuple[float, float]
    peak_mib: float | None


def variants(case: Case) -> dict[str, Loss]:
    """Ways to compute the case's loss, the definition first."""
    if case.loss == "ntxent":
        found: dict[str, Loss] = {
            "materialised": lambda a, b, r: F.ntxent(a, b, backend="reference"),
            "chunked": lambda a, b, r: F.ntxent(a, b, backend="chunked"),
        }
        try:
            lightly = importlib.import_module("lightly.loss").NTXentLoss(temperature=0.07)
            found["lightly"] = lambda a, b, r: lightly(a, b)
        except ImportError:
            pass
        return found
    preset = case.loss.split()[1]
    return {
        "materialised": lambda a, b, r: F.clef(a, b, r, preset=preset, backend="reference"),
        "chunked": lambda a, b, r: F.clef(a, b, r, preset=preset, backend="chunked"),
    }


def inputs(case: Case, device: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Random views, correlated as trained embeddings are, and risks."""
    g = torch.Generator().manual_seed(7)
    z1 = torch.randn(case.n // 2, case.d, generator=g)
    z2 = z1 + torch.randn(case.n // 2, case.d, generator=g)
    risk = torch.rand(case.n // 2, generator=g) ** 3
    a, b = (z.to(device, dtype).requires_grad_() for z in (z1, z2))
    return a, b, risk.to(device)


def passes_gate(case: Case, variant: Loss, device: str) -> bool:
    """Value and gradient against the fp64 definition, on the case's loss at a size that is quick to define."""
    small = Case(case.loss, min(case.n, 1024), case.d)
    a, b, risk = inputs(small, device)
    loss = variant(a, b, risk)
    g = torch.autograd.grad(loss, a)[0].double()
    a64, b64, _ = inputs(small, device, torch.float64)
    true = variants(small)["materialised"](a64, b64, risk)
    g64 = torch.autograd.grad(true, a64)[0]
    return bool((loss - true).abs() < 1e-4 * true.abs()) and bool((g - g64).norm() < 1e-3 * g64.norm())


def time_once(loss: Loss, data: tuple[Tensor, Tensor, Tensor], device: str) -> float:
    """Seconds for forward and backward."""
    for z in data[:2]:
        z.grad = None
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    loss(*data).backward()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def measure(case: Case, device: str, rounds: int) -> list[Measurement]:
    """All variants of a case, interleaved."""
    data = inputs(case, device)
    passed = {name: f for name, f in variants(case).items() if passes_gate(case, f, device)}
    times: dict[str, list[float]] = {name: [] for name in passed}
    for name, loss in passed.items():
        repeat = max(1, int(0.02 / max(time_once(loss, data, device), 1e-6)))
        times[name] = [float(repeat)]
    repeats = {name: int(values.pop()) for name, values in times.items()}
    for _ in range(rounds):
        for name, loss in passed.items():
            total = sum(time_once(loss, data, device) for _ in range(repeats[name]))
            times[name].append(1000 * total / repeats[name])
    result = []
    for name, values in times.items():
        quarter = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
        peak = peak_memory(case, name, device)
        result.append(Measurement(case, name, statistics.median(values), (quarter[0], quarter[2]), peak))
    return result


def peak_memory(case: Case, variant: str, device: str) -> float | None:
    """MiB beyond inputs and gradients: allocator statistics on a GPU, a process of its own on a CPU."""
    if device == "cuda":
        data = inputs(case, device)
        time_once(variants(case)[variant], data, device)
        gc.collect()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        time_once(variants(case)[variant], data, device)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    words = [sys.executable, __file__, "--peak", case.loss, str(case.n), str(case.d), variant]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    return float(run.stdout.split()[-1]) if run.returncode == 0 else None


def print_peak(loss: str, n: str, d: str, variant: str) -> None:
    """Resident memory that one forward and backward add to a fresh process, in MiB."""
    case = Case(loss, int(n), int(d))
    time_once(variants(case)[variant], inputs(Case(loss, 64, 64), "cpu"), "cpu")
    data = inputs(case, "cpu")
    for z in data[:2]:
        z.grad = torch.ones_like(z)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = memory_kib("VmHWM")
    variants(case)[variant](*data).backward()
    print((memory_kib("VmHWM") - before) / 1024)


def memory_kib(field: str) -> int:
    """A memory field of this process, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def markdown(results: list[Measurement], header: dict[str, str]) -> str:
    """The results as a table with ratios to the materialised variant."""
    lines = [f"{', '.join(f'{k} {v}' for k, v in header.items())}", ""]
    lines += [
        "| loss | N | D | variant | ms (quartiles) | speed, materialised = 1 | peak MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    base = {m.case: m.milliseconds for m in results if m.variant == "materialised"}
    for m in results:
        low, high = m.quartiles
        ratio = f"{base[m.case] / m.milliseconds:.2f}" if m.case in base else ""
        peak = "" if m.peak_mib is None else f"{m.peak_mib:.0f}"
        cells = [
            m.case.loss,
            m.case.n,
            m.case.d,
            m.variant,
            f"{m.milliseconds:.2f} ({low:.2f}-{high:.2f})",
            ratio,
            peak,
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def processor() -> str:
    """Model of the CPU, as Linux names it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def main() -> None:
    """Measure and write."""
    if sys.argv[1:2] == ["--peak"]:
        return print_peak(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    name = processor()
    if options.device == "cuda":
        name = torch.cuda.get_device_name()
    header = {
        "device": f"{options.device} ({name}, {torch.get_num_threads()} threads)",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    results = []
    for case in CASES:
        if options.quick and case.n > 2048:
            continue
        for m in measure(case, options.device, options.rounds):
            print(
                f"{m.case.loss:<14} N={m.case.n:<6} D={m.case.d:<5} {m.variant:<13} {m.milliseconds:10.2f} ms",
                flush=True,
            )
            results.append(m)
    slug = "cpu" if options.device == "cpu" else name.lower().replace(" ", "-")
    write_json(options.out / f"losses-{slug}.json", {"header": header, "results": [asdict(m) for m in results]})
    (options.out / f"losses-{slug}.md").write_text(markdown(results, header), encoding="utf-8")


if __name__ == "__main__":
    main()
