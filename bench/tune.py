"""Search for tiles on the GPU at hand: PYTHONPATH=. python bench/tune.py [--passes ..] [--rules ..] [--widths ..]

    [--size 32768] [--seconds 240] [--jobs N] [--results tune.json] [--out tiles.json]

Every candidate is compiled in processes of their own, checked against the tile of the table (loss and gradient), and
timed with CUDA events in turns with it. Results are written after each, to a temporary name that is then renamed; run
again, the search goes on where it stopped. The fastest tiles that spill at most --spills bytes are written as a file
that ECGLOSS_TILES can name (kernels/tile_file.py).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ecgloss._files import read_json, write_json

RULES = ("ntxent", "clef paper", "clef official", "labels", "features")
STEPS = ("forward", "backward", "strip")
SHAPES = {
    "forward": [(128, 128), (128, 64), (64, 64), (128, 32), (64, 128)],
    "backward": [(128, 64), (128, 32), (64, 64), (64, 32)],
    "strip": [(128, 128), (128, 64), (64, 64)],
}
WHOLE = 9999
TOLERANCE = 2e-3  # of loss and gradient against the tile of the table
Entry = dict[str, Any]


def candidates(steps: Sequence[str], rules: Sequence[str], widths: Sequence[int], size: int) -> list[Entry]:
    """What is tried."""
    found = []
    for width in widths:
        for rule in rules:
            for step in steps:
                for rows, columns in SHAPES[step]:
                    for warps in (4, 8):
                        for stages in (2, 3, 4):
                            depth = 64 if step == "strip" or width > 512 else WHOLE
                            sizes = {"rows": rows, "cols": columns, "depth": depth, "warps": warps, "stages": stages}
                            sizes |= {"width": WHOLE} if step == "backward" else {}
                            found.append({"rule": rule, "pass": step, "D": width, "N": size, "tile": sizes})
    return found


def key(entry: Entry) -> str:
    """What tells candidates apart."""
    tile = "x".join(str(value) for value in entry["tile"].values())
    return f"{entry['rule']} {entry['pass']} D={entry['D']} N={entry['N']} {tile}"


def search(
    entries: Sequence[Entry],
    path: Path,
    seconds: float,
    measure: Callable[[Entry], Entry],
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Entry]:
    """Measure what ``path`` does not have yet, until the time is over; a candidate that fails is kept with its reason.

    Args:
        entries: Candidates.
        path: Results so far, by :func:`key`; written after each.
        seconds: No measurement begins later.
        measure: Gives microseconds of the candidate and of the table's tile, and spilled bytes; or raises.
        clock: Seconds.
    """
    results: dict[str, Entry] = read_json(path) if path.exists() else {}
    end = clock() + seconds
    for entry in entries:
        if key(entry) in results:
            continue
        if clock() > end:
            break
        try:
            outcome = measure(entry)
        except Exception as error:  # whatever a compiler or a GPU says is a result
            outcome = {"fault": f"{type(error).__name__}: {error}"[:300]}
        results[key(entry)] = entry | outcome
        write_json(path, results)
    return results


def best(results: dict[str, Entry], spills: int) -> list[Entry]:
    """The fastest right tile of every rule, pass and D, where it beats the table's by more than the noise."""
    fastest: dict[tuple[str, str, int], Entry] = {}
    for r in results.values():
        place = (r["rule"], r["pass"], r["D"])
        if "us" in r and r["spills"] <= spills and r["us"] < fastest.get(place, {"us": 0.97 * r["table us"]})["us"]:
            fastest[place] = r
    return [fastest[place] for place in sorted(fastest)]


def tile_lines(found: Sequence[Entry], architecture: str, names: Callable[[Entry], str]) -> list[Entry]:
    """The entries of a tile file, smaller D first: the first line that fits is taken."""
    lines = []
    for r in sorted(found, key=lambda r: r["D"]):
        line = {"architectures": architecture, "passes": names(r), "products": "half", "max_D": r["D"]}
        lines.append(line | r["tile"])
    return lines


def warm_up(entries: Sequence[Entry], jobs: int) -> None:
    """Compile candidates in processes of their own, into Triton's cache."""
    folder = Path(__file__).parent
    processes = []
    for job in range(jobs):
        path = Path(f"tune-{os.getpid()}-{job}.json")
        write_json(path, list(entries[job::jobs]))
        command = [sys.executable, str(folder / "tune_gpu.py"), str(path)]
        processes.append((subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), path))
    for process, path in processes:
        process.wait()
        path.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print a table, and write the file."""
    parser = argparse.ArgumentParser(description="Search for tiles of the Triton kernels on this GPU")
    parser.add_argument("--passes", nargs="+", default=["forward", "backward"], choices=STEPS)
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=RULES)
    parser.add_argument("--widths", nargs="+", type=int, default=[256], metavar="D")
    parser.add_argument("--size", type=int, default=32768, metavar="N", help="rows (32768)")
    parser.add_argument("--seconds", type=float, default=240, help="no measurement begins later (240)")
    parser.add_argument("--spills", type=int, default=0, metavar="BYTES", help="that a tile may spill (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="compiling processes")
    parser.add_argument("--results", type=Path, default=Path("tune.json"), metavar="PATH", help="results so far")
    parser.add_argument("--out", type=Path, default=Path("tiles.json"), metavar="PATH", help="the tile file")
    given = parser.parse_args(arguments)
    import tune_gpu  # needs a GPU

    entries = candidates(given.passes, given.rules, given.widths, given.size)
    known = read_json(given.results) if given.results.exists() else {}
    begin = time.monotonic()
    warm_up([e for e in entries if key(e) not in known], given.jobs)
    left = given.seconds - (time.monotonic() - begin)
    results = search(entries, given.results, left, tune_gpu.measure)
    for name, r in sorted(results.items(), key=lambda item: (item[0].split("N=")[0], item[1].get("us", 1e9))):
        line = f"{r['us']:,.0f} us, table {r['table us']:,.0f}, spills {r['spills']}" if "us" in r else r["fault"][:100]
        print(f"{name}: {line}")
    found = best(results, given.spills)
    write_json(given.out, tile_lines(found, tune_gpu.ARCHITECTURE, tune_gpu.pass_name))
    print(f"{len(results)} of {len(entries)} measured; {len(found)} tiles beat the table: {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
