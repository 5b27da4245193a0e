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
GPU_SIZES = (128, 512, 2048, 8192, 32768)
SHOWN_GPU = [(loss, n, 256) for loss in ("clef official", "ntxent") for n in (*GPU_SIZES, 131072)]
SHOWN_GPU += [(loss, n, 256) for loss in ("clef paper", "infonce") for n in GPU_SIZES]
NO_GPU = "No GPU has been measured yet: `make bench-gpu` does it, and writes `bench/results/losses-<gpu>.md`."
PLAIN = "plain"
PEERS = (PLAIN, "plain compiled", "lightly", "pytorch-metric-learning", "F.linear_cross_entropy")
Measured = dict[str, Any]


def demo() -> str:
    """The demo's table and its note."""
    return (RESULTS / "demo" / "results.md").read_text(encoding="utf-8").strip()


def real() -> str:
    """The table of real databases."""
    return (RESULTS / "real-data.md").read_text(encoding="utf-8").strip()


def family() -> str:
    """The table of all losses on one database."""
    return (RESULTS / "compare-losses.md").read_text(encoding="utf-8").strip()


def bench() -> str:
    """Some rows of the benchmark, variants side by side."""
    return bench_table(json.loads((RESULTS / "losses-cpu.json").read_text(encoding="utf-8")))


def gpu() -> str:
    """The same in bf16, of every GPU there are results of."""
    tables = []
    for path in sorted(RESULTS.glob("losses-*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "CUDA" in content["header"]:
            source = f"bench/results/{path.stem}.md"
            table = bench_table(content, SHOWN_GPU, "triton", "bfloat16")
            intro = "On a GPU, in bf16 (in brackets: replays of a CUDA graph, which do not wait for Python), from"
            tables.append(f"{intro} [{source}]({source}) (`make bench-gpu`):\n\n{table}")
    return "\n\n".join(tables) or NO_GPU


def bench_table(
    content: Measured,
    shown: list[tuple[str, int, int]] = SHOWN,
    own: str = "cpp",
    dtype: str = "float32",
) -> str:
    """The README's rows from the content of a result file; "-" where a variant was not measured."""
    lines = [
        f"| loss | N | D | plain torch | best peer | ecgloss, chunked | ecgloss, {own} |",
        "|---|---|---|---|---|---|---|",
    ]
    for loss, n, d in shown:
        case = {"loss": loss, "n": n, "d": d, "dtype": dtype}
        found = {m["variant"]: m for m in content["results"] if {"dtype": "float32"} | m["case"] == case}
        best = min((found[name] for name in PEERS if name in found), key=lambda m: m["milliseconds"], default=None)
        name = f" ({best['variant']})" if best else ""
        cells = [_cell(found.get(PLAIN)), _cell(best) + name, _cell(found.get("chunked")), _cell(found.get(own))]
        lines.append(f"| {loss} | {n:,} | {d:,} | {' | '.join(cells)} |")
    header = content["header"]
    half = ", bf16" if dtype == "bfloat16" else ""
    lines += ["", f"{header['device']}{half}, torch {header['torch']}, {header['date']}; medians of interleaved runs."]
    return "\n".join(lines)


def _cell(m: Measured | None) -> str:
    """Time and peak memory."""
    if m is None:
        return "-"
    peak = "" if m["peak_mib"] is None else f", {m['peak_mib']:,.0f} MiB"
    graph = m.get("graph_milliseconds")
    replayed = "" if graph is None else f" ({_digits(graph)})"
    return f"{_digits(m['milliseconds'])}{replayed} ms{peak}"


def _digits(milliseconds: float) -> str:
    """Two decimals, or none of many milliseconds."""
    return f"{milliseconds:.2f}" if milliseconds < 10 else f"{milliseconds:,.0f}"


def filled(text: str) -> str:
    """The README with its tables replaced by those of the result files."""
    for name, make in (("demo", demo), ("real", real), ("family", family), ("bench", bench), ("gpu", gpu)):
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
