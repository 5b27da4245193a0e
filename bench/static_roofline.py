"""What bounds the Triton kernels on GPUs that need not be there: their machine code, counted, and a model.

    PYTHONPATH=.:tests/kernels python bench/static_roofline.py [--architecture REGEX] [--width REGEX] [--rule REGEX]
        [--step REGEX] [--tile ROWSxCOLUMNSxDEPTHxWIDTHxWARPSxSTAGES] [--jobs N] [--out FOLDER]

Each kernel over pairs of a step in bf16 is compiled with the launcher's tile and arguments and disassembled (nvdisasm
of the triton wheel); the loop over tiles of columns is counted (roofline/counts.py) and its clocks are modelled
(roofline/model.py). The whole run writes FOLDER/static-roofline.json and .md. sm100 multiplies in tensor memory, whose
instructions do not tell their shape: there the products are taken from the tile.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import triton
from compile_kernels import Kernel, compile_kernel, cuda_usage, gradient_step, kernels_module, launched_tile, rules
from roofline import report
from roofline.chips import BANK, CHIPS
from roofline.counts import count
from roofline.model import Analysis

from ecgloss._files import write_json, write_text

RESULTS = Path(__file__).resolve().parent / "results"
RULES = ("ntxent", "clef paper", "clef official", "labels", "features")
WIDTHS = (128, 256, 512)
SIZES = (8192, 32768, 131072)


def matrix() -> list[Kernel]:
    """What the whole run analyses."""
    found = []
    for architecture in CHIPS:
        for width in WIDTHS:
            for rule in RULES:
                step = gradient_step(architecture, "bf16", width, rule)
                found += [Kernel(architecture, s, "bf16", width, rule) for s in ("forward", step)]
    return found


def disassemble(cubin: bytes) -> str:
    """The machine code as text."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=True).stdout


def operations(kernel: Kernel, tile: Any) -> float:
    """Of the tensor cores in one tile: S, G z^, and three products of half-precision planes for cosines of features."""
    pairs = tile.rows * tile.columns
    found = float(2 * pairs * kernel.width)
    if kernel.step == "backward":
        found += 2 * pairs * tile.width
    if kernel.rule == "features":
        found += 3 * 2 * pairs * int(rules()[kernel.rule][0].width)
    return found


def analyse(kernel: Kernel, tile: Any = None) -> Analysis:
    """Compile a kernel and count.

    Raises:
        ValueError: where the products that are found are not those of the tile.
    """
    tile, chip = tile or launched_tile(kernel), CHIPS[kernel.architecture]
    compiled = compile_kernel(kernel, tile)
    cubin = compiled.asm["cubin"]
    counts = count(disassemble(cubin), kernel.width // tile.depth, 1, chip.tensor, BANK)
    expected = operations(kernel, tile) / tile.warps
    if kernel.architecture == "sm100":
        counts.operations, counts.tensor_clocks = expected, expected / chip.tensor
    # Where warps outnumber what a tile is divided into, some products are computed twice.
    if counts.operations < 0.999 * expected or counts.operations > 2.001 * expected:
        raise ValueError(f"{kernel}: {counts.operations:,.0f} operations per warp and tile, not {expected:,.0f}")
    registers, spills = cuda_usage(cubin)
    return Analysis(kernel, tile, registers, spills, compiled.metadata.shared, counts)


def predicted(a: Analysis) -> dict[int, float]:
    """Milliseconds by N."""
    choose, strips = kernels_module("device").choose_splits, kernels_module("launch_gradient").strip_rows
    return {n: a.milliseconds(n, choose, strips(n, 2 * n)) for n in SIZES}


def tile_of(text: str) -> Any:
    """A tile as --tile takes it."""
    return kernels_module("tile_table").Tile(*(int(x) for x in text.split("x")))


def entry(kernel: Kernel, tile: Any = None) -> dict[str, Any]:
    """One line of the result file."""
    return report.entry(a := analyse(kernel, tile), predicted(a))


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyse, print, and of the whole run write the results."""
    parser = argparse.ArgumentParser(description="A static roofline of the Triton kernels")
    for name in ("architecture", "width", "rule", "step"):
        parser.add_argument(f"--{name}", default="", metavar="REGEX", help=f"only matching {name}s")
    parser.add_argument("--tile", type=tile_of, metavar="RxCxKxWxWARPSxSTAGES", help="instead of the launcher's")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="kernels compiled at once (2)")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where results are written")
    given = parser.parse_args(arguments)
    wanted = [(name, getattr(given, name)) for name in ("architecture", "width", "rule", "step")]
    kernels = [k for k in matrix() if all(re.search(pattern, str(getattr(k, name))) for name, pattern in wanted)]
    print(report.HEAD)
    entries = []
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(partial(entry, tile=given.tile), kernels):
            entries.append(found)
            print(report.line(found), flush=True)
    if kernels == matrix() and given.tile is None:
        header = {"triton": triton.__version__, "date": datetime.date.today().isoformat(), "dtype": "bf16"}
        write_json(given.out / "static-roofline.json", {"header": header, "kernels": entries})
        write_text(given.out / "static-roofline.md", report.markdown(header, entries, SIZES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
