"""Write the figures of the README from the committed result files: python bench/readme_tables.py"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
SHOWN = [
    ("clef official", 128, 256),
    ("clef official", 2048, 256),
    ("clef official", 4096, 1024),
    ("clef official", 8192, 256),
    ("ntxent", 128, 256),
    ("ntxent", 2048, 256),
    ("ntxent", 8192, 256),
]
PLAIN = "plain"
PEERS = (PLAIN, "plain compiled", "lightly", "pytorch-metric-learning")
Measured = dict[str, Any]


def demo() -> str:
    """The demo's table and its note."""
    return (RESULTS / "demo" / "results.md").read_text(encoding="utf-8").strip()


def real() -> str:
    """The table of real databases."""
    return (RESULTS / "real-data.md").read_text(encoding="utf-8").strip()


def bench() -> str:
    """Some rows of the benchmark, variants side by side."""
    return bench_table(json.loads((RESULTS / "losses-cpu.json").read_text(encoding="utf-8")))


def bench_table(content: Measured) -> str:
    """The README's rows from the content of a result file; "-" where a variant was not measured."""
    lines = [
        "| loss | N | D | plain torch | best peer | ecgloss, chunked | ecgloss, cpp |",
        "|---|---|---|---|---|---|---|",
    ]
    for loss, n, d in SHOWN:
        found = {m["variant"]: m for m in content["results"] if m["case"] == {"loss": loss, "n": n, "d": d}}
        best = min((found[name] for name in PEERS if name in found), key=lambda m: m["milliseconds"], default=None)
        name = f" ({best['variant']})" if best else ""
        cells = [_cell(found.get(PLAIN)), _cell(best) + name, _cell(found.get("chunked")), _cell(found.get("cpp"))]
        lines.append(f"| {loss} | {n:,} | {d:,} | {' | '.join(cells)} |")
    header = content["header"]
    lines += ["", f"{header['device']}, torch {header['torch']}, {header['date']}; medians of interleaved runs."]
    return "\n".join(lines)


def _cell(m: Measured | None) -> str:
    """Time and peak memory."""
    if m is None:
        return "-"
    peak = "" if m["peak_mib"] is None else f", {m['peak_mib']:,.0f} MiB"
    time = f"{m['milliseconds']:.2f}" if m["milliseconds"] < 10 else f"{m['milliseconds']:,.0f}"
    return f"{time} ms{peak}"


def filled(text: str) -> str:
    """The README with its tables replaced by those of the result files."""
    for name, make in (("demo", demo), ("real", real), ("bench", bench)):
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        block = f"{begin}\n{make()}\n{end}"
        text, count = re.subn(
            f"{re.escape(begin)}.*?{re.escape(end)}", block.replace("\\", r"\\"), text, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"README.md needs exactly one {begin} ... {end}, found {count}")
    return text


def main() -> None:
    """Rewrite README.md."""
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
