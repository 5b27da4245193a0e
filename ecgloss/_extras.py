"""Optional dependencies: import one, or say which extra brings it."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Dotted module name, e.g. ``"sklearn.linear_model"``.
        extra: The extra of ecgloss that installs it, e.g. ``"eval"``.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: if the module is not installed.

    Example:
        >>> require("math", "data").sqrt(4.0)
        2.0
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise  # the dependency is there, something it needs itself is not
        raise MissingExtraError(
            f"{module.split('.')[0]} is not installed; run: pip install 'ecgloss[{extra}]'"
        ) from error
