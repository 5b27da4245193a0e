"""A GPU that is not there, for Triton's own launcher: kernels are compiled for it, loaded and launched, but never run.

Tensors stay on the CPU. What was launched is in ``launches``, while the GPU is ``watched``. There is one per process:
Triton keeps what it has loaded. Arguments get as far as Triton's launcher, whose own parsing in C is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from ecgloss.engine import availability
from ecgloss.engine.kernel_package import kernels_module


class Launch(NamedTuple):
    """One launch: the loaded kernel, its name and grid, and its arguments (of tensors what Triton compiles for)."""

    kernel: int
    name: str
    grid: tuple[int, ...]
    arguments: tuple[Any, ...]


class FakeGPU:
    """A driver of Triton."""

    def __init__(self) -> None:
        self.utils = self
        self.watched = True
        self.launches: list[Launch] = []
        self.loaded: dict[bytes, int] = {}

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        """What starts a compiled kernel."""

        def launch(x: int, y: int, z: int, stream: int, function: int, *rest: Any) -> None:
            if self.watched:
                arguments = rest[-len(source.fn.arg_names) :]
                self.launches.append(Launch(function, metadata.name, (x, y, z), tuple(kind(a) for a in arguments)))

        return launch

    def load_binary(self, name: str, kernel: bytes, shared: int, device: int) -> tuple[int, ...]:
        """Module, function, registers, spills and the most threads of a kernel."""
        handle = self.loaded.setdefault(kernel, len(self.loaded) + 1)
        return handle, handle, 32, 0, 1024

    def unload_module(self, module: int) -> None:
        """Nothing to unload."""

    def get_device_properties(self, device: int) -> dict[str, int]:
        """Of an H100."""
        return {"max_shared_mem": 232_448, "multiprocessor_count": 132, "warpSize": 32, "max_num_regs": 65_536}

    def get_current_device(self) -> int:
        """The only one."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """The only one."""
        return 0

    def get_current_target(self) -> GPUTarget:
        """Hopper."""
        return GPUTarget("cuda", 90, 32)


def kind(argument: Any) -> Any:
    """An argument, of a tensor its kind: tensors of two passes lie elsewhere."""
    if isinstance(argument, Tensor):
        return argument.dtype, argument.shape, argument.data_ptr() % 16
    return argument


GPU = FakeGPU()


def install(set_attribute: Callable[[Any, str, Any], None] = setattr) -> FakeGPU:
    """Let the kernels believe that there is a GPU."""
    set_attribute(driver, "_active", GPU)
    set_attribute(availability, "_OBSTACLE", [None])
    set_attribute(availability, "interpreted", lambda: True)  # which lets CPU tensors through
    for name in ("launch_plan", "launch_backward"):
        set_attribute(kernels_module(name), "architecture", lambda device: "sm90")
    set_attribute(kernels_module("launch_plan"), "processors", lambda device: 132)
    GPU.launches.clear()
    return GPU
