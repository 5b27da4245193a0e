"""Write the tables of a run: python bench/write_tables.py RUN.json [--out bench/results] [--keep]

RUN.json is of ``pytest bench --benchmark-json RUN.json``. Writes losses-cpu.md or losses-<gpu>.md, and beside it the
figures without the single samples as JSON, which ``pytest-benchmark compare`` reads as well. With --keep, the cases of
such a file of the same machine and versions that RUN.json does not have stay.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cases import DTYPES
from figures import NOT_REACHED, Content, Figure, best, case_of, figures, merged, speed, trimmed
from goals import goals_table
from variants import PLAIN

from ecgloss._files import read_json, write_json, write_text

COLUMNS = (
    *("loss", "dtype", "N", "D", "variant", "ms (quartiles; rounds)", "as a CUDA graph, ms (quartiles; rounds)"),
    *("speed, plain = 1", "speed, best peer = 1", "peak MiB", "products", "% of peak rate"),
    *("predicted ms (model)", "measured / predicted"),
)


def report(content: Content) -> str:
    """The whole result file."""
    header, found = content["machine_info"]["header"], figures(content)
    parts = [
        ", ".join(f"{key} {value}" for key, value in header.items()),
        "[How to read this](../README.md#how-to-read-the-tables): forward and backward of right variants only.",
        *(results_table(found), other_table(content), goals_table(found, "CUDA" in header)),
        "\n".join(["Not measured:", "", *note_lines(content)]) if content["notes"] else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def results_table(found: Sequence[Figure]) -> str:
    """Every figure, with its speed relative to plain torch and to the fastest peer; no columns that are empty."""
    rows = []
    for f in found:
        others = (best(found, f.case, (PLAIN,)), best(found, f.case))
        own, graph, share = f.info, f.info.get("graph"), f.info.get("share")
        cells = [f.case.loss, DTYPES[f.case.dtype], f"{f.case.n:,}", f"{f.case.d:,}", f.variant]
        cells += [spread(f.median, f.quartiles, f.rounds), spread(**graph) if graph else "-"]
        cells += ["-" if other is None else f"{speed(f, other):.3g}" for other in others]
        cells += ["-" if own.get("peak_mib") is None else f"{own['peak_mib']:,.0f}"]
        cells += ["-", "-"] if share is None else [f"{own['products']}", f"{100 * share:.3g}"]
        model, reached = own.get("predicted"), graph["median"] if graph else f.median
        cells += ["-", "-"] if model is None else [prediction(f), f"{reached / model:.3g}"]
        rows.append(cells)
    shown = [k for k in range(len(COLUMNS)) if any(row[k] != "-" for row in rows)]
    lines = [[COLUMNS[k] for k in shown], ["---"] * len(shown), *([row[k] for k in shown] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) if rows else ""


def prediction(f: Figure) -> str:
    """Of the static roofline, in ms; its N where that is another."""
    of = f.info.get("predicted of", f.case.n)
    return f"{f.info['predicted']:.3g}" + ("" if of == f.case.n else f" (by N^2 from {of:,})")


def other_table(content: Content) -> str:
    """What was measured besides losses: training steps, reading recordings."""
    rows = []
    for b in content["benchmarks"]:
        if case_of(b) is None:
            median, low, high = (1000 * b["stats"][key] for key in ("median", "q1", "q3"))
            notes = ", ".join(f"{key} {value}" for key, value in b["extra_info"].items())
            rows.append(f"| {b['name']} | {spread(median, (low, high), b['stats']['rounds'])} | {notes} |")
    return "\n".join(["| | ms (quartiles; rounds) | |", "|---|---|---|", *rows]) if rows else ""


def note_lines(content: Content) -> list[str]:
    """One line for all cases of the same variant and reason."""
    measured = {case_of(b) for b in content["benchmarks"]}
    cases: dict[str, dict[str, None]] = {}
    for note in content["notes"]:
        case = case_of(note)
        whole = case is None or (note["reason"] == NOT_REACHED and case not in measured)
        variant = "" if whole else f"{note['params']['variant']}: "
        cases.setdefault(f"{variant}{note['reason']}", {})[str(case or note["fullname"])] = None
    return [f"- {reason}: {', '.join(names)}" for reason, names in cases.items()]


def spread(median: float, quartiles: Sequence[float], rounds: int) -> str:
    """Median and quartiles in ms, three digits or whole ones, and of how many rounds; one alone has no quartiles."""
    middle, low, high = (f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}" for ms in (median, *quartiles))
    return f"{middle} ({f'{low}-{high}; ' if rounds > 1 else ''}{rounds})"


def write(content: dict[str, Any], folder: Path, keep: bool) -> Path:
    """The result files of a run, each whole or not at all; the one to read is returned."""
    device = content["machine_info"]["header"]["device"]
    name = "cpu" if device.startswith("cpu") else re.sub(r"[^a-z0-9]+", "-", device.lower())
    path, content = folder / f"losses-{name}.json", trimmed(content)
    if keep and path.exists():
        content = merged(content, read_json(path))
    write_json(path, content)
    write_text(path.with_suffix(".md"), report(content))
    return path.with_suffix(".md")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    run = read_json(given.run)
    for f in figures(run):
        if (model := f.info.get("predicted")) is not None:
            reached = f.graph or f.median
            print(
                f"{f.case}: predicted {prediction(f)} ms (a model), measured {reached:.3g}, ratio {reached / model:.2f}"
            )
    print(f"written: {write(run, given.out, given.keep)}")
