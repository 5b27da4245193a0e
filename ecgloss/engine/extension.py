"""The C++ extension, where it was built, and the instruction set of its kernels."""

from __future__ import annotations

import importlib
import os
from typing import Any

NOT_BUILT = "not built (there was no compiler, or no installation)"
INSTRUCTION_SET = "ECGLOSS_INSTRUCTION_SET"  # environment variable


def load() -> Any:
    """The C++ extension, or None."""
    try:
        return importlib.import_module("ecgloss._C")
    except ImportError:
        return None


def choose_instruction_set(extension: Any) -> str | None:
    """Use the instruction set that the environment variable names, if any; what is wrong with it, or None.

    Results depend on the instruction set by rounding: who wants the bits of another machine names one that both have.
    """
    name = os.environ.get(INSTRUCTION_SET)
    if extension is None or not name:
        return None
    try:
        extension.use_instruction_set(name)
    except ValueError as error:
        return f"environment variable {INSTRUCTION_SET}: {error}"
    return None


def describe(extension: Any) -> str:
    """In a few words: the instruction set in use, the others that run here, what the machine has."""
    if extension is None:
        return NOT_BUILT
    in_use, features = extension.instruction_set(), ", ".join(extension.cpu_features())
    others = ", ".join(name for name in extension.instruction_sets() if name != in_use)
    return (
        f"built; kernels for {in_use} (also here: {others or 'none'}); this machine has {features or 'none it knows'}"
    )
