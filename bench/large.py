"""One evaluation too large for N x N, and what others would need there: python bench/bench_losses.py --large"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

import machine
from cases import Case
from memory import on_cpu
from result_files import write_results
from variants import METRIC, PLAIN, ecgloss_backends, variants

LARGE = Case("clef official", 65536, 128)


@dataclass(frozen=True)
class Peer:
    """Someone else's peak memory: measured at two sizes, and how it grows."""

    variant: str
    small: Case
    fits: Case
    power: int


# From N = 4,096 on: smaller matrices come from malloc's heap, whose gaps count as memory too.
PEERS = [
    Peer(PLAIN, Case("clef official", 4096, 128), Case("clef official", 8192, 128), 2),
    Peer(PLAIN, Case("ntxent", 4096, 128), Case("ntxent", 8192, 128), 2),
    Peer(METRIC, Case("ntxent", 256, 128), Case("ntxent", 512, 128), 3),
]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    loss: str
    variant: str
    seconds: float | None
    peak_mib: float
    source: str


def main(wanted: str, folder: Path) -> None:
    """Measure and write large-cpu.json and .md."""
    names = [name for name in ecgloss_backends("cpu") if name != "reference" and re.search(wanted, name)]
    if not names:
        raise SystemExit(f"no usable backend of ecgloss matches {wanted!r}; there are {ecgloss_backends('cpu')}")
    rows = [row for row in map(_measured, names) if row is not None]
    rows += [row for row in map(_extrapolated, PEERS) if row is not None]
    header = machine.describe("cpu")
    text = table(rows, header)
    print(text)
    content = {"header": header, "case": asdict(LARGE), "results": [asdict(row) for row in rows]}
    write_results(folder / "large-cpu", content, text)


def table(rows: list[Row], header: dict[str, str]) -> str:
    """The rows as Markdown."""
    lines = [
        f"N = {LARGE.n:,}, D = {LARGE.d}, forward and backward; {', '.join(f'{k} {v}' for k, v in header.items())}",
        "",
        "| loss | variant | seconds | peak MiB beyond inputs and gradients | |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        time = "-" if row.seconds is None else f"{row.seconds:.1f}"
        lines.append(f"| {row.loss} | {row.variant} | {time} | {row.peak_mib:,.0f} | {row.source} |")
    return "\n".join(lines) + "\n"


def extrapolated_mib(mib: float, measured: Case, power: int) -> float:
    """Peak memory at the large size."""
    return mib * (LARGE.n / measured.n) ** power


def _measured(name: str) -> Row | None:
    """One of ecgloss's backends."""
    used = on_cpu(LARGE, name)
    return None if used is None else Row(LARGE.loss, name, used.seconds, used.mib, "measured")


def _extrapolated(peer: Peer) -> Row | None:
    """A peer, from a size that fits; None where it is not installed or nothing can be measured."""
    if peer.variant not in variants(peer.fits, "cpu"):
        return None
    small, fits = on_cpu(peer.small, peer.variant), on_cpu(peer.fits, peer.variant)
    if small is None or fits is None:
        return None
    ratio = peer.fits.n // peer.small.n
    source = (
        f"extrapolated from N = {peer.fits.n:,} ({fits.mib:,.0f} MiB) as N^{peer.power}; "
        f"measured growth from N = {peer.small.n:,}: {fits.mib / small.mib:.1f} x ({ratio**peer.power} x expected)"
    )
    return Row(peer.fits.loss, peer.variant, None, extrapolated_mib(fits.mib, peer.fits, peer.power), source)
