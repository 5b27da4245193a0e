"""One evaluation too large for N x N, and what others would need there.

PYTHONPATH=bench python examples/studies/large_batch.py [VARIANT ...]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import machine
from cases import Case
from memory import on_cpu
from variants import METRIC, PLAIN, missing

from ecgloss._files import write_json, write_text

STEM = Path(__file__).resolve().parents[2] / "bench" / "results" / "large-cpu"
LARGE = Case("clef official", 65536, 128)
# Peers: two sizes that fit, and the power of N memory grows with. Matrices below N = 4,096 come from malloc's heap,
# whose gaps count as memory too.
PEERS = (
    (PLAIN, Case("clef official", 4096, 128), Case("clef official", 8192, 128), 2),
    (PLAIN, Case("ntxent", 4096, 128), Case("ntxent", 8192, 128), 2),
    (METRIC, Case("ntxent", 256, 128), Case("ntxent", 512, 128), 3),
)
Row = dict[str, str | float | None]


def measured(variant: str) -> list[Row]:
    """One of ecgloss's backends; nothing where it cannot be measured."""
    used = on_cpu(LARGE, variant)
    row: Row = {"loss": LARGE.loss, "variant": variant, "seconds": used.seconds, "peak_mib": used.mib}
    return [] if used.mib is None else [row | {"source": "measured"}]


def extrapolated(variant: str, small: Case, fits: Case, power: int) -> list[Row]:
    """A peer, from a size that fits; nothing where it is not installed or cannot be measured."""
    if missing(fits, variant):
        return []
    before, mib = on_cpu(small, variant).mib, on_cpu(fits, variant).mib
    if before is None or mib is None:
        return []
    source = (
        f"extrapolated from N = {fits.n:,} ({mib:,.0f} MiB) as N^{power}; measured growth from N = {small.n:,}: "
        f"{mib / before:.1f} x ({(fits.n // small.n) ** power} x expected)"
    )
    peak = mib * (LARGE.n / fits.n) ** power
    return [{"loss": fits.loss, "variant": variant, "seconds": None, "peak_mib": peak, "source": source}]


def table(rows: Sequence[Row], header: dict[str, str]) -> str:
    """The rows as Markdown."""
    head = ", ".join(f"{key} {value}" for key, value in header.items())
    lines = [f"N = {LARGE.n:,}, D = {LARGE.d}, forward and backward; {head}", ""]
    lines += ["| loss | variant | seconds | peak MiB beyond inputs and gradients | |", "|---|---|---|---|---|"]
    for row in rows:
        time = "-" if row["seconds"] is None else f"{row['seconds']:.1f}"
        lines.append(f"| {row['loss']} | {row['variant']} | {time} | {row['peak_mib']:,.0f} | {row['source']} |")
    return "\n".join(lines) + "\n"


def main(variants: Sequence[str]) -> None:
    """Measure and write large-cpu.json and .md."""
    if problems := [problem for name in variants if (problem := missing(LARGE, name))]:
        raise SystemExit("; ".join(problems))
    rows = [row for name in variants for row in measured(name)]
    rows += [row for peer in PEERS for row in extrapolated(*peer)]
    header = machine.describe("cpu")
    case = {"loss": LARGE.loss, "n": LARGE.n, "d": LARGE.d}
    write_json(STEM.with_suffix(".json"), {"header": header, "case": case, "results": rows})
    write_text(STEM.with_suffix(".md"), table(rows, header))
    print(table(rows, header))


if __name__ == "__main__":
    main(sys.argv[1:] or ["cpp"])
