"""What is installed and usable on this machine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform

import torch

import ecgloss
from ecgloss._extras import install_command
from ecgloss._words import counted
from ecgloss.engine.availability import describe_extension

EXTRAS = {
    "data": ("wfdb", "scipy", "pandas", "pyarrow", "tqdm"),
    "hdf5": ("h5py",),
    "edf": ("edfio",),
    "features": ("neurokit2",),
    "eval": ("sklearn", "scipy", "matplotlib"),
    "train": ("lightning_fabric", "safetensors", "jsonargparse", "yaml"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
}


def describe() -> str:
    """Version, devices, backends, instruction sets and extras, as text.

    Example:
        >>> describe().splitlines()[0].startswith("ecgloss ")
        True
    """
    lines = [
        f"ecgloss {ecgloss.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        f"devices: {', '.join(_devices())}",
        f"C++ extension: {describe_extension()}",
        "backends:",
        *(f"  {s.name:<10} {'usable' if s.usable else 'not usable'}: {s.note}" for s in ecgloss.backends()),
        "extras:",
        *(f"  {name:<10} {_extra(modules, name)}" for name, modules in EXTRAS.items()),
    ]
    return "\n".join(lines)


def _devices() -> list[str]:
    """Processors and accelerators torch can use."""
    found = [f"cpu ({counted(os.cpu_count() or 1, 'core')}, {counted(torch.get_num_threads(), 'torch thread')})"]
    found += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def _extra(modules: tuple[str, ...], extra: str) -> str:
    """Whether an extra is complete."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if not missing:
        return "installed"
    return f"incomplete, without {', '.join(missing)}: {install_command(extra)}"
