"""Measuring the cases of the GPU benchmark: times, replays of CUDA graphs, and notes on whatever fails on the way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import torch
from admission import Admission, Admitted
from cases import Case, inputs, spread
from clock import Call, Effort, interleaved
from gpu_cases import ALL_VARIANTS, MAIN_WIDTH, Budget, GpuMeasurement, Note, products
from graphs import captured, worth_a_graph
from guard import attempt, release
from variants import Data, step

Times = dict[str, list[float]]
MAIN_SINGLE_MS = 3000.0  # at the main width, longer calls have a spread too


@dataclass
class Run:
    """A benchmark on a device, and what it has found so far.

    Attributes:
        device: Where it runs.
        budget: How long it may take.
        effort: How long a variant is measured.
        admission: Which variants are.
        results: What was measured.
        notes: What was not, and why.
        no_graph: Loss and variant that could not be captured.
    """

    device: str
    budget: Budget
    effort: Effort
    admission: Admission
    results: list[GpuMeasurement] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    no_graph: set[tuple[str, str]] = field(default_factory=set)

    def measure(self, case: Case) -> None:
        """Add the results of a case, and notes on what is missing.

        Raises:
            DeviceLost: where the GPU cannot be used any more; what was found by then is kept.
        """
        _, reason = attempt(partial(self._measure, case), self.device)
        self._note(case, {ALL_VARIANTS: reason} if reason else {})
        torch.compiler.reset()  # a function compiled for too many sizes would silently run uncompiled

    def _measure(self, case: Case) -> None:
        """As ``measure``; failures that are not those of one variant are raised."""
        release(self.device)
        data = inputs(case, self.device)
        admitted = self.admission.admit(case, data)
        self.notes += admitted.notes
        calls: dict[str, Call] = {name: partial(step, loss, data) for name, loss in admitted.losses.items()}
        times, failures = interleaved(calls, self.device, self._effort(case), self._time_is_left)
        self._note(case, failures)
        graphs: Times = {}
        try:
            if self.device == "cuda":
                graphs = self._graph_times(case, data, admitted, times)
        finally:  # a capture may break the GPU, but not what was measured before
            for name, values in times.items():
                self._add(case, name, values, graphs.get(name), admitted.peaks[name])

    def _graph_times(self, case: Case, data: Data, admitted: Admitted, times: Times) -> Times:
        """Samples of the replays of those variants that are worth a graph and can be captured."""
        replays: dict[str, Call] = {}
        for name, values in times.items():
            known = (case.loss, name) in self.no_graph or not self._time_is_left()
            if known or not worth_a_graph(name, min(values), admitted.peaks[name]):
                continue
            graph, reason = attempt(partial(captured, admitted.losses[name], data), self.device)
            if graph is None:
                self.no_graph.add((case.loss, name))  # what cannot be captured at one size cannot at another
                self._note(case, {f"{name} as a CUDA graph, from here on": reason})
            else:
                replays[name] = graph.replay
        graph_times, failures = interleaved(replays, self.device, self._effort(case), self._time_is_left)
        self._note(case, {f"{name} as a CUDA graph": reason for name, reason in failures.items()})
        return graph_times

    def _add(self, case: Case, name: str, values: list[float], graph: list[float] | None, peak: float | None) -> None:
        """Keep the statistics of a variant."""
        median, quartiles = spread(values)
        graph_median, graph_quartiles = spread(graph) if graph else (None, None)
        replay = "" if graph_median is None else f", graph {graph_median:.3f} ms"
        memory_used = "" if peak is None else f", {peak:,.0f} MiB"
        print(f"{case!s:<32} {name:<24} {median:10.3f} ms x {len(values)}{replay}{memory_used}", flush=True)
        self.results.append(
            GpuMeasurement(
                case=case,
                variant=name,
                milliseconds=median,
                quartiles=quartiles,
                rounds=len(values),
                peak_mib=peak,
                products=products(case),
                graph_milliseconds=graph_median,
                graph_quartiles=graph_quartiles,
                graph_rounds=len(graph) if graph else 0,
            )
        )

    def _effort(self, case: Case) -> Effort:
        """How long a variant of a case is measured."""
        if case.d != MAIN_WIDTH:
            return self.effort
        return replace(self.effort, single_ms=max(self.effort.single_ms, MAIN_SINGLE_MS))

    def _time_is_left(self) -> bool:
        """Whether there is time for another sample."""
        return self.budget.left > 0

    def _note(self, case: Case, failures: dict[str, str]) -> None:
        """Keep why something failed."""
        self.notes += [Note(case, name, reason) for name, reason in failures.items()]
