"""The figures in a file of pytest-benchmark, one for each variant of a case, and how two runs are joined."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cases import CPU_CASES, GPU_CASES, Case
from variants import PEERS, PLAIN

SAME = ("device", "CUDA", "triton", "torch", "fp32 products")  # entries of the header that must agree
NOT_REACHED = "not reached in time"
ORDER: dict[Case | None, int] = {case: place for place, case in enumerate([*CPU_CASES, *GPU_CASES])}
Content = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """Milliseconds of one variant of one case, and what else was measured of it."""

    case: Case
    variant: str
    median: float
    quartiles: Sequence[float]
    rounds: int
    info: dict[str, Any]  # extra_info of pytest-benchmark, as test_throughput.py fills it

    @property
    def graph(self) -> float | None:
        """Median of the graph's replays, where launches wait for nothing."""
        return self.info["graph"]["median"] if "graph" in self.info else None


def figures(content: Content) -> list[Figure]:
    """What a file has on losses."""
    found = []
    for b in content["benchmarks"]:
        if (case := case_of(b)) is not None:
            median, *quartiles = (1000 * b["stats"][key] for key in ("median", "q1", "q3"))
            rounds, variant = b["stats"]["rounds"], b["params"]["variant"]
            found.append(Figure(case, variant, median, quartiles, rounds, b["extra_info"]))
    return found


def case_of(entry: dict[str, Any]) -> Case | None:
    """The case of a benchmark or note; None of those that are not on losses."""
    params = entry["params"] or {}
    return Case(*(params[name] for name in ("loss", "n", "d", "dtype"))) if "variant" in params else None


def best(found: Sequence[Figure], case: Case, among: Sequence[str] = PEERS) -> Figure | None:
    """The fastest of some variants of a case; None where none was measured."""
    return min((f for f in found if f.case == case and f.variant in among), key=lambda f: f.median, default=None)


def speed(own: Figure, other: Figure) -> float:
    """How many times faster a variant is than another: each beside plain torch where that was measured."""
    mine, others = (1.0 if f.variant == PLAIN else f.info.get("speed", {}).get("median") for f in (own, other))
    return mine / others if mine and others else other.median / own.median


def trimmed(content: Content) -> Content:
    """What a result file keeps of a run: no single samples, nothing about the machine but its header."""
    header = dict(content["machine_info"]["header"])
    rates: dict[str, list[float]] = {}
    for name, value in (rate for b in content["benchmarks"] for rate in b["extra_info"].get("rate", {}).items()):
        rates.setdefault(name, []).append(value / 1e9)
    for name, gflops in rates.items():
        header[name] = f"{statistics.median(gflops):,.0f} Gflop/s ({min(gflops):,.0f} to {max(gflops):,.0f})"
    left_out = ("param", "options", "cprofile")
    benchmarks = [{key: b[key] for key in b if key not in left_out} for b in content["benchmarks"]]
    for b in benchmarks:
        b["stats"].pop("data", None)
    return {"machine_info": {"header": header}, "benchmarks": benchmarks, "notes": content["notes"]}


def merged(new: Content, earlier: Content) -> Content:
    """A run, with those cases of an earlier one in the same environment that it has not measured itself.

    A case is of one run only: the times of different runs do not compare.
    """
    header, before = new["machine_info"]["header"], earlier["machine_info"]["header"]
    if any(header.get(key) != before.get(key) for key in SAME):
        return new
    reached = {case_of(e) for e in [*new["benchmarks"], *new["notes"]] if e.get("reason") != NOT_REACHED}
    kept = [b for b in earlier["benchmarks"] if case_of(b) not in reached]
    notes = [n for n in earlier["notes"] if case_of(n) not in reached]
    known = {case_of(e) for e in [*kept, *notes]}
    notes += [n for n in new["notes"] if case_of(n) not in known]
    benchmarks = sorted([*kept, *new["benchmarks"]], key=lambda b: ORDER.get(case_of(b), len(ORDER)))
    more = {"other cases measured": before["date"]} if kept else {}
    return {"machine_info": {"header": header | more}, "benchmarks": benchmarks, "notes": notes}
