"""A pass over one batch, and what passes of its kind launch: looked up once, launched many times.

Before every launch Triton looks at each argument to find what it has compiled for it, which takes some 30 microseconds
for the 30 arguments of these kernels; of small batches that is longer than they run. Passes whose arguments are of
one kind (whose dtypes, sizes, alignments and options agree; the caller's key says so) launch the same compiled kernels
in the same order, so all but the first take them from a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from triton.runtime import driver

from .problem import Problem


@dataclass
class Recording:
    """Passes of one kind.

    Attributes:
        problem: What they compute.
        kernels: Compiled, in the order of their launches; empty until a pass has ended (and under the interpreter,
            which compiles nothing).
    """

    problem: Problem
    kernels: tuple[Any, ...] = ()


class Pass:
    """One pass: launches its kernels, and records them where none of its kind has before.

    Args:
        recording: Of passes of its kind.
        tau: The temperature as a pointer, or as a number.
    """

    def __init__(self, recording: Recording, tau: tuple[Tensor | None, float]) -> None:
        self.problem, self.tau = recording.problem, tau
        self._recording = recording
        self._known = iter(recording.kernels) if recording.kernels else None
        self._launched: list[Any] = []
        if self._known is not None:
            self._stream = driver.active.get_current_stream(driver.active.get_current_device())

    def launch(self, kernel: Any, programs: int, *arguments: Any, options: dict[str, Any], **constants: Any) -> None:
        """Start a kernel.

        Args:
            kernel: A jitted function.
            programs: How many of it.
            arguments: What it is given, in order.
            options: Triton's own: warps, stages.
            constants: What it is compiled for, in the order of its parameters, behind the arguments.
        """
        if self._known is not None:
            compiled = next(self._known, None)
            assert compiled is not None, f"{kernel.__name__}: a pass of its kind did not launch it before"
            compiled[(programs, 1, 1)](*arguments, *constants.values(), stream=self._stream)
            return
        assert list(constants) == kernel.arg_names[len(arguments) :], f"{kernel.__name__}: constants out of order"
        self._launched.append(kernel[(programs, 1, 1)](*arguments, **constants, **options))

    def end(self) -> None:
        """All kernels were launched."""
        if self._known is not None:
            assert next(self._known, None) is None, "a pass launched fewer kernels than one of its kind before"
        elif all(self._launched):
            self._recording.kernels = tuple(self._launched)
