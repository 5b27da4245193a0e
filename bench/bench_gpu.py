"""Time and memory of the losses on a CUDA device, forward and backward: the variants of a case interleaved, medians.

    PYTHONPATH=. python bench/bench_gpu.py [--budget-seconds 480] [--precision highest|high]
                                           [--case REGEX] [--variants REGEX] [--out FOLDER] [--dry-run]

Needs torch, nothing has to be installed. Times come from events, and again from replays of a CUDA graph; a figure is
kept only if the variant's value and gradient passed the correctness gate of its case, the kernels' in processes of
their own. Cases come in the order of their value until the budget is spent; the result files are written after each,
and whatever happens. A whole run writes bench/results/losses-<gpu>.json and .md, a run of some cases or variants only
where --out says; of a file that is there, of the same GPU and versions, the cases that are not measured again stay. A
dry run is the same on the CPU at tiny sizes, to try the code: with TRITON_INTERPRET=1 also the Triton kernels.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gpu_results
import machine
import torch
from admission import Admission
from cases import DTYPES, Case
from clock import Effort
from gpu_cases import ALL_VARIANTS, DRY_CASES, GPU_CASES, Budget, Note, matrix_share
from gpu_results import NOT_REACHED, Content
from gpu_run import Run
from gpu_tables import goals_table
from guard import one_line
from kernel_gates import KernelGates
from matrix_rates import MatrixRates, matrix_rates

RESULTS = Path(__file__).parent / "results"


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget-seconds", type=float, default=480.0, help="no further case is begun after these")
    parser.add_argument("--precision", default="highest", choices=["highest", "high"], help="of products of fp32")
    parser.add_argument("--case", default="", metavar="REGEX", help="cases, as in 'clef official 128 256 bf16'")
    parser.add_argument("--variants", default="", metavar="REGEX")
    parser.add_argument("--out", type=Path, help="folder of the result files")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU at tiny sizes; its times mean nothing")
    return parser.parse_args()


def prepare(options: argparse.Namespace, cases: Sequence[Case]) -> Run:
    """The device, and nothing measured yet."""
    budget = Budget(options.budget_seconds)
    torch.set_float32_matmul_precision(options.precision)
    device = "cpu" if options.dry_run else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("bench_gpu.py measures on a CUDA device and there is none; --dry-run tries it on the CPU")
    effort = Effort(rounds=3, sample_ms=1.0, call_ms=100.0) if options.dry_run else Effort()
    return Run(device, budget, effort, Admission(device, budget, options.variants, KernelGates(device, budget, cases)))


@dataclass
class Journal:
    """What a run has found so far, written wherever it is to be.

    Attributes:
        run: The run.
        rates: How fast the device multiplies.
        header: Of the result files.
        stem: The files' common path, without its ending; None where nothing is written.
        earlier: What is there already.
    """

    run: Run
    rates: MatrixRates
    header: dict[str, str]
    stem: Path | None
    earlier: Content | None = None

    def measure(self, cases: Sequence[Case]) -> None:
        """Measure cases while there is time; whatever happens, what was found by then is written."""
        ahead = list(cases)
        case = None
        try:
            while ahead and self.run.budget.left > 0:
                case = ahead.pop(0)
                self.run.measure(case)
                self.write(ahead)
            self.rates = replace(self.rates, end=matrix_rates(self.run.device))
        except BaseException as error:
            self.header["ended early by"] = one_line(error)
            self.run.notes += [Note(case, ALL_VARIANTS, f"not all measured: {one_line(error)}")] if case else []
            raise
        finally:
            self.write(ahead)
            print(f"\n{goals_table(self.run.results)}\n\n{len(cases) - len(ahead)} of {len(cases)} cases reached")

    def write(self, unreached: Sequence[Case]) -> None:
        """The result files as of now."""
        if self.stem is None:
            return
        flop_rates = {dtype: self.rates.used(dtype).flop_rate for dtype in DTYPES}
        results = [replace(m, matrix_share=matrix_share(m, flop_rates)) for m in self.run.results]
        notes = [*self.run.notes, *(Note(case, ALL_VARIANTS, NOT_REACHED) for case in unreached)]
        found = Content(self.header | self.rates.header(), notes, results)
        gpu_results.write(gpu_results.merged(found, self.earlier), self.stem)


def main() -> None:
    """Measure and write."""
    options = parse()
    cases = [case for case in (DRY_CASES if options.dry_run else GPU_CASES) if re.search(options.case, str(case))]
    run = prepare(options, cases)
    header = machine.describe(run.device) | {"fp32 products": options.precision}
    whole = not (options.dry_run or options.case or options.variants)
    folder = options.out or (RESULTS if whole else None)
    name = "dry-run" if options.dry_run else re.sub(r"[^a-z0-9]+", "-", header["device"].lower())
    stem = None if folder is None else folder / f"losses-{name}"
    earlier = None if stem is None else gpu_results.read(stem.with_suffix(".json"))
    rates = MatrixRates(matrix_rates(run.device))
    print(*(f"{k}: {v}" for k, v in (header | rates.header()).items()), sep="\n", flush=True)
    Journal(run, rates, header, stem, earlier).measure(cases)
    if stem is not None:
        print(f"written to {stem}.json and .md")


if __name__ == "__main__":
    main()
