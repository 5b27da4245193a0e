"""What the losses are aimed at on two machines, and what was reached: on a CPU by cpp, on an H200 by triton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cases import DTYPES, FIRST, HALF, OTHERS, SINGLE, Case
from figures import Figure, best, speed
from variants import COMPILED, LIGHTLY, PLAIN

PEERS = (PLAIN, COMPILED, LIGHTLY)
TIME, MEMORY, SPEED, SHARE = "time", "memory beyond inputs and gradients", "speed", "useful arithmetic"
UNITS = {TIME: "ms", MEMORY: "MiB", SPEED: "x", SHARE: "% of the FMA rate"}


@dataclass(frozen=True)
class Goal:
    """At least so much speed beside the fastest of some variants or share of the rate, at most so many ms or MiB."""

    quantity: str
    case: Case
    aim: float
    against: tuple[str, ...] = ()


CPU_CLEF = ((8192, 256, 20), (2048, 256, 10), (4096, 1024, 4.5), (128, 256, 4))
CPU_GOALS = [Goal(SPEED, Case("clef official", n, d), aim, (PLAIN,)) for n, d, aim in CPU_CLEF]
CPU_GOALS += [Goal(SPEED, Case("ntxent", n, 256), aim, PEERS) for n, aim in ((8192, 5), (128, 1.2))]
CPU_GOALS += [Goal(SHARE, Case(loss, 8192, 256), 60) for loss in FIRST]
MAIN = [Case(loss, n, 256, HALF) for loss in (*FIRST, *OTHERS) for n in (512, 2048, 4096, 8192, 32768, 131072)]
GPU_TIMES = {8192: 0.35, 32768: 4, 131072: 60}
GPU_GOALS = [Goal(TIME, case, GPU_TIMES[case.n]) for case in MAIN if case.loss in FIRST and case.n in GPU_TIMES]
GPU_GOALS += [Goal(MEMORY, case, 1e9 / 2**20) for case in MAIN if case.loss in FIRST and case.n == 131072]
GPU_GOALS += [Goal(SPEED, case, 1, (COMPILED,)) for case in MAIN if case.n <= 4096]


def goals_table(found: Sequence[Figure], gpu: bool) -> str:
    """What was aimed at, and what was reached."""
    own, machine = ("triton", "an NVIDIA H200") if gpu else ("cpp", "a CPU")
    lines = [f"| goal for {own} on {machine} | against | aim | measured | reached |", "|---|---|---|---|---|"]
    for goal in GPU_GOALS if gpu else CPU_GOALS:
        other = best(found, goal.case, goal.against)
        value, text = measured(goal, best(found, goal.case, (own,)), other)
        least = goal.quantity in (SPEED, SHARE)
        reached = value is not None and (value >= goal.aim if least else value <= goal.aim)
        verdict = "not measured" if value is None else "yes" if reached else "no"
        against = " / ".join(goal.against) or "-"
        against += f" (here {other.variant})" if other and len(goal.against) > 1 else ""
        aim = f"at {'least' if least else 'most'} {goal.aim:.3g} {UNITS[goal.quantity]}"
        dtype = "" if goal.case.dtype == SINGLE else f" {DTYPES[goal.case.dtype]}"
        name = f"{goal.quantity}, {goal.case.loss} N = {goal.case.n:,} D = {goal.case.d:,}{dtype}"
        lines.append(f"| {name} | {against} | {aim} | {text} | {verdict} |")
    return "\n".join(lines)


def measured(goal: Goal, own: Figure | None, other: Figure | None) -> tuple[float | None, str]:
    """What was reached; times and speeds are judged on CUDA graphs where there are some."""
    if own is None or (goal.quantity == SPEED and other is None):
        return None, "-"
    share, unit = own.info.get("share"), UNITS[goal.quantity].split()[0]
    value = {TIME: own.median, MEMORY: own.info["peak_mib"], SHARE: share and 100 * share}.get(goal.quantity)
    graph = own.graph if goal.quantity == TIME else None
    if other is not None:
        value = speed(own, other)
        graph = other.graph / own.graph if own.graph and other.graph else None
    if value is None or graph is None:
        return value, "-" if value is None else f"{value:.3g} {unit}"
    return graph, f"{graph:.3g} {unit} as a graph, {value:.3g} {unit} without"
