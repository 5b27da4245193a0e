"""Write the figures of the README from the committed result files: python bench/readme_tables.py"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cases import HALF, INFONCE, SINGLE, Case
from figures import Content, Figure, best, figures
from variants import PLAIN

from ecgloss._files import read_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
SHOWN = [Case("clef official", n, d) for n, d in ((128, 256), (2048, 256), (4096, 1024), (8192, 256))]
SHOWN += [Case("ntxent", n, 256) for n in (128, 2048, 8192)]
GPU_SIZES = (128, 512, 2048, 8192, 32768)
SHOWN_GPU = [Case(loss, n, 256, HALF) for loss in ("clef official", "ntxent") for n in (*GPU_SIZES, 131072)]
SHOWN_GPU += [Case(loss, n, 256, HALF) for loss in ("clef paper", INFONCE) for n in GPU_SIZES]
NO_GPU = "No GPU has been measured yet: `make bench-gpu` does it, and writes `bench/results/losses-<gpu>.md`."


def gpu() -> str:
    """The table of every GPU there are results of, in bf16."""
    intro = "On a GPU, in bf16 (in brackets: replays of a CUDA graph, which do not wait for Python), from"
    files = {f"bench/results/{path.stem}.md": read_json(path) for path in sorted(RESULTS.glob("losses-*.json"))}
    tables = [
        f"{intro} [{source}]({source}) (`make bench-gpu`):\n\n{losses_table(content, SHOWN_GPU, 'triton')}"
        for source, content in files.items()
        if "CUDA" in content["machine_info"]["header"]
    ]
    return "\n\n".join(tables) or NO_GPU


def losses_table(content: Content, shown: Sequence[Case] = SHOWN, own: str = "cpp") -> str:
    """Some rows of a result file, variants side by side; "-" where one was not measured."""
    found = figures(content)
    lines = [f"| loss | N | D | plain torch | best peer | ecgloss, chunked | ecgloss, {own} |", "|---" * 7 + "|"]
    for case in shown:
        peer = best(found, case)
        cells = [_cell(best(found, case, (name,))) for name in (PLAIN, "chunked", own)]
        cells.insert(1, _cell(peer) + (f" ({peer.variant})" if peer else ""))
        lines.append(f"| {case.loss} | {case.n:,} | {case.d:,} | {' | '.join(cells)} |")
    header = content["machine_info"]["header"]
    half = "" if shown[0].dtype == SINGLE else ", bf16"
    lines += ["", f"{header['device']}{half}, torch {header['torch']}, {header['date']}; medians."]
    return "\n".join(lines)


def _cell(figure: Figure | None) -> str:
    """Time, to two decimals or as whole milliseconds, and peak memory."""
    if figure is None:
        return "-"
    time, graph = (f"{ms or 0:.2f}" if (ms or 0) < 10 else f"{ms:,.0f}" for ms in (figure.median, figure.graph))
    mib = figure.info.get("peak_mib")
    return time + (f" ({graph})" if figure.graph else "") + " ms" + ("" if mib is None else f", {mib:,.0f} MiB")


def filled(text: str) -> str:
    """The README with its tables replaced by those of the result files."""
    files = {"demo": "demo/results.md", "real": "real-data.md", "family": "compare-losses.md"}
    tables = {name: (RESULTS / file).read_text(encoding="utf-8").strip() for name, file in files.items()}
    tables["demo"] = tables["demo"].partition("\n## ")[0].strip()  # the rest is about the machine it ran on
    tables |= {"bench": losses_table(read_json(RESULTS / "losses-cpu.json")), "gpu": gpu()}
    for name, table in tables.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        text, count = re.subn(pattern, lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)  # noqa: B023
        if count != 1:
            raise ValueError(f"README.md needs exactly one {begin} ... {end}, found {count}")
    return text


if __name__ == "__main__":
    README = ROOT / "README.md"
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
