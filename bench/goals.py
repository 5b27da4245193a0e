"""What the losses are aimed at on two machines, and what was reached: on a CPU by cpp, on an H200 by triton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cases import DTYPES, FIRST, HALF, OTHERS, SINGLE, Case
from figures import Figure, best, speed
from variants import COMPILED, LIGHTLY, PLAIN

TIME, MEMORY, SPEED, SHARE = "time", "memory beyond inputs and gradients", "speed", "useful arithmetic"
UNITS = {TIME: "ms", MEMORY: "MiB", SPEED: "x", SHARE: "% of the FMA rate"}


@dataclass(frozen=True)
class Goal:
    """At least so much speed beside the fastest of some variants or share of the rate, at most so many ms or MiB."""

    quantity: str
    case: Case
    aim: float
    against: tuple[str, ...] = ()


def _bf16(loss: str, n: int) -> Case:
    """A case of the width and dtype the goals for the GPU are set for."""
    return Case(loss, n, 256, HALF)


CPU_GOALS = [
    Goal(SPEED, Case("clef official", 8192, 256), 20, (PLAIN,)),
    Goal(SPEED, Case("clef official", 2048, 256), 10, (PLAIN,)),
    Goal(SPEED, Case("clef official", 4096, 1024), 4.5, (PLAIN,)),
    Goal(SPEED, Case("clef official", 128, 256), 4, (PLAIN,)),
    Goal(SPEED, Case("ntxent", 8192, 256), 5, (PLAIN, COMPILED, LIGHTLY)),
    Goal(SPEED, Case("ntxent", 128, 256), 1.2, (PLAIN, COMPILED, LIGHTLY)),
    *(Goal(SHARE, Case(loss, 8192, 256), 60) for loss in FIRST),
]
GPU_GOALS = [Goal(TIME, _bf16(loss, n), ms) for loss in FIRST for n, ms in ((8192, 0.35), (32768, 4), (131072, 60))]
GPU_GOALS += [Goal(MEMORY, _bf16(loss, 131072), 1e9 / 2**20) for loss in FIRST]
GPU_GOALS += [Goal(SPEED, _bf16(loss, n), 1, (COMPILED,)) for loss in (*FIRST, *OTHERS) for n in (512, 2048, 4096)]


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
    value, graph = own.median, own.graph
    if other is not None:
        value = speed(own, other)
        graph = other.graph / own.graph if own.graph and other.graph else None
    elif goal.quantity != TIME:
        value, graph = own.info["peak_mib"] if goal.quantity == MEMORY else 100 * own.info["share"], None
    unit = UNITS[goal.quantity].split()[0]
    if graph is None:
        return value, f"{value:.3g} {unit}"
    return graph, f"{graph:.3g} {unit} as a graph, {value:.3g} {unit} without"
