"""One candidate of tune.py on the GPU: checked against the launcher's tile and timed in turns with it.

Run with a JSON list of candidates it only compiles them.
"""

from __future__ import annotations

import functools
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from gpu_steps import step_of
from roofline.model import programs_at_once
from torch import Tensor

from ecgloss._files import read_json
from ecgloss.engine import triton_problem
from ecgloss.engine.kernel_package import kernels_module

launch_plan, launch_cache, tile_table = (kernels_module(name) for name in ("launch_plan", "launch_cache", "tile_table"))
KERNELS = {
    "forward": ("forward_kernel", "forward_dense_kernel"),
    "backward": ("backward_kernel", "backward_dense_kernel"),
    "strip": ("backward_strip_kernel",),
}
PASS_NAMES = {"ntxent": "uniform", "clef paper": "weighted", "clef official": "moments"}
TOLERANCE, ROUNDS, CALLS = 2e-3, 5, 3
COMPILED_AT = 512  # rows: enough for all that a kernel is compiled for
_tile, _record = launch_plan.tile, launch_cache.record


class Started(NamedTuple):
    """A kernel over pairs of a step that has run.

    Attributes:
        start: Starts it again with ``arguments``.
        arguments: By position.
        compiled: Triton's compiled kernel.
    """

    start: Callable[..., None]
    arguments: list[Any]
    compiled: Any


class Step(NamedTuple):
    """What a step gave: loss, gradient, and the kernel of the pass in question."""

    loss: Tensor
    gradient: Tensor
    kernel: Started


Timer = Callable[[Sequence[Started]], list[float]]


def architecture() -> str:
    """The GPU's name in the tile table."""
    return str(kernels_module("device").architecture(torch.device("cuda", torch.cuda.current_device())))


def is_fused(d: int) -> bool:
    """Whether gradients of width d need no strips."""
    return bool(tile_table.is_fused(architecture(), "half", d))


def header() -> dict[str, str]:
    """What results depend on."""
    return {"device": torch.cuda.get_device_name(), "triton": triton.__version__, "torch": torch.__version__}


def usable() -> bool:
    """Whether the GPU works; after a fault it does not in this process."""
    try:
        torch.cuda.synchronize()
    except Exception:  # of a class that differs between versions of torch
        return False
    return True


def pass_name(entry: dict[str, Any]) -> str:
    """The most particular name of a candidate's pass in the tile table."""
    kind = PASS_NAMES.get(entry["rule"], entry["rule"])
    return f"{entry['pass']}-{'weighted' if kind == 'moments' and entry['pass'] != 'forward' else kind}"


def in_turns(kernels: Sequence[Started]) -> list[float]:
    """Median microseconds of a launch of each, by CUDA events."""
    times: list[list[float]] = [[] for _ in kernels]
    stream = torch.cuda.current_stream().cuda_stream
    for _ in range(ROUNDS):
        for kernel, taken in zip(kernels, times):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(CALLS):
                kernel.start(*kernel.arguments, stream=stream)
            end.record()
            end.synchronize()
            taken.append(1000 * begin.elapsed_time(end) / CALLS)
    return [statistics.median(taken[1:]) for taken in times]


def measure(entry: dict[str, Any], spills: int, timer: Timer = in_turns) -> dict[str, Any]:
    """Microseconds of the candidate and of the launcher's tile, and what it takes; the latter only if it spills more.

    Raises:
        ValueError: where loss or gradient is another.
    """
    own = run(entry, entry["N"], entry["tile"])
    taken = {
        "spills": 4 * own.kernel.compiled.n_spills,
        "at once": at_once(own.kernel.compiled, entry["tile"]["warps"]),
    }
    if taken["spills"] > spills:
        return {"spills": taken["spills"]}
    if taken["at once"] > 1:  # then columns are split otherwise
        own = run(entry, entry["N"], entry["tile"] | {"occupancy": taken["at once"]})
    launcher = launchers(*(entry[name] for name in ("rule", "pass", "D", "N")))
    for name in ("loss", "gradient"):
        mine, true = getattr(own, name), getattr(launcher, name)
        error = ((mine - true).norm() / true.norm()).item()
        if not error <= TOLERANCE:
            raise ValueError(f"{name} differs by {error:.1e} from that of the launcher's tile")
    before, after = timer([launcher.kernel, own.kernel])
    return {"us": after, "table us": before, **taken}


def at_once(compiled: Any, warps: int) -> int:
    """Programs of a compiled kernel that a multiprocessor runs at once."""
    memory = torch.cuda.get_device_properties(torch.cuda.current_device()).shared_memory_per_multiprocessor
    return max(1, programs_at_once(compiled.n_regs, compiled.metadata.shared, warps, memory))


@functools.lru_cache(maxsize=1)  # candidates of a pass follow one another
def launchers(rule: str, step: str, d: int, n: int) -> Step:
    """A step with the launcher's tile."""
    return run({"rule": rule, "pass": step, "D": d}, n, None)


def run(entry: dict[str, Any], n: int, sizes: dict[str, int] | None) -> Step:
    """A training step whose pass has the given tile, or the launcher's."""

    def tile(architecture: str, names: tuple[str, ...], product: str, d: int) -> Any:
        found = _tile(architecture, names, product, d)
        if sizes is None or names[0].split("-")[0] != entry["pass"]:
            return found
        depth, width = (min(sizes.get(name, d), d) for name in ("depth", "width"))
        more = {name: sizes[name] for name in ("occupancy", "prefetch") if name in sizes}
        return tile_table.Tile(sizes["rows"], sizes["cols"], depth, width, sizes["warps"], sizes["stages"], **more)

    with replaced(tile) as started:
        z, loss = step_of(entry["rule"], n, entry["D"])
        value = loss()
        (gradient,) = torch.autograd.grad(value, z)
        torch.cuda.synchronize()
    kernel = next(started[name] for name in KERNELS[entry["pass"]] if name in started)
    return Step(value.detach().float(), gradient.float(), kernel)


@contextmanager
def replaced(tile: Callable[..., Any]) -> Iterator[dict[str, Started]]:
    """Let the launcher take ``tile``; gives the kernels that it starts, by name."""
    started: dict[str, Started] = {}

    def recording(kernel: Any, tensors: Any, configuration: Any) -> None:
        given, programs = {**tensors, **configuration.arguments}, (configuration.programs, 1, 1)
        arguments = [given[name] for name in kernel.arg_names]
        compiled = kernel[programs](*arguments, **configuration.options)
        started[kernel.__name__] = Started(compiled[programs], arguments, compiled)

    triton_problem._SEQUENCES.clear()
    try:
        _replace(tile, recording)
        yield started
    finally:
        _replace(_tile, _record)


def _replace(tile: Any, record: Any) -> None:
    """How the launcher finds tiles, and starts kernels for the first time."""
    for module, name, function in ((launch_plan, "tile", tile), (launch_cache, "record", record)):
        setattr(module, name, function)


if __name__ == "__main__":
    for candidate in read_json(Path(sys.argv[1])):
        try:
            run(candidate, COMPILED_AT, candidate["tile"])
        except Exception as error:  # it is measured, and its fault kept, by tune.py
            print(candidate, error)
