"""One candidate of tune.py on the GPU: checked against the table's tile and timed in turns with it.

Run with a JSON list of candidates it only compiles them.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from gpu_steps import loss_of

from ecgloss._files import read_json
from ecgloss.engine import triton_problem
from ecgloss.engine.kernel_package import kernels_module

launch_plan, launch_cache, tile_table, launch_backward, device = (
    kernels_module(name) for name in ("launch_plan", "launch_cache", "tile_table", "launch_backward", "device")
)
ARCHITECTURE = device.architecture(torch.device("cuda", 0))
KERNELS = {
    "forward": ("forward_kernel", "forward_dense_kernel"),
    "backward": ("backward_kernel", "backward_dense_kernel"),
    "strip": ("backward_strip_kernel",),
}
PASS_NAMES = {"ntxent": "", "clef paper": "-weighted", "clef official": "-moments", "labels": "-labels"}
TOLERANCE, ROUNDS, CALLS = 2e-3, 5, 3
_table = launch_plan.tile
_record = launch_cache.record
_started: dict[str, tuple[Any, list[Any], int]] = {}


def pass_name(entry: dict[str, Any]) -> str:
    """The most particular name of a candidate's pass in the tile table."""
    ending = PASS_NAMES.get(entry["rule"], f"-{entry['rule']}")
    if ending == "-moments" and entry["pass"] != "forward":
        ending = "-weighted"
    return f"{entry['pass']}{ending}"


def measure(entry: dict[str, Any]) -> dict[str, Any]:
    """Microseconds of the candidate and of the table's tile, and spilled bytes.

    Raises:
        ValueError: where loss or gradient is another.
    """
    true = run(entry, entry["N"], None)
    table = _kernel(entry)
    own = run(entry, entry["N"], entry["tile"])
    kernel = _kernel(entry)
    for mine, expected in zip(own, true):
        error = ((mine - expected).norm() / expected.norm()).item()
        if not error <= TOLERANCE:
            raise ValueError(f"loss or gradient differ by {error:.1e} from those of the table's tile")
    times: tuple[list[float], list[float]] = ([], [])
    stream = torch.cuda.current_stream().cuda_stream
    for _ in range(ROUNDS):
        for (start, arguments, _), taken in zip((table, kernel), times):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(CALLS):
                start(*arguments, stream=stream)
            end.record()
            end.synchronize()
            taken.append(1000 * begin.elapsed_time(end) / CALLS)
    before, after = (statistics.median(taken[1:]) for taken in times)
    return {"us": after, "table us": before, "spills": kernel[2]}


def run(entry: dict[str, Any], n: int, sizes: dict[str, int] | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient of a training step whose pass has the given tile, or the table's."""
    _started.clear()
    triton_problem._SEQUENCES.clear()

    def tile(architecture: str, names: tuple[str, ...], product: str, d: int) -> Any:
        found = _table(architecture, names, product, d)
        if sizes is None or names[0].split("-")[0] != entry["pass"]:
            return found
        depth, width = (min(sizes.get(name, d), d) for name in ("depth", "width"))
        return tile_table.Tile(sizes["rows"], sizes["cols"], depth, width, sizes["warps"], sizes["stages"])

    def recording(kernel: Any, tensors: Any, configuration: Any) -> None:
        given, programs = {**tensors, **configuration.arguments}, (configuration.programs, 1, 1)
        arguments = [given[name] for name in kernel.arg_names]
        compiled = kernel[programs](*arguments, **configuration.options)
        _started[kernel.__name__] = (compiled[programs], arguments, compiled.n_spills)

    _replace(tile, recording)
    try:
        z, loss = loss_of(entry["rule"], n, entry["D"])
        (gradient,) = torch.autograd.grad(loss, z)
        torch.cuda.synchronize()
    finally:
        _replace(_table, _record)
    return loss.detach().float(), gradient.float()


def _replace(tile: Any, record: Any) -> None:
    """How the launcher finds tiles, and starts kernels for the first time."""
    for module, name, function in ((launch_plan, "tile", tile), (launch_cache, "record", record)):
        setattr(module, name, function)


def _kernel(entry: dict[str, Any]) -> tuple[Any, list[Any], int]:
    return next(_started[name] for name in KERNELS[entry["pass"]] if name in _started)


if __name__ == "__main__":
    for candidate in read_json(Path(sys.argv[1])):
        try:
            run(candidate, 512, candidate["tile"])
        except Exception as error:  # it is measured, and its fault kept, by tune.py
            print(candidate, error)
