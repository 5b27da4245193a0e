"""Optional dependencies: import one, or say which extra brings it."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shlex
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
            f"{module.split('.')[0]} is not installed, which the extra {extra} brings; run: {install_command(extra)}"
        ) from error


def install_command(extra: str) -> str:
    """The command that installs what an extra brings, whether ecgloss came from a checkout or from a wheel.

    Example:
        >>> install_command("eval")
        "pip install 'scikit-learn>=1.4' 'scipy>=1.13' 'matplotlib>=3.9'"
    """
    try:
        return f"pip install {shlex.join(_requirements(extra))}"
    except importlib.metadata.PackageNotFoundError:  # a checkout on the path
        return f"pip install '.[{extra}]' in the checkout of ecgloss"


def _requirements(extra: str) -> list[str]:
    """What an extra requires, with the extras it includes."""
    found: list[str] = []
    for line in importlib.metadata.requires("ecgloss") or []:
        requirement, _, condition = (part.strip() for part in line.partition(";"))
        if not re.search(rf"extra == ['\"]{extra}['\"]", condition):
            continue
        included = re.fullmatch(r"ecgloss\[(.*)\]", requirement)
        found += [x for name in included[1].split(",") for x in _requirements(name)] if included else [requirement]
    return list(dict.fromkeys(found))
