"""Measuring the cases of the GPU benchmark: gate, memory, times, graphs, and notes on whatever fails on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import memory
import torch
from cases import Case, inputs, spread
from clock import Call, Effort, attempt, captured, interleaved, release
from gate import gate, small
from gpu_cases import Budget, GpuMeasurement, Note, reason_to_skip, useful_flop
from variants import COMPILED, PEERS, Data, Loss, step, variants

GRAPH_LONGEST_MS = 50.0  # launches are nothing beside such a call
GRAPH_MEMORY_SHARE = 0.1  # of the free memory: a graph keeps its own


@dataclass
class Run:
    """A benchmark on a device, and what it has found so far.

    Attributes:
        device: Where it runs.
        budget: How long it may take.
        effort: How long a variant is measured.
        wanted: Regular expression of the variants.
        rates: Rate of a large matrix product by dtype, in flop/s.
        results: What was measured.
        notes: What was not, and why.
        verdicts: Why a variant failed the gate of a case, "" if it passed.
        no_graph: Loss and variant that could not be captured.
    """

    device: str
    budget: Budget
    effort: Effort
    wanted: str
    rates: dict[str, float]
    results: list[GpuMeasurement] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    verdicts: dict[tuple[Case, str], str] = field(default_factory=dict)
    no_graph: set[tuple[str, str]] = field(default_factory=set)

    def measure(self, case: Case) -> None:
        """Add the results of a case, and notes on what is missing."""
        release(self.device)
        data = inputs(case, self.device)
        losses, peaks = self._prepared(case, data)
        calls: dict[str, Call] = {name: partial(step, loss, data) for name, loss in losses.items()}
        times, failures = interleaved(calls, self.device, self.effort)
        self._note(case, failures)
        graphs = self._graph_times(case, data, {name: losses[name] for name in times}, times, peaks)
        for name, values in times.items():
            self.results.append(self._measurement(case, name, values, graphs.get(name), peaks[name]))
        if COMPILED in losses:
            torch.compiler.reset()  # a function compiled for too many sizes would silently run uncompiled

    def _prepared(self, case: Case, data: Data) -> tuple[dict[str, Loss], dict[str, float | None]]:
        """The variants that are right and fit, called once at the case's size, and their peak memory in MiB."""
        losses: dict[str, Loss] = {}
        peaks: dict[str, float | None] = {}
        check: Callable[..., None] | None = None
        for name, loss in variants(case, "cuda").items():  # those of a GPU in a dry run too
            if not re.search(self.wanted, name):
                continue
            reason = reason_to_skip(case, name, self.device, self.budget) or ""
            if not reason and (small(case), name) not in self.verdicts:
                check = check or gate(case, self.device)
                _, verdict = attempt(partial(check, loss, peer=name in PEERS), self.device)
                self.verdicts[small(case), name] = verdict
            reason = reason or self.verdicts[small(case), name]
            if not reason:
                peak, reason = attempt(partial(self._peak_mib, name, loss, data), self.device)
            if reason:
                self.notes.append(Note(case, name, reason))
            else:
                losses[name], peaks[name] = loss, peak
        return losses, peaks

    def _peak_mib(self, name: str, loss: Loss, data: Data) -> float | None:
        """Peak memory of the first evaluation (of what is compiled, the second: compilers need memory too)."""
        if self.device == "cuda":
            return memory.on_gpu(loss, data, warm_up=int(name == COMPILED))
        step(loss, data)
        return None

    def _graph_times(
        self,
        case: Case,
        data: Data,
        losses: dict[str, Loss],
        times: dict[str, list[float]],
        peaks: dict[str, float | None],
    ) -> dict[str, list[float]]:
        """Samples of the replays of those variants that are worth a graph and can be captured."""
        if self.device == "cpu":
            return {}
        free = memory.free_bytes() / 2**20
        replays: dict[str, Call] = {}
        for name, loss in losses.items():
            small_enough = (peaks[name] or 0.0) < GRAPH_MEMORY_SHARE * free
            if (case.loss, name) in self.no_graph or not small_enough or min(times[name]) > GRAPH_LONGEST_MS:
                continue
            graph, reason = attempt(partial(captured, loss, data), self.device)
            if graph is None:
                self.no_graph.add((case.loss, name))  # what cannot be captured at one size cannot at another
                self.notes.append(Note(case, f"{name} as a CUDA graph, from here on", reason))
            else:
                replays[name] = graph.replay
        graph_times, failures = interleaved(replays, self.device, self.effort)
        self._note(case, {f"{name} as a CUDA graph": reason for name, reason in failures.items()})
        return graph_times

    def _measurement(
        self, case: Case, name: str, values: list[float], graph: list[float] | None, peak: float | None
    ) -> GpuMeasurement:
        """Statistics of a variant."""
        median, quartiles = spread(values)
        graph_median, graph_quartiles = spread(graph) if graph else (None, None)
        rate = None if name in PEERS else 1000 * useful_flop(case) / median
        share = None if rate is None else rate / self.rates[case.dtype]
        replay = "" if graph_median is None else f", graph {graph_median:.3f} ms"
        memory_used = "" if peak is None else f", {peak:,.0f} MiB"
        print(f"{case!s:<32} {name:<24} {median:10.3f} ms{replay}{memory_used}", flush=True)
        return GpuMeasurement(
            case=case,
            variant=name,
            milliseconds=median,
            quartiles=quartiles,
            rounds=len(values),
            peak_mib=peak,
            flop_rate=rate,
            graph_milliseconds=graph_median,
            graph_quartiles=graph_quartiles,
            matrix_share=share,
        )

    def _note(self, case: Case, failures: dict[str, str]) -> None:
        """Keep why something failed."""
        self.notes += [Note(case, name, reason) for name, reason in failures.items()]
