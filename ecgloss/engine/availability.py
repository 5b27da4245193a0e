"""Which backends can be used on this machine, and why the others cannot."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass

import torch

from ecgloss.engine import extension

OLDEST_CAPABILITY = (8, 0)
OLDEST_TRITON = (3, 5)


@dataclass(frozen=True)
class BackendStatus:
    """One backend as it stands on this machine.

    Attributes:
        name: What ``backend=`` takes.
        usable: Whether it can be used here.
        note: What it is, or why it is not usable.
    """

    name: str
    usable: bool
    note: str


EXTENSION = extension.load()
EXTENSION_PROBLEM = extension.choose_instruction_set(EXTENSION)


def backends() -> list[BackendStatus]:
    """What is usable here, and why the others are not.

    Example:
        >>> usable = [status.name for status in backends() if status.usable]
        >>> "chunked" in usable and "reference" in usable
        True
    """
    if EXTENSION is None:
        note = f"the C++ extension was {extension.NOT_BUILT}; CPU tensors use chunked"
        kernels = BackendStatus("cpp", False, note)
    elif EXTENSION_PROBLEM is not None:
        kernels = BackendStatus("cpp", False, EXTENSION_PROBLEM)
    else:
        note = f"C++ kernels for {EXTENSION.instruction_set()}, {EXTENSION.threading()} threads; auto's choice on a CPU"
        kernels = BackendStatus("cpp", True, note)
    return [
        BackendStatus("triton", triton_obstacle() is None, triton_obstacle() or _triton_note()),
        kernels,
        BackendStatus("chunked", True, "plain torch in blocks of rows, any device, O(N D) memory; auto's fallback"),
        BackendStatus("reference", True, "plain torch, materialises N x N: the definition, for checking"),
    ]


def triton_obstacle() -> str | None:
    """Why the Triton kernels cannot be used on this machine; None where they can."""
    if not _OBSTACLE:
        if torch.compiler.is_compiling():  # for a GPU that is there; how it is asked for must not be traced
            return None
        _OBSTACLE.append(_find_triton_obstacle())
    return _OBSTACLE[0]


_OBSTACLE: list[str | None] = []  # found once


def _find_triton_obstacle() -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (PyTorch for CUDA brings it along); CUDA tensors use chunked"
    version = _triton_version()
    if version is not None and version < OLDEST_TRITON:
        have, need = (".".join(map(str, x)) for x in (version, OLDEST_TRITON))
        return f"Triton {have} is installed, the kernels need {need} (PyTorch 2.9 brings it along) or newer"
    if interpreted():
        return None
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    if torch.version.hip is None and torch.cuda.get_device_capability() < OLDEST_CAPABILITY:
        return "the kernels need a GPU of compute capability 8.0 or newer; CUDA tensors use chunked"
    return None


def _triton_version() -> tuple[int, ...] | None:
    """Major and minor version of Triton by its package, whatever that is called; None where that is not known."""
    for name in ("triton", "pytorch-triton", "pytorch-triton-rocm", "triton-windows"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return tuple(int(part) for part in importlib.metadata.version(name).split(".")[:2])
    return None


def _triton_note() -> str:
    if interpreted():
        return "Triton kernels under the interpreter (TRITON_INTERPRET), for checking"
    return f"Triton kernels for {torch.cuda.get_device_name()}; auto's choice on a GPU"


def interpreted() -> bool:
    """Whether Triton interprets kernels, which then take CPU tensors."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")


def describe_extension() -> str:
    """The C++ extension in a few words."""
    return extension.describe(EXTENSION)
