"""Results of the GPU benchmark as Markdown: all of them, what was not measured and why, and what was aimed at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench_tables import Goal, digits, fastest, measured_peers, named, ratio
from cases import DTYPES, Case
from gate import HALF, HALF_PEERS, LARGEST_N, SINGLE
from gpu_cases import LOSSES, GpuMeasurement, Note
from graphs import SYNCHRONISING
from variants import COMPILED, PEERS, PLAIN

OWN = "triton"
GOALS_FOR = "NVIDIA H200"


@dataclass(frozen=True)
class Limit:
    """What a case may take at most."""

    case: Case
    milliseconds: float
    mib: float | None = None


def _main(loss: str, n: int) -> Case:
    """A case of the width and dtype the goals are set for."""
    return Case(loss, n, 256, "bfloat16")


LIMITS = [
    Limit(_main(loss, n), milliseconds, mib)
    for loss in ("clef official", "ntxent")
    for n, milliseconds, mib in ((8192, 0.35, None), (32768, 4.0, None), (131072, 60.0, 1e9 / 2**20))
]
GOALS = [Goal(_main(loss, n), (COMPILED,), 1.0) for loss in LOSSES for n in (512, 2048, 4096)]


def report(results: Sequence[GpuMeasurement], header: dict[str, str], notes: Sequence[Note]) -> str:
    """The whole result file."""
    parts = [
        ", ".join(f"{k} {v}" for k, v in header.items()),
        "\n".join(f"- {line}" for line in _explanations(results)),
        results_table(results),
        goals_table(results),
    ]
    if notes:
        parts.append("Not measured:\n\n" + "\n".join(f"- {line}" for line in note_lines(notes)))
    return "\n\n".join(parts) + "\n"


def results_table(results: Sequence[GpuMeasurement]) -> str:
    """Every measurement, with its speed relative to the plain variant and to the fastest peer."""
    lines = [
        "| loss | dtype | N | D | variant | ms (quartiles; rounds) | as a CUDA graph, ms (quartiles; rounds) "
        "| speed, plain = 1 | speed, best peer = 1 | peak MiB | products | % of matrix rate |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for m in results:
        cells = [
            m.case.loss,
            DTYPES[m.case.dtype],
            f"{m.case.n:,}",
            f"{m.case.d:,}",
            m.variant,
            _spread(m.milliseconds, m.quartiles, m.rounds),
            _spread(m.graph_milliseconds, m.graph_quartiles, m.graph_rounds),
            ratio(fastest(results, m.case, (PLAIN,)), m),
            ratio(fastest(results, m.case, PEERS), m),
            "-" if m.peak_mib is None else f"{m.peak_mib:,.0f}",
            "-" if m.matrix_share is None else f"{m.products}",
            "-" if m.matrix_share is None else f"{100 * m.matrix_share:.3g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def goals_table(results: Sequence[GpuMeasurement]) -> str:
    """What was aimed at on one model of GPU, and what was reached here."""
    lines = [f"| goal for {OWN} on an {GOALS_FOR} | against | aim | measured | reached |", "|---|---|---|---|---|"]
    for limit in LIMITS:
        own = fastest(results, limit.case, (OWN,))
        lines.append(_time_row(limit, own))
        if limit.mib is not None:
            mib = None if own is None else own.peak_mib
            reached = "-" if mib is None else f"{digits(mib)} MiB"
            name = f"memory beyond inputs and gradients, {named(limit.case)}"
            lines.append(
                _limit_row(name, f"{digits(limit.mib)} MiB", reached, None if mib is None else mib <= limit.mib)
            )
    for goal in GOALS:
        own, other = fastest(results, goal.case, (OWN,)), fastest(results, goal.case, goal.against)
        lines.append(_speed_row(goal, own, other))
    return "\n".join(lines)


def note_lines(notes: Sequence[Note]) -> list[str]:
    """One line for all cases of the same variant and reason."""
    cases: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        cases.setdefault((note.variant, note.reason), []).append(str(note.case))
    return [f"{variant}: {reason}: {', '.join(names)}" for (variant, reason), names in cases.items()]


def _explanations(results: Sequence[GpuMeasurement]) -> list[str]:
    """How to read the table."""
    return [
        "ms: forward and backward between two events, many calls in a row, waiting for launches where these take "
        "longer than the work; median over interleaved rounds, inputs in cache as an encoder leaves them. A single "
        "round has no spread. As a CUDA graph: replays of the same, checked to give the same gradient; - where a call "
        f"is so long or needs so much memory that a graph makes no sense, and for {' and '.join(SYNCHRONISING)}, "
        "which wait for the GPU within a call. Speeds compare the times that are not graphs'.",
        "Peak: beyond inputs and gradients. % of matrix rate: the products of 2 N^2 D operations over the time (of the "
        "graph, where there is one), relative to a large matrix product of the dtype they are computed in (chunked: "
        "fp32). Products: the similarities, again in the backward, and a gradient; infonce, which compares N rows with "
        "N others, has two gradients, so that its times and shares do not compare with those of the other losses.",
        "plain: the formulas in torch (bench/plain.py), in bf16 with rows normalised in fp32 and everything after the "
        f"product in fp32; {COMPILED}: torch.compile of it. Peers: {', '.join(measured_peers(results)) or 'none'}.",
        f"Only variants that agree with the fp64 definition, on the same inputs at N <= {LARGEST_N:,}, are timed: "
        f"value and gradient to {SINGLE.value:g} and {SINGLE.gradient:g} in fp32, to {HALF.value:g} and "
        f"{HALF.gradient:g} in bf16 (and fp32 below the highest precision); peers in bf16, whose similarities are "
        f"rounded, to {HALF_PEERS.value:g} and {HALF_PEERS.gradient:g}, which catches wrong code and no more. At "
        f"larger N, {OWN} agrees with chunked to the same tolerances.",
    ]


def _time_row(limit: Limit, own: GpuMeasurement | None) -> str:
    """A goal for the time, judged on that of the GPU itself."""
    reached = "-" if own is None else f"{digits(own.gpu_milliseconds)} ms"
    if own is not None and own.graph_milliseconds is not None:
        reached += f" as a graph, {digits(own.milliseconds)} ms without"
    within = None if own is None else own.gpu_milliseconds <= limit.milliseconds
    return _limit_row(f"time, {named(limit.case)}", f"{digits(limit.milliseconds)} ms", reached, within)


def _limit_row(name: str, aim: str, reached: str, within: bool | None) -> str:
    """One line of a goal that is not to be exceeded."""
    verdict = "not measured" if within is None else "yes" if within else "no"
    return f"| {name} | - | at most {aim} | {reached} | {verdict} |"


def _speed_row(goal: Goal, own: GpuMeasurement | None, other: GpuMeasurement | None) -> str:
    """A goal for the speed beside another variant, judged on graphs where both have one."""
    verdict, reached = "not measured", "-"
    if own is not None and other is not None:
        speed = other.milliseconds / own.milliseconds
        reached = f"{speed:.3g} x"
        if own.graph_milliseconds is not None and other.graph_milliseconds is not None:
            graph_speed = other.graph_milliseconds / own.graph_milliseconds
            reached, speed = f"{graph_speed:.3g} x as graphs, {reached} without", graph_speed
        verdict = "yes" if speed >= goal.aim else "no"
    against = " / ".join(goal.against)
    return f"| speed, {named(goal.case)} | {against} | {goal.aim:.3g} x | {reached} | {verdict} |"


def _spread(median: float | None, quartiles: tuple[float, float] | None, rounds: int) -> str:
    """Median and quartiles in milliseconds, and of how many rounds; one alone has no quartiles."""
    if median is None or quartiles is None:
        return "-"
    between = f"{digits(quartiles[0])}-{digits(quartiles[1])}; " if rounds > 1 else ""
    return f"{digits(median)} ({between}{rounds})"
