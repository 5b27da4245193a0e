"""What bounds the Triton kernels on GPUs that need not be there: their machine code, counted, and a model.

    PYTHONPATH=.:tests/kernels python bench/static_roofline.py [--architecture REGEX] [--width REGEX] [--rule REGEX]
        [--step REGEX] [--tile ROWSxCOLUMNSxDEPTH/WIDTHwWARPSsSTAGES] [--jobs N] [--out FOLDER]

Each kernel over pairs of a step in bf16 is compiled with the launcher's tile and arguments and disassembled (nvdisasm
of the triton wheel); the loop over tiles of columns is counted (roofline/counts.py) and its clocks are modelled
(roofline/model.py). The whole run writes FOLDER/static-roofline.json and .md. The operations of the tensor cores that
are found must be those of the tile; on sm100, whose instructions do not tell their shape, they are taken from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import itertools
import math
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
TILE = re.compile(r"(\d+)x(\d+)x(\d+)(?:/(\d+))? ?w(\d+) ?s(\d+)")


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


def operations(kernel: Kernel, tile: Any) -> list[float]:
    """Of the tensor cores in one tile, by product: S; G z^; three of half-precision planes for cosines of features."""
    pairs = 2.0 * tile.rows * tile.columns
    found = [pairs * kernel.width]
    if kernel.step == "backward":
        found.append(pairs * tile.width)
    if kernel.rule == "features":
        found += 3 * [pairs * rules()[kernel.rule][0].width]
    return found


def check(kernel: Kernel, products: Sequence[float], found: float) -> None:
    """Compare the operations that are found with those of the tile's products, per warp.

    Raises:
        ValueError: where they are another number. Where warps outnumber the parts of a tile, a product runs twice.
    """
    sums = {sum(times) for times in itertools.product(*((one, 2 * one) for one in products))}
    if not any(math.isclose(found, each, rel_tol=1e-3) for each in sums):
        raise ValueError(f"{kernel}: {found:,.0f} operations per warp and tile, not {sum(products):,.0f}")


def analyse(kernel: Kernel, tile: Any = None) -> Analysis:
    """Compile a kernel and count.

    Raises:
        ValueError: where the products that are found are not those of the tile.
    """
    tile, chip = tile or launched_tile(kernel), CHIPS[kernel.architecture]
    compiled = compile_kernel(kernel, tile)
    cubin = compiled.asm["cubin"]
    counts = count(disassemble(cubin), kernel.width // tile.depth, 1, chip.tensor, BANK)
    products = [product / tile.warps for product in operations(kernel, tile)]
    if kernel.architecture == "sm100":
        counts.operations, counts.tensor_clocks = sum(products), sum(products) / chip.tensor
    check(kernel, products, counts.operations)
    registers, spills = cuda_usage(cubin)
    return Analysis(kernel, tile, registers, spills, compiled.metadata.shared, counts, sum(products))


def predicted(a: Analysis) -> dict[int, float]:
    """Milliseconds by N."""
    partials, strips = kernels_module("memory_layout").PARTIALS, kernels_module("launch_gradient").strip_rows
    numbers = a.kernel.width if a.kernel.step == "backward" else partials  # fp32, of a row in one part

    def splits(programs: int, tiles: int, at_once: int, rows: int) -> int:
        return int(kernels_module("device").choose_splits(programs, tiles, at_once, 4 * rows * numbers))

    return {n: a.milliseconds(n, splits, strips(n, 2 * n)) for n in SIZES}


def tile_of(text: str, width: int) -> Any:
    """A tile as the table prints it; the width of a gradient is D unless it is given."""
    found = TILE.fullmatch(text)
    assert found is not None
    rows, columns, depth, own_width, warps, stages = (int(x) if x else width for x in found.groups())
    return kernels_module("tile_table").Tile(rows, columns, depth, own_width, warps, stages)


def entry(kernel: Kernel, tile: str | None) -> dict[str, Any]:
    """One line of the result file: with the launcher's tile, or one of --tile, as many at once as fit."""
    found = analyse(kernel, tile_of(tile, kernel.width) if tile else None)
    if tile:
        occupancy = max(1, found.per_multiprocessor)
        found = dataclasses.replace(found, tile=found.tile._replace(occupancy=occupancy))
    return report.entry(found, predicted(found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyse, print, and of the whole run write the results."""
    parser = argparse.ArgumentParser(description="A static roofline of the Triton kernels")
    for name in ("architecture", "width", "rule", "step"):
        parser.add_argument(f"--{name}", default="", metavar="REGEX", help=f"only matching {name}s")
    parser.add_argument("--tile", help="as the table prints it, such as 128x64x256/256w8s3")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="kernels compiled at once (2)")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where results are written")
    given = parser.parse_args(arguments)
    if given.tile and not TILE.fullmatch(given.tile):
        parser.error(f"--tile is written as 128x64x256w8s3 or 128x64x128/256w8s3; got {given.tile}")
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
