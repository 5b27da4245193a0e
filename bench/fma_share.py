"""Share of the multiply-add rate that the C++ kernels reach, per instruction set: python bench/fma_share.py

Writes results/fma-share.{json,md}. A round measures, one after the other: multiply-adds from registers (the rate), a
loss forward and backward, the rate again, and a product of matrices of the size of S by torch (MKL or OpenBLAS), which
shows what the machine lets any code reach at that moment. Shares are of 4 N^2 D operations, those that no method can do
without, and of the mean of the rates before and after.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from cases import Case, inputs
from machine import describe

import ecgloss.functional as F
from ecgloss import _C
from ecgloss._files import write_json, write_text

RATE_SECONDS = 0.05
CASES = [Case(loss, n, d) for loss in ("ntxent", "clef official") for n, d in ((2048, 256), (4096, 1024), (8192, 256))]
T = TypeVar("T")
Row = dict[str, str | int | float]


def measure(case: Case, rounds: int) -> list[Row]:
    """Median and largest shares of one case for every instruction set; the sets take turns."""
    z1, z2, risk = inputs(case, "cpu")

    def forward() -> torch.Tensor:
        if case.loss == "ntxent":
            return F.ntxent(z1, z2, backend="cpp")
        loss = F.clef(z1, z2, risk, preset="official", backend="cpp")
        assert isinstance(loss, torch.Tensor)
        return loss

    rows = torch.cat([z1, z2]).detach()
    product = torch.empty(case.n, case.n)
    names = [name for name in _C.instruction_sets() if name != "generic"] or ["generic"]
    shares: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in names}
    unit = case.n**2 * case.d
    for k in range(rounds + 1):
        for name in names:
            _C.use_instruction_set(name)
            before = _rate()
            ahead, loss = _timed(forward)
            back, _ = _timed(loss.backward)
            after = _rate()
            gemm, _ = _timed(lambda: torch.mm(rows, rows.T, out=product))
            rate = (before + after) / 2
            z1.grad = z2.grad = None
            if k:  # the first warms up
                shares[name].append(
                    (
                        4 * unit / (ahead + back) / rate,
                        unit / ahead / rate,
                        3 * unit / back / rate,
                        2 * unit / gemm / after,
                    )
                )
    keys = ("loss", "forward", "backward", "torch.mm")
    found = []
    for name in names:
        row: Row = {"case": str(case), "instruction set": name}
        for key, values in zip(keys if name == names[0] else keys[:3], zip(*shares[name])):
            row[key], row[f"{key} (best)"] = statistics.median(values), max(values)
        found.append(row)
    return found


def report(header: dict[str, str], rows: list[Row], rounds: int) -> str:
    """The table: per cent, the median over rounds and the best round."""
    keys = [key for key in rows[0] if isinstance(rows[0][key], float) and not key.endswith("(best)")]
    lines = [["case", "instruction set", *(key for key in keys)]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        cells = [
            f"{100 * float(row[key]):.0f} ({100 * float(row[f'{key} (best)']):.0f})" if key in row else "-"
            for key in keys
        ]
        lines.append([str(row["case"]), str(row["instruction set"]), *cells])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    intro = (
        "Per cent of the rate of multiply-adds from registers, measured before and after each call: median (best) of "
        f"{rounds} rounds (`python bench/fma_share.py`). torch.mm: a product of matrices of the size of S by torch, "
        "which always uses the widest instruction set."
    )
    return "\n\n".join([", ".join(f"{key} {value}" for key, value in header.items()), intro, table]) + "\n"


def _rate() -> float:
    return float(_C.fma_rate(torch.get_num_threads(), RATE_SECONDS))


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    """Seconds of a call, and what it returned."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def main() -> None:
    """Measure, and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    header = {key: value for key, value in describe("cpu").items() if key != "instruction set"}
    rows = [row for case in CASES for row in measure(case, options.rounds)]
    write_json(options.out / "fma-share.json", {"header": header, "rows": rows})
    write_text(options.out / "fma-share.md", report(header, rows, options.rounds))
    print(report(header, rows, options.rounds))


if __name__ == "__main__":
    main()
