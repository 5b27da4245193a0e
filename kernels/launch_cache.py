"""A pass over one batch, and the launch sequence of its kind: kernels are looked up once and launched many times.

Before a launch Triton inspects each argument to find the compiled kernel, which takes about 30 microseconds for the 30
arguments of these kernels: longer than a small batch runs. Passes with the same key (dtypes, sizes, alignments,
options; see :mod:`ecgloss.engine.triton_problem`) launch the same compiled kernels in the same order. The first pass
of a kind records them, later ones launch the recorded kernels directly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from torch import Tensor
from triton.runtime import driver

from .problem import TritonProblem

Arguments = dict[str, Any]
InOrder = Callable[[Arguments], tuple[Any, ...]]  # the values of arguments, in the order of a kernel's parameters


@dataclass
class LaunchSequence:
    """The launches of passes of one kind.

    Attributes:
        problem: The problem they solve.
        launches: Compiled kernels and the order of their arguments, in the order of launches. Empty before the first
            pass has ended, and always under the interpreter, which compiles nothing.
    """

    problem: TritonProblem
    launches: tuple[tuple[Any, InOrder], ...] = ()


class Pass:
    """One pass: launches kernels, and records them if it is the first of its kind.

    Args:
        sequence: The launch sequence of its kind.
        tau: The temperature as (pointer, unused number) or as (None, number).
    """

    def __init__(self, sequence: LaunchSequence, tau: tuple[Tensor | None, float]) -> None:
        self.problem, self.tau = sequence.problem, tau
        self._sequence = sequence
        self._recorded = iter(sequence.launches) if sequence.launches else None
        self._launched: list[tuple[Any, InOrder]] = []
        if self._recorded is not None:
            self._stream = driver.active.get_current_stream(driver.active.get_current_device())

    def launch(self, kernel: Any, programs: int, arguments: Arguments, options: dict[str, Any]) -> None:
        """Start a kernel.

        Args:
            kernel: A jitted function.
            programs: The number of programs.
            arguments: All its arguments by name, runtime arguments and constants, in any order.
            options: Triton's compile options (warps, stages).

        Raises:
            TypeError: for names that are missing or unknown; checked when a pass is recorded.
        """
        if self._recorded is not None:
            compiled, in_order = next(self._recorded, (None, None))
            assert compiled is not None, f"{kernel.__name__}: not in the launch sequence of this kind of pass"
            compiled[(programs, 1, 1)](*in_order(arguments), stream=self._stream)
            return
        in_order = order_of(kernel, arguments)
        self._launched.append((kernel[(programs, 1, 1)](*in_order(arguments), **options), in_order))

    def end(self) -> None:
        """Store the launch sequence, or check that all of it was launched."""
        if self._recorded is not None:
            assert next(self._recorded, None) is None, "a pass launched fewer kernels than the recorded one of its kind"
        elif all(compiled for compiled, _ in self._launched):
            self._sequence.launches = tuple(self._launched)


def order_of(kernel: Any, arguments: Arguments) -> InOrder:
    """Picks the values of ``arguments`` in the order of the kernel's parameters; ``TypeError`` where names differ."""
    missing, unknown = set(kernel.arg_names) - set(arguments), set(arguments) - set(kernel.arg_names)
    if missing or unknown:
        differences = {"missing": missing, "unknown": unknown}
        found = ", ".join(f"{name} {', '.join(sorted(names))}" for name, names in differences.items() if names)
        raise TypeError(f"{kernel.__name__}() takes {', '.join(kernel.arg_names)}; got arguments with {found}")
    return itemgetter(*kernel.arg_names)
