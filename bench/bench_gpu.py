"""Time and memory of the losses on a CUDA device, forward and backward: the variants of a case interleaved, medians.

    PYTHONPATH=. python bench/bench_gpu.py [--budget-seconds 520] [--precision highest|high]
                                           [--case REGEX] [--variants REGEX] [--out FOLDER] [--dry-run]

Needs torch, nothing has to be installed. Times come from events, and again from replays of a CUDA graph; a figure is
kept only if the variant's value and gradient passed the correctness gate of its case. Cases come in the order of their
value until the budget is spent; the result files are written after each. A whole run writes
bench/results/losses-<gpu>.json and .md, a run of some cases or variants only where --out says. A dry run is the same on
the CPU at tiny sizes, to try the code: with TRITON_INTERPRET=1 also the Triton kernels.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import machine
import torch
from cases import DTYPES, Case
from clock import Effort
from gpu_cases import DRY_CASES, GPU_CASES, Budget, Note
from gpu_run import Run
from gpu_tables import goals_table, report

from ecgloss._files import replacing, write_json

RESULTS = Path(__file__).parent / "results"


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget-seconds", type=float, default=520.0, help="no further case is begun after these")
    parser.add_argument("--precision", default="highest", choices=["highest", "high"], help="of products of fp32")
    parser.add_argument("--case", default="", metavar="REGEX", help="cases, as in 'clef official 128 256 bf16'")
    parser.add_argument("--variants", default="", metavar="REGEX")
    parser.add_argument("--out", type=Path, help="folder of the result files")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU at tiny sizes; its times mean nothing")
    return parser.parse_args()


def prepare(options: argparse.Namespace) -> tuple[Run, dict[str, str]]:
    """The device, how fast it multiplies matrices, and the header of the result files."""
    budget = Budget(options.budget_seconds)
    torch.set_float32_matmul_precision(options.precision)
    device = "cpu" if options.dry_run else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("bench_gpu.py measures on a CUDA device and there is none; --dry-run tries it on the CPU")
    rates = {dtype: machine.matrix_rate(dtype, device, 64 if options.dry_run else 8192) for dtype in DTYPES}
    header = machine.describe(device) | {"fp32 products": options.precision}
    header |= {f"{DTYPES[dtype]} matrix rate": f"{rate / 1e12:.3g} Tflop/s" for dtype, rate in rates.items()}
    effort = Effort(rounds=3, call_ms=100.0) if options.dry_run else Effort()
    return Run(device, budget, effort, options.variants, rates), header


def write(run: Run, header: dict[str, str], unreached: Sequence[Case], stem: Path) -> None:
    """The result files as of now, stem.json and stem.md."""
    notes = [*run.notes, *(Note(case, "all variants", "not reached in time") for case in unreached)]
    content = {"header": header, "notes": [asdict(n) for n in notes], "results": [asdict(m) for m in run.results]}
    write_json(stem.with_suffix(".json"), content)
    with replacing(stem.with_suffix(".md")) as path:
        path.write_text(report(run.results, header, notes), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    options = parse()
    run, header = prepare(options)
    whole = not (options.dry_run or options.case or options.variants)
    folder = options.out or (RESULTS if whole else None)
    name = "dry-run" if options.dry_run else re.sub(r"[^a-z0-9]+", "-", header["device"].lower())
    stem = None if folder is None else folder / f"losses-{name}"
    cases = [case for case in (DRY_CASES if options.dry_run else GPU_CASES) if re.search(options.case, str(case))]
    print(*(f"{k}: {v}" for k, v in header.items()), sep="\n", flush=True)
    unreached = list(cases)
    while unreached and run.budget.left > 0:
        run.measure(unreached.pop(0))
        if stem is not None:
            write(run, header, unreached, stem)
    print(f"\n{goals_table(run.results)}\n\n{len(cases) - len(unreached)} of {len(cases)} cases reached")
    if stem is not None:
        print(f"written to {stem}.json and .md")


if __name__ == "__main__":
    main()
