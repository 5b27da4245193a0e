"""Registers, shared memory and spills of the Triton kernels, compiled for GPUs that need not be there.

    PYTHONPATH=. python tests/kernels/kernel_resources.py [--architecture REGEX] [--width REGEX] [--rule REGEX]
                                                          [--jobs N] [--out FOLDER]

The kernels over all pairs, with the tiles the launcher takes and with all that costs registers: the gradient of the
temperature, missing fractions; the maximum is fixed. The whole run also writes FOLDER/kernel-resources.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import multiprocessing
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import triton
from compile_kernels import SHARED_LIMIT, TARGETS, Kernel, Resources, gradient_step, resources

from ecgloss._files import write_json, write_text

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
WIDTHS = (64, 128, 256, 512)
RULES = ("ntxent", "clef paper", "clef official")
DENSE_RULES, DENSE_WIDTH = ("labels", "features", "gaussian"), 128
DTYPES = ("bf16", "fp32")


def matrix() -> list[Kernel]:
    """What the whole run compiles."""
    plain = itertools.product(TARGETS, DTYPES, WIDTHS, RULES)
    dense = itertools.product(TARGETS, DTYPES, (DENSE_WIDTH,), DENSE_RULES)
    found = []
    for architecture, dtype, width, rule in (*plain, *dense):
        for step in ("forward", gradient_step(architecture, dtype, width, rule)):
            found.append(Kernel(architecture, step, dtype, width, rule))
    return found


def report(results: Sequence[Resources], header: dict[str, str]) -> str:
    """The result file."""
    lines = [
        ", ".join(f"{k} {v}" for k, v in header.items()),
        "",
        "Tile: rows x columns x depth of a product / width of a program's gradient, warps and stages. Registers are "
        "per thread, shared bytes per program. The dense rules (labels, features, gaussian) are compiled for one D. "
        "fp32 is of the highest precision, without tensor cores but on gfx942. A strip is the gradient of the pairs "
        "where D is too wide for one kernel; its product with the embeddings is cuBLAS's.",
        "",
        "| architecture | pass | dtype | D | rule | tile | registers | shared / limit | spills | matrix products |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(cells(result)) + " |" for result in results]
    return "\n".join(lines) + "\n"


def cells(result: Resources) -> list[str]:
    """One line of the table."""
    k = result.kernel
    return [
        *(k.architecture, k.step, k.dtype, str(k.width), k.rule, result.tile, str(result.registers)),
        f"{result.shared:,} / {SHARED_LIMIT[k.architecture]:,}",
        str(result.spills),
        ", ".join(f"{count} {name}" for name, count in result.matrix_instructions.items()) or "-",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, print, and of the whole run write the results; 1 if some kernel must not be launched."""
    parser = argparse.ArgumentParser(description="Registers, shared memory and spills of the Triton kernels")
    parser.add_argument("--architecture", default="", metavar="REGEX", help="only matching architectures, as sm90")
    parser.add_argument("--width", default="", metavar="REGEX", help="only matching D")
    parser.add_argument("--rule", default="", metavar="REGEX", help="only matching rules, as 'clef official'")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="kernels compiled at once (2)")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where results are written")
    given = parser.parse_args(arguments)
    kernels = [
        kernel
        for kernel in matrix()
        if re.search(given.architecture, kernel.architecture)
        and re.search(given.width, str(kernel.width))
        and re.search(given.rule, kernel.rule)
    ]
    results = []
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for result in pool.map(resources, kernels):
            results.append(result)
            print(*cells(result), *result.faults(), sep="  ", flush=True)
    if len(kernels) == len(matrix()):
        header = {"triton": triton.__version__, "date": datetime.date.today().isoformat()}
        content = {"header": header, "results": [asdict(r) for r in results]}
        write_json(given.out / "kernel-resources.json", content)
        write_text(given.out / "kernel-resources.md", report(results, header))
    return int(any(result.faults() for result in results))


if __name__ == "__main__":
    sys.exit(main())
