"""The static roofline as lines and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .model import Analysis

PIPES = ("mufu", "fma", "alu", "all")
COLUMNS = (
    *("architecture", "D", "rule", "pass", "tile", "registers", "programs per SM"),
    *(f"{pipe} per pair" for pipe in PIPES),
    *("tensor", "mma", "epilogue", "overlapped", "serial", "binds", "of tensor peak", "predicted ms"),
)
HEAD = " | ".join(COLUMNS)
NOTE = """\
**A model, not a measurement**: no kernel ran for this page. `bench/static_roofline.py` compiles every kernel over pairs
with the launcher's tile, counts the instructions of an ordinary tile in the machine code, and takes the clocks of
`bench/roofline/model.py` and the rates of `bench/roofline/chips.py`. Clocks are those of one multiprocessor per 128
pairs: *tensor*: the products at the tensor cores' peak (in brackets: how often the operations of the tile are done,
where warps outnumber its parts); *mma*: with the shared memory they read; *epilogue*: the rest of a tile; *overlapped*:
the longest pipe; *serial*: mma + epilogue. One program on a multiprocessor is taken as serial; programs that share one
fill each other's gaps up to *overlapped*. A strip is the gradient of the pairs where D is too wide for one kernel; its
time has that of the product with the embeddings (cuBLAS, 75 % of the peak) and of the strip's way through memory.
Softmax's normaliser counts half: it is summed in one of two views.

Not modelled: latencies, waiting in line for shared memory or L2, and a clock lowered at the power limit. `make
bench-gpu` and `make test-gpu` put measured times beside these, which are longer
([losses-nvidia-h100-80gb-hbm3.md](losses-nvidia-h100-80gb-hbm3.md)). **Of sm100 less is known**: its products are taken
from the tile, at the tensor cores' peak; the shared memory they read, and the way from and to tensor memory, count
nothing.
"""


def entry(a: Analysis, milliseconds: Mapping[int, float]) -> dict[str, Any]:
    """A kernel as the result file keeps it."""
    k, t, clocks = a.kernel, a.tile, a.clocks()
    width = f"/{t.width}" if k.step == "backward" else ""
    return {
        "architecture": k.architecture,
        "D": k.width,
        "rule": k.rule,
        "pass": k.step,
        "tile": f"{t.rows}x{t.columns}x{t.depth}{width} w{t.warps} s{t.stages}",
        "registers": a.registers,
        "spills": a.spills,
        "shared": a.shared,
        "programs per SM": a.per_multiprocessor,
        "per pair": {name: round(value, 3) for name, value in sorted(a.per_pair().items())},
        "clocks": {name: round(value, 2) for name, value in clocks.items()},
        "repeated": round(a.repeated, 3),
        "binds": a.binds(),
        "ms": {str(n): round(value, 4) for n, value in milliseconds.items()},
    }


def cells(e: Mapping[str, Any]) -> list[str]:
    """One line of the table."""
    clocks, spills = e["clocks"], f" spills {e['spills']}" if e["spills"] else ""
    times = e["repeated"]
    share = f"{clocks['tensor'] / times / clocks['predicted']:.0%}"
    tensor = f"{clocks['tensor']:.1f}" + (f" ({times:.2f} x)" if times > 1 else "")
    return [
        *(e["architecture"], str(e["D"]), e["rule"], e["pass"], e["tile"]),
        *(f"{e['registers']}{spills}", str(e["programs per SM"])),
        *(f"{e['per pair'].get(pipe, 0):.1f}" for pipe in PIPES),
        tensor,
        *(f"{clocks[name]:.1f}" for name in ("mma", "epilogue", "overlapped", "serial")),
        *(e["binds"], share),
        " / ".join(f"{value:.3g}" for value in e["ms"].values()),
    ]


def line(e: Mapping[str, Any]) -> str:
    """A kernel in one line."""
    return " | ".join(cells(e))


def steps(entries: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> list[str]:
    """Forward and backward together, by rule, D and architecture."""
    sums: dict[tuple[str, int, str], dict[str, float]] = {}
    for e in entries:
        total = sums.setdefault((e["architecture"], e["D"], e["rule"]), dict.fromkeys(e["ms"], 0.0))
        for n, value in e["ms"].items():
            total[n] += value
    names = ["architecture", "D", "rule", *(f"N = {n:,}" for n in sizes)]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for (architecture, d, rule), total in sums.items():
        values = " | ".join(f"{total[str(n)]:.3g}" for n in sizes)
        lines.append(f"| {architecture} | {d} | {rule} | {values} |")
    return lines


def markdown(header: Mapping[str, str], entries: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> str:
    """The result file."""
    names = " / ".join(f"{n:,}" for n in sizes)
    lines = [
        "# Static roofline",
        "",
        ", ".join(f"{k} {v}" for k, v in header.items()),
        "",
        NOTE,
        "## Forward and backward, predicted ms",
        "",
        *steps(entries, sizes),
        "",
        f"## Kernels (predicted ms at N = {names})",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
        *("| " + line(e) + " |" for e in entries),
    ]
    return "\n".join(lines) + "\n"
