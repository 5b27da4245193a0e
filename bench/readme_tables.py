"""Write the figures of the README from the committed result files: python bench/readme_tables.py"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
SHOWN = [("clef official", 128), ("clef official", 2048), ("clef official", 8192), ("ntxent", 128), ("ntxent", 8192)]


def demo() -> str:
    """The demo's table and its note."""
    return (RESULTS / "demo" / "results.md").read_text(encoding="utf-8").strip()


def real() -> str:
    """The table of real databases."""
    return (RESULTS / "real-data.md").read_text(encoding="utf-8").strip()


def bench() -> str:
    """Some rows of the benchmark, variants side by side."""
    content = json.loads((RESULTS / "losses-cpu.json").read_text(encoding="utf-8"))
    measured = {(m["case"]["loss"], m["case"]["n"], m["case"]["d"], m["variant"]): m for m in content["results"]}
    lines = [
        "| loss, D = 256 | N | materialised | chunked |",
        "|---|---|---|---|",
    ]
    for loss, n in SHOWN:
        cells = []
        for variant in ("materialised", "chunked"):
            m = measured[loss, n, 256, variant]
            cells.append(f"{m['milliseconds']:.1f} ms, {m['peak_mib']:.0f} MiB")
        lines.append(f"| {loss} | {n:,} | {' | '.join(cells)} |")
    header = content["header"]
    lines += ["", f"{header['device']}, torch {header['torch']}, {header['date']}; medians of interleaved runs."]
    return "\n".join(lines)


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
