"""A pass over one batch, and the launch sequence of its kind: kernels are looked up once and launched many times.

Before a launch Triton inspects each argument to find the compiled kernel, which takes about 30 microseconds for the 30
arguments of these kernels: longer than a small batch runs. Passes with the same key (dtypes, sizes, alignments,
options; see :mod:`ecgloss.engine.triton_problem`) launch the same compiled kernels in the same order, with the same
grids, numbers and constants. The first pass of a kind records them; later ones only fill in their tensors and tau.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor
from triton.runtime import driver

from .problem import TritonProblem

Arguments = Mapping[str, Any]


class Configuration(NamedTuple):
    """What is the same in all passes of one kind.

    Attributes:
        programs: The number of programs.
        arguments: Sizes, numbers and constants of the kernel by name.
        options: Triton's compile options (warps, stages).
    """

    programs: int
    arguments: Arguments
    options: Mapping[str, Any]


class Launch(NamedTuple):
    """One recorded launch.

    Attributes:
        start: Starts the compiled kernel on its grid, with all arguments by position.
        arguments: These arguments, None in place of those that each pass fills in.
        positions: Of the arguments that each pass fills in.
    """

    start: Callable[..., None]
    arguments: list[Any]
    positions: dict[str, int]


@dataclass
class LaunchSequence:
    """The launches of passes of one kind.

    Attributes:
        problem: The problem they solve.
        launches: In order; empty before the first pass has ended, and always under the interpreter, which compiles
            nothing.
    """

    problem: TritonProblem
    launches: tuple[Launch, ...] = ()


class Pass:
    """One pass: launches kernels, and records them if it is the first of its kind.

    Args:
        sequence: The launch sequence of its kind.
        tau: The temperature as (pointer, unused number) or as (None, number).
    """

    def __init__(self, sequence: LaunchSequence, tau: tuple[Tensor | None, float]) -> None:
        self.problem, self.temperature = sequence.problem, {"tau_pointer": tau[0], "tau": tau[1]}
        self._sequence = sequence
        self._recorded = iter(sequence.launches) if sequence.launches else None
        self._launched: list[Launch | None] = []
        if self._recorded is not None:
            self._stream = driver.active.get_current_stream(driver.active.get_current_device())

    def launch(self, kernel: Any, tensors: Arguments, configure: Callable[[], Configuration]) -> None:
        """Start a kernel, recorded or by way of Triton.

        Args:
            kernel: A jitted function.
            tensors: Arguments by name that differ between passes of one kind: tensors and the temperature.
            configure: Everything else; called only when the pass is recorded.

        Raises:
            TypeError: for arguments that are missing, unknown or given twice.
        """
        if self._recorded is None:
            self._launched.append(record(kernel, tensors, configure()))
            return
        launch = next(self._recorded, None)
        assert launch is not None, f"{kernel.__name__} is not in the launch sequence of this kind of pass"
        arguments = launch.arguments.copy()
        for name, value in tensors.items():
            arguments[launch.positions[name]] = value
        launch.start(*arguments, stream=self._stream)

    def end(self) -> None:
        """Store the launch sequence, or check that all of it was launched."""
        if self._recorded is not None:
            assert next(self._recorded, None) is None, "a pass launched fewer kernels than the recorded one of its kind"
            return
        launches = tuple(launch for launch in self._launched if launch is not None)
        if len(launches) == len(self._launched):
            self._sequence.launches = launches


def record(kernel: Any, tensors: Arguments, configuration: Configuration) -> Launch | None:
    """Start a kernel by way of Triton, which compiles it; None under the interpreter."""
    programs, fixed, options = configuration
    given, names = {**tensors, **fixed}, kernel.arg_names
    if given.keys() != set(names) or len(given) < len(tensors) + len(fixed):
        raise TypeError(f"{kernel.__name__}() takes the arguments {', '.join(names)}; {faults(names, tensors, fixed)}")
    compiled = kernel[(programs, 1, 1)](*[given[name] for name in names], **options)
    if compiled is None:
        return None
    positions = {name: position for position, name in enumerate(names) if name in tensors}
    return Launch(compiled[(programs, 1, 1)], [fixed.get(name) for name in names], positions)


def faults(names: Sequence[str], tensors: Arguments, fixed: Arguments) -> str:
    """The arguments that are missing, unknown or given twice."""
    found = {
        "missing": set(names) - set(tensors) - set(fixed),
        "unknown": (set(tensors) | set(fixed)) - set(names),
        "given twice": set(tensors) & set(fixed),
    }
    return "; ".join(f"{fault}: {', '.join(sorted(which))}" for fault, which in found.items() if which)
