"""Time and memory of CLEF on this machine, with ecgloss and with plain torch: python examples/this_machine.py

Prints JSON: N, D, and for both the milliseconds of forward and backward, taking turns, and the peak memory beyond
inputs and gradients in MiB (null where the system does not tell). The demo's report shows it.
"""

from __future__ import annotations

import html
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ecgloss.evaluate.html_page import Section

BENCH = Path(__file__).resolve().parents[1] / "bench"
Machine = dict[str, Any]


def measure() -> Machine:
    """The JSON, of a process that does nothing else."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, check=True)
    found: Machine = json.loads(done.stdout)
    return found


def markdown(machine: Machine) -> str:
    """The section of a Markdown file."""
    lines = "\n".join(f"| {' | '.join(row)} |" for row in _rows(machine))
    return f"## This machine\n\n{_text(machine)}\n\n| | time | peak memory |\n|:--|:--|:--|\n{lines}\n"


def section(machine: Machine) -> Section:
    """The section of a report."""
    cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in _rows(machine))
    table = "".join(f"<tr>{row}</tr>" for row in cells)
    return Section("This machine", _text(machine), table_html=f"<table><tbody>{table}</tbody></table>")


def _text(machine: Machine) -> str:
    """What was measured."""
    return (
        f"One forward and backward of CLEF at N = {machine['n']:,} rows (D = {machine['d']}), {machine['threads']} "
        f"threads, ecgloss's backend {machine['backend']}: median (quartiles) of calls that take turns, and peak "
        "memory beyond inputs and gradients. Plain torch stores N x N."
    )


def _rows(machine: Machine) -> list[tuple[str, str, str]]:
    """Variant, time and memory in words."""
    found = []
    for row in machine["rows"]:
        low, high = row["quartiles"]
        peak = "unknown" if row["peak_mib"] is None else f"{row['peak_mib']:,.0f} MiB"
        found.append((row["variant"], f"{row['median']:,.0f} ms ({low:,.0f} to {high:,.0f})", peak))
    return found


def main() -> None:
    """Measure and print."""
    sys.path.append(str(BENCH))
    from cases import Case, inputs
    from memory import peak_of_this_process
    from timing import interleaved, spread
    from variants import PLAIN, build, missing, step

    case = Case("clef paper", 4096, 128)
    names = {"ecgloss": "chunked" if missing(case, "cpp") else "cpp", "plain torch": PLAIN}
    peaks = [peak_of_this_process(case, name).mib for name in names.values()]  # ecgloss first: it leaves little behind
    times = interleaved([partial(step, build(case.loss, name), inputs(case, "cpu")) for name in names.values()], "cpu")
    rows = [
        {"variant": name, **spread([1000 * seconds for seconds in values]), "peak_mib": peak}
        for name, values, peak in zip(names, times, peaks)
    ]
    info = {"n": case.n, "d": case.d, "threads": torch.get_num_threads(), "backend": names["ecgloss"]}
    print(json.dumps(info | {"rows": rows}))


if __name__ == "__main__":
    main()
