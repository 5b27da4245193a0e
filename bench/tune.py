"""Search for tiles on the GPU at hand: PYTHONPATH=. python bench/tune.py [--passes ..] [--rules ..] [--widths ..]

    [--size 32768] [--seconds 240] [--spills 0] [--jobs N] [--results tune.json] [--out tiles.json]

Every candidate is compiled, in processes of their own for at most half of the time, checked against the tile that the
launcher takes now (loss and gradient), and timed with CUDA events in turns with it. Results are written after each, to
a temporary name that is then renamed; run again, the search goes on where it stopped. The best tiles are written as a
file that ECGLOSS_TILES can name (kernels/tile_file.py), for the very D they were measured at, and everything that was
measured as a table beside it (.md).
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tune_results import WHOLE, Entry, best, is_known, key, load, search, table, tile_lines

from ecgloss._files import write_json, write_text

RULES = ("ntxent", "clef paper", "clef official", "labels", "features")
DENSE = ("labels", "features")
STEPS = ("forward", "backward", "strip")
SHAPES = {
    "forward": [(128, 128), (128, 64), (64, 64), (128, 32), (64, 128)],
    "backward": [(128, 64), (128, 32), (64, 64), (64, 32)],
    "strip": [(128, 128), (128, 64), (64, 64)],
}
AHEAD = (2, 3)  # tiles ahead of which the vectors of the columns are loaded, tried with the best forward tiles


def candidates(
    steps: Sequence[str], rules: Sequence[str], widths: Sequence[int], size: int, fused: Callable[[int], bool]
) -> list[Entry]:
    """What is tried: of the passes that a rule has at a D, where ``fused`` says whether gradients need no strips."""
    found = []
    for width in widths:
        for rule in rules:
            gradient = "backward" if rule in DENSE or fused(width) else "strip"
            for step in (step for step in steps if step in ("forward", gradient)):
                depths = {64} if step == "strip" or width > 512 else {64, WHOLE} if width == 512 else {WHOLE}
                for depth in sorted(depths):
                    for rows, columns in SHAPES[step]:
                        for warps in (4, 8):
                            for stages in (2, 3, 4):
                                tile = {"rows": rows, "cols": columns, "depth": depth, "warps": warps, "stages": stages}
                                tile |= {"width": WHOLE} if step == "backward" else {}
                                found.append({"rule": rule, "pass": step, "D": width, "N": size, "tile": tile})
    return found


def refined(found: Sequence[Entry]) -> list[Entry]:
    """The best forward tiles, with the vectors of the columns loaded ahead."""
    return [
        {name: r[name] for name in ("rule", "pass", "D", "N")} | {"tile": r["tile"] | {"prefetch": ahead}}
        for r in found
        for ahead in AHEAD
        if r["pass"] == "forward" and "prefetch" not in r["tile"]
    ]


def padded_width(text: str) -> int:
    """A D as the kernels see it."""
    d = int(text)
    if d < 16 or (d & (d - 1) and d % 128):
        raise argparse.ArgumentTypeError(f"D is padded to a power of two from 16 on or a multiple of 128; got {d}")
    return d


def warm_up(entries: Sequence[Entry], jobs: int, end: float, command: Sequence[str]) -> None:
    """Compile candidates into Triton's cache, by ``command`` in processes that are ended in time."""
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for job in range(min(jobs, len(entries))):
            path = Path(folder) / f"{job}.json"
            write_json(path, list(entries[job::jobs]))
            process = subprocess.Popen([*command, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            processes.append(process)
        for process in processes:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, and write the file and the table."""
    parser = argparse.ArgumentParser(description="Search for tiles of the Triton kernels on this GPU")
    parser.add_argument("--passes", nargs="+", default=list(STEPS), choices=STEPS)
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=RULES)
    parser.add_argument("--widths", nargs="+", type=padded_width, default=[256], metavar="D")
    parser.add_argument("--size", type=int, default=32768, metavar="N", help="rows (32768)")
    parser.add_argument("--seconds", type=float, default=240, help="no measurement begins later (240)")
    parser.add_argument("--spills", type=int, default=0, metavar="BYTES", help="that a tile may spill (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="compiling processes")
    parser.add_argument("--results", type=Path, default=Path("tune.json"), metavar="PATH", help="results so far")
    parser.add_argument("--out", type=Path, default=Path("tiles.json"), metavar="PATH", help="the tile file")
    given = parser.parse_args(arguments)
    import tune_gpu

    begin, header = time.monotonic(), tune_gpu.header()
    known = load(given.results, header)
    entries = candidates(given.passes, given.rules, given.widths, given.size, tune_gpu.is_fused)
    unknown = [e for e in entries if not is_known(known.get(key(e)), given.spills)]
    warm_up(unknown, given.jobs, begin + given.seconds / 2, [sys.executable, tune_gpu.__file__])
    go_on = functools.partial(search, path=given.results, end=begin + given.seconds, spills=given.spills, header=header)
    measure = functools.partial(tune_gpu.measure, spills=given.spills)
    results = go_on(entries, measure=measure, usable=tune_gpu.usable)
    if tune_gpu.usable():
        results = go_on(refined(best(results, given.spills)), measure=measure, usable=tune_gpu.usable)
    found = best(results, given.spills)
    write_json(given.out, tile_lines(found, tune_gpu.architecture(), tune_gpu.pass_name))
    write_text(given.out.with_suffix(".md"), table(results, header))
    left = sum(not is_known(results.get(key(e)), given.spills) for e in entries)
    print(table({key(r): r for r in found}, header))
    print(f"{len(results)} tried, {left} left; {len(found)} beat the launcher's: {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
