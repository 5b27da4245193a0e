"""Time and memory of the losses on a CPU, forward and backward: the variants of a case interleaved, medians.

    python bench/bench_losses.py [--quick] [--case REGEX] [--variants REGEX] [--rounds 7] [--large]

A figure is kept only if the variant's value and gradient passed the correctness gate of its case. A whole run writes
bench/results/losses-cpu.json and .md; a run of some cases or variants writes only where --out says.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import time
from dataclasses import asdict
from pathlib import Path

import large
import machine
import torch
from bench_tables import goals_table, results_table
from cases import CASES, Case, CpuMeasurement, inputs, spread
from gate import gate
from memory import on_cpu
from result_files import write_results
from variants import PEERS, Data, Loss, seconds, variants

RESULTS = Path(__file__).parent / "results"
SAMPLE_SECONDS = 0.02  # clocks and schedulers are noise below
LEAST_ROUNDS = 3
QUICK_LARGEST_N = 2048


def admitted(case: Case, wanted: str) -> tuple[dict[str, Loss], list[str]]:
    """Variants that run and are right, and notes on the others."""
    check = gate(case, "cpu")
    passed, notes = {}, []
    for name, loss in variants(case, "cpu").items():
        if not re.search(wanted, name):
            continue
        try:
            check(loss)
        except Exception as error:  # a compiler or another library may fail in any way; the note says how
            reason = next(iter(str(error).strip().splitlines()), "")
            notes.append(f"{case.loss} N={case.n} D={case.d}: {name} left out, {type(error).__name__}: {reason}")
        else:
            passed[name] = loss
    return passed, notes


def interleaved(losses: dict[str, Loss], data: Data, rounds: int, budget: float) -> dict[str, list[float]]:
    """Milliseconds per evaluation of every variant, one sample each per round.

    After the least number of rounds, the budget of seconds decides whether there is another.
    """
    repeats = {}
    for name, loss in losses.items():
        seconds(loss, data)  # the first evaluation at a size compiles, allocates, starts threads
        first = seconds(loss, data) if data[0].shape[0] <= QUICK_LARGEST_N // 2 else SAMPLE_SECONDS
        repeats[name] = max(1, math.ceil(SAMPLE_SECONDS / max(first, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in losses}
    begin = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() - begin > budget:
            break
        for name, loss in losses.items():
            total = sum(seconds(loss, data) for _ in range(repeats[name]))
            times[name].append(1000 * total / repeats[name])
    return times


def measure(case: Case, times: dict[str, list[float]], fma_rate: float | None) -> list[CpuMeasurement]:
    """Statistics of the times of a case's variants, and their memory."""
    results = []
    for name, values in times.items():
        median, quartiles = spread(values)
        rate = None if name in PEERS else 1000 * case.useful_flop / median
        share = None if rate is None or fma_rate is None else rate / fma_rate
        used = on_cpu(case, name)
        mib = None if used is None else used.mib
        results.append(CpuMeasurement(case, name, median, quartiles, len(values), mib, rate, share))
    return results


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="at most, and at least 3 where they take long")
    parser.add_argument("--budget", type=float, default=4.0, help="seconds of rounds per case, beyond the first 3")
    parser.add_argument("--quick", action="store_true", help=f"sizes up to {QUICK_LARGEST_N} only")
    parser.add_argument("--case", default="", metavar="REGEX", help="cases, as in 'clef official 128 256'")
    parser.add_argument("--variants", metavar="REGEX", help="variants; with --large the default is cpp")
    parser.add_argument("--large", action="store_true", help="one evaluation at N = 65,536 on the CPU instead")
    parser.add_argument("--out", type=Path, help="folder of the result files")
    return parser.parse_args()


def main() -> None:
    """Measure and write."""
    options = parse()
    if options.large:
        return large.main(options.variants or "^cpp$", options.out or RESULTS)
    results: list[CpuMeasurement] = []
    notes: list[str] = []
    fma_rates: list[float] = []
    for case in CASES:
        if (options.quick and case.n > QUICK_LARGEST_N) or not re.search(options.case, str(case)):
            continue
        losses, left_out = admitted(case, options.variants or "")
        fma_rate = machine.fma_rate()  # beside each case: clocks change
        fma_rates += [] if fma_rate is None else [fma_rate]
        times = interleaved(losses, inputs(case, "cpu"), options.rounds, options.budget)
        for m in measure(case, times, fma_rate):
            print(f"{case!s:<24} {m.variant:<24} {m.milliseconds:10.3f} ms", flush=True)
            results.append(m)
        print(*left_out, sep="\n", end="\n" if left_out else "", flush=True)
        notes += left_out
        torch.compiler.reset()  # a function compiled for too many sizes would silently run uncompiled
    header = machine.describe("cpu")
    if fma_rates:
        header["FMA rate"] = f"{statistics.median(fma_rates) / 1e9:.0f} Gflop/s (median over the cases)"
    report = results_table(results, header, notes) + "\n" + goals_table(results)
    print("\n" + report)
    whole = not (options.quick or options.case or options.variants)
    folder = options.out or (RESULTS if whole else None)
    if folder is None:
        return
    content = {"header": header, "notes": notes, "results": [asdict(m) for m in results]}
    write_results(folder / "losses-cpu", content, report)


if __name__ == "__main__":
    main()
