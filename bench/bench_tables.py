"""Results of the benchmark as Markdown: all of them with ratios, and what was aimed at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from cases import DTYPES, Case, CpuMeasurement, Measurement
from variants import COMPILED, LIGHTLY, METRIC, METRIC_LARGEST_N, PEERS, PLAIN

BEST_PEERS = (PLAIN, COMPILED, LIGHTLY)
OWN = "cpp"
M = TypeVar("M", bound=Measurement)


@dataclass(frozen=True)
class Goal:
    """How much faster than the fastest of some variants a case should be."""

    case: Case
    against: tuple[str, ...]
    aim: float


GOALS = [
    Goal(Case("clef official", 8192, 256), (PLAIN,), 20),
    Goal(Case("clef official", 2048, 256), (PLAIN,), 10),
    Goal(Case("clef official", 4096, 1024), (PLAIN,), 4.5),
    Goal(Case("clef official", 128, 256), (PLAIN,), 4),
    Goal(Case("ntxent", 8192, 256), BEST_PEERS, 5),
    Goal(Case("ntxent", 128, 256), BEST_PEERS, 1.2),
]
FMA_GOAL = 0.6
FMA_CASES = [Case("clef official", 8192, 256), Case("ntxent", 8192, 256)]


def results_table(results: Sequence[CpuMeasurement], header: dict[str, str], notes: list[str]) -> str:
    """Every measurement, with its speed relative to the plain variant and to the fastest peer."""
    lines = [
        ", ".join(f"{k} {v}" for k, v in header.items()),
        "",
        "| loss | N | D | variant | ms (quartiles) "
        "| speed, plain = 1 | speed, best peer = 1 | peak MiB | % of FMA rate |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for m in results:
        low, high = m.quartiles
        cells = [
            m.case.loss,
            f"{m.case.n:,}",
            f"{m.case.d:,}",
            m.variant,
            f"{digits(m.milliseconds)} ({digits(low)}-{digits(high)})",
            ratio(fastest(results, m.case, (PLAIN,)), m),
            ratio(fastest(results, m.case, PEERS), m),
            "-" if m.peak_mib is None else f"{m.peak_mib:.0f}",
            "-" if m.fma_share is None else f"{100 * m.fma_share:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {note}" for note in [*_explanations(results), *notes])]
    return "\n".join(lines) + "\n"


def goals_table(results: Sequence[CpuMeasurement]) -> str:
    """What was aimed at, and what was reached."""
    lines = [
        f"| goal for {OWN} | against | aim | measured | reached |",
        "|---|---|---|---|---|",
    ]
    for goal in GOALS:
        own, other = fastest(results, goal.case, (OWN,)), fastest(results, goal.case, goal.against)
        measured = other.milliseconds / own.milliseconds if own and other else None
        against = " / ".join(goal.against) + (f" (here {other.variant})" if other and len(goal.against) > 1 else "")
        lines.append(goal_row(f"speed, {named(goal.case)}", against, goal.aim, measured, "{:.3g} x"))
    for case in FMA_CASES:
        own = fastest(results, case, (OWN,))
        percent = 100 * own.fma_share if own and own.fma_share is not None else None
        name = f"useful arithmetic, {named(case)}"
        lines.append(goal_row(name, "the machine's FMA rate", 100 * FMA_GOAL, percent, "{:.3g} %"))
    return "\n".join(lines) + "\n"


def fastest(results: Sequence[M], case: Case, names: tuple[str, ...]) -> M | None:
    """The fastest of some variants of a case; None where none was measured."""
    found = [m for m in results if m.case == case and m.variant in names]
    return min(found, key=lambda m: m.milliseconds, default=None)


def measured_peers(results: Sequence[Measurement]) -> list[str]:
    """Those of the peers that were there."""
    return [name for name in PEERS if any(m.variant == name for m in results)]


def _explanations(results: Sequence[Measurement]) -> list[str]:
    """How to read the table."""
    notes = [
        "ms: forward and backward, median over interleaved rounds; peak: beyond inputs and gradients, own process.",
        "plain: the formulas in torch (bench/plain.py); plain compiled: torch.compile of it. "
        f"Peers: {', '.join(measured_peers(results))}.",
        "% of FMA rate: 2 (2 N^2 D) operations over the time, relative to the machine's multiply-add rate in this run.",
    ]
    if any(m.variant == METRIC for m in results):
        notes.append(f"{METRIC} compares all pairs with all pairs; above N = {METRIC_LARGEST_N:,} its memory explodes.")
    return notes


def goal_row(name: str, against: str, aim: float, measured: float | None, form: str) -> str:
    """One line of the table of goals."""
    verdict = "not measured" if measured is None else "yes" if measured >= aim else "no"
    reached = "-" if measured is None else form.format(measured)
    return f"| {name} | {against} | {form.format(aim)} | {reached} | {verdict} |"


def named(case: Case) -> str:
    """The case in words, with the dtype where it is not the default."""
    dtype = "" if case.dtype == "float32" else f" {DTYPES[case.dtype]}"
    return f"{case.loss} N = {case.n:,} D = {case.d:,}{dtype}"


def ratio(other: Measurement | None, m: Measurement) -> str:
    """How much faster than another variant."""
    return "-" if other is None else f"{other.milliseconds / m.milliseconds:.3g}"


def digits(milliseconds: float) -> str:
    """Three significant digits or whole milliseconds, whichever is more."""
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
