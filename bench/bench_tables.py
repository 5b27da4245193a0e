"""Results of the benchmark as Markdown: all of them with ratios, and what was aimed at."""

from __future__ import annotations

from dataclasses import dataclass

from cases import Case, Measurement
from variants import COMPILED, LIGHTLY, METRIC, METRIC_LARGEST_N, PEERS, PLAIN

BEST_PEERS = (PLAIN, COMPILED, LIGHTLY)
OWN = "cpp"


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


def results_table(results: list[Measurement], header: dict[str, str], notes: list[str]) -> str:
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
            f"{_digits(m.milliseconds)} ({_digits(low)}-{_digits(high)})",
            _ratio(fastest(results, m.case, (PLAIN,)), m),
            _ratio(fastest(results, m.case, PEERS), m),
            "-" if m.peak_mib is None else f"{m.peak_mib:.0f}",
            "-" if m.fma_share is None else f"{100 * m.fma_share:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {note}" for note in [*_explanations(results), *notes])]
    return "\n".join(lines) + "\n"


def goals_table(results: list[Measurement]) -> str:
    """What was aimed at, and what was reached."""
    lines = [
        f"| goal for {OWN} | against | aim | measured | reached |",
        "|---|---|---|---|---|",
    ]
    for goal in GOALS:
        own, other = fastest(results, goal.case, (OWN,)), fastest(results, goal.case, goal.against)
        measured = other.milliseconds / own.milliseconds if own and other else None
        against = " / ".join(goal.against) + (f" (here {other.variant})" if other and len(goal.against) > 1 else "")
        lines.append(_goal_row(f"speed, {_named(goal.case)}", against, goal.aim, measured, "{:.3g} x"))
    for case in FMA_CASES:
        own = fastest(results, case, (OWN,))
        percent = 100 * own.fma_share if own and own.fma_share is not None else None
        name = f"useful arithmetic, {_named(case)}"
        lines.append(_goal_row(name, "the machine's FMA rate", 100 * FMA_GOAL, percent, "{:.3g} %"))
    return "\n".join(lines) + "\n"


def fastest(results: list[Measurement], case: Case, names: tuple[str, ...]) -> Measurement | None:
    """The fastest of some variants of a case; None where none was measured."""
    found = [m for m in results if m.case == case and m.variant in names]
    return min(found, key=lambda m: m.milliseconds, default=None)


def _explanations(results: list[Measurement]) -> list[str]:
    """How to read the table."""
    notes = [
        "ms: forward and backward, median over interleaved rounds; peak: beyond inputs and gradients, own process.",
        "plain: the formulas in torch (bench/plain.py); plain compiled: torch.compile of it. "
        f"Peers: {', '.join(PEERS)}.",
        "% of FMA rate: 2 (2 N^2 D) operations over the time, relative to the machine's multiply-add rate in this run.",
    ]
    if any(m.variant == METRIC for m in results):
        notes.append(f"{METRIC} compares all pairs with all pairs; above N = {METRIC_LARGEST_N:,} its memory explodes.")
    return notes


def _goal_row(name: str, against: str, aim: float, measured: float | None, form: str) -> str:
    """One line of the table of goals."""
    verdict = "not measured" if measured is None else "yes" if measured >= aim else "no"
    reached = "-" if measured is None else form.format(measured)
    return f"| {name} | {against} | {form.format(aim)} | {reached} | {verdict} |"


def _named(case: Case) -> str:
    """The case in words."""
    return f"{case.loss} N = {case.n:,} D = {case.d:,}"


def _ratio(other: Measurement | None, m: Measurement) -> str:
    """How much faster than another variant."""
    return "-" if other is None else f"{other.milliseconds / m.milliseconds:.3g}"


def _digits(milliseconds: float) -> str:
    """Three significant digits or whole milliseconds, whichever is more."""
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
