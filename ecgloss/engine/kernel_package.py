"""Where the kernels are: installed as ecgloss.kernels, or beside the package in a checkout."""

from __future__ import annotations

import functools
import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


@functools.cache
def kernels_module(name: str) -> ModuleType:
    """A module of ecgloss.kernels, which imports triton."""
    try:
        return importlib.import_module(f"ecgloss.kernels.{name}")
    except ModuleNotFoundError as error:
        if error.name != "ecgloss.kernels":
            raise
        use_checkout()
        return importlib.import_module(f"ecgloss.kernels.{name}")


def use_checkout() -> None:
    """In a checkout that is not installed, the kernels lie beside the package."""
    folder = Path(__file__).resolve().parents[2] / "kernels"
    spec = spec_from_file_location("ecgloss.kernels", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    package = module_from_spec(spec)
    spec.loader.exec_module(package)
    sys.modules["ecgloss.kernels"] = package
