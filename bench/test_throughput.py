"""Time and memory of the losses, forward and backward: pytest bench/test_throughput.py -k "clef and 2048"

Value and gradient of a variant are first compared with the fp64 definition (gate.py). A test is skipped with the reason
where they differ: there is no figure of a wrong result. The times are pytest-benchmark's, on a GPU from events, inputs
in cache as an encoder leaves them. ``extra_info`` has what was measured beside them: the speed relative to plain torch,
both taking turns; replays of a CUDA graph; peak memory; the share of the machine's rate of multiply-adds or products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import machine
import memory
import pytest
import torch
from cases import CASES, DTYPES, HALF, Case, inputs
from gate import LARGEST_N, check_at_full_size, gate, small
from graphs import captured, worth_a_graph
from kernel_gates import KernelGates
from roofline.predictions import predicted, this_architecture
from timing import EFFORT, Call, T, attempt, clock, interleaved, release, sample, spread
from variants import COMPILED, KERNELS, PEERS, PLAIN, build, missing, names, step

NO_GRAPH: dict[tuple[str, str], str] = {}  # why not: what cannot be captured at one size cannot at another


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every variant of every case, those of a case one after another."""
    option, tests = metafunc.config.option, []
    for case in CASES[option.cases]:
        mark = pytest.mark.benchmark(group=str(case), timer=clock(option.device))
        for variant in names(case, option.cases):
            name = f"{case.loss}-N{case.n}-D{case.d}-{DTYPES[case.dtype]}-{variant}".replace(" ", "_")
            tests.append(pytest.param(case.loss, case.n, case.d, case.dtype, variant, id=name, marks=mark))
    metafunc.parametrize(("loss", "n", "d", "dtype", "variant"), tests)


@pytest.fixture(autouse=True)
def leave_nothing_behind(device: str, variant: str) -> Iterator[None]:
    """Memory goes back, and compiled code: compiled for too many sizes, a function would silently run uncompiled."""
    release(device)
    yield
    if variant == COMPILED:
        torch.compiler.reset()


def test_forward_backward(
    loss: str, n: int, d: int, dtype: str, variant: str, device: str, benchmark: Any, kernel_gates: KernelGates
) -> None:
    case, info = Case(loss, n, d, dtype), benchmark.extra_info
    call, peak = admitted(case, variant, device, kernel_gates)
    rounds, calls = EFFORT[device].plan(tried(partial(sample, call, 1, clock(device)), device))
    tried(partial(benchmark.pedantic, call, rounds=rounds, iterations=calls), device)
    if benchmark.disabled:
        return
    milliseconds = 1000 * benchmark.stats.stats.median
    info["L2 cache"] = "warm, not flushed between calls"
    info["peak_mib"] = peak if device == "cuda" else memory.on_cpu(case, variant).mib
    if device == "cuda" and worth_a_graph(variant, milliseconds, peak):
        info |= as_a_graph(case, variant, device)
    if device == "cuda" and variant == KERNELS and case.dtype == HALF:
        model = predicted(case.loss, case.n, case.d, this_architecture())
        info |= {"predicted": model.step, "predicted of": model.of} if model else {}
    for name, rate in machine.rate(case, variant, device).items() if variant not in PEERS else ():
        flop = case.products(device) * 2 * n**2 * d
        seconds = info.get("graph", {"median": milliseconds})["median"] / 1000
        info |= {"products": case.products(device), "share": flop / seconds / rate, "rate": {name: rate}}
    if variant != PLAIN and not too_large(case, PLAIN, device):
        plain = partial(step, build(loss, PLAIN), inputs(case, device))
        times, _ = attempt(lambda: plain() or interleaved([plain, call], device), device)
        if times is not None:
            info["speed"] = spread([other / own for other, own in zip(*times)])


def admitted(case: Case, variant: str, device: str, kernel_gates: KernelGates) -> tuple[Call, float | None]:
    """An evaluation that is known to be right, and on a GPU its peak memory in MiB; otherwise the test is skipped."""
    if reason := missing(case, variant) or too_large(case, variant, device):
        pytest.skip(reason)
    loss, peak = build(case.loss, variant), None
    if variant != KERNELS:
        tried(lambda: gate(small(case), device)(loss, peer=variant in PEERS), device)
    elif reason := kernel_gates.reason(case):
        pytest.skip(reason)
    data = inputs(case, device)
    call = partial(step, loss, data)
    if device == "cuda":  # of the first evaluation; of what is compiled the second: compilers need memory too
        peak = tried(partial(memory.on_gpu, loss, data, warm_up=int(variant == COMPILED)), device)
    tried(call, device)
    if variant == KERNELS and case.n > LARGEST_N:
        tried(partial(check_at_full_size, case, loss, data), device)
    return call, peak


def too_large(case: Case, variant: str, device: str) -> str:
    """Why a variant that stores N x N is not going to fit into a GPU; "" where it is."""
    needed = memory.MATRICES * case.n**2 * 4 if variant in PEERS else 0
    fits = device == "cpu" or needed <= memory.free_bytes()
    return "" if fits else f"N x N does not fit (about {needed / 2**30:,.0f} GiB)"


def tried(call: Callable[[], T], device: str) -> T:
    """What a call returns; the test is skipped with the reason where it fails."""
    result, reason = attempt(call, device)
    if reason:
        pytest.skip(reason)
    return result  # type: ignore[return-value]


def as_a_graph(case: Case, variant: str, device: str) -> dict[str, Any]:
    """Replays of a CUDA graph in milliseconds, or why there is none."""
    key = (case.loss, variant)
    if key not in NO_GRAPH:
        graph, reason = attempt(partial(captured, build(case.loss, variant), inputs(case, device)), device)
        if graph is not None:
            return {"graph": spread([1000 * seconds for seconds in interleaved([graph.replay], device)[0]])}
        NO_GRAPH[key] = reason
    return {"no graph": NO_GRAPH[key]}
