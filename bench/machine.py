"""The machine a benchmark ran on: what it is called, and how much arithmetic it does at most."""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import torch


def describe(device: str) -> dict[str, str]:
    """Device, versions and date, as the header of a result file; of a CPU also threads and instruction set."""
    if device == "cuda":
        header = {"device": processor(device), "CUDA": str(torch.version.cuda), "triton": _version("triton")}
    else:
        header = {"device": f"{device} ({processor(device)}, {torch.get_num_threads()} threads)"}
    header |= {"torch": torch.__version__, "date": datetime.date.today().isoformat()}
    instruction_set = getattr(_extension(), "instruction_set", None)
    if device == "cpu" and instruction_set is not None:
        header["instruction set"] = str(instruction_set())
    return header


def processor(device: str) -> str:
    """Model of the GPU, or of the CPU as Linux names it."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def fma_rate(seconds: float = 0.2) -> float | None:
    """Most fp32 multiply-adds all torch threads do together, in flop/s; None without ecgloss's C++ extension."""
    measure = getattr(_extension(), "fma_rate", None)
    return None if measure is None else float(measure(torch.get_num_threads(), seconds))


def _extension() -> Any:
    """ecgloss's C++ extension, or None."""
    try:
        return importlib.import_module("ecgloss._C")
    except ImportError:
        return None


def _version(package: str) -> str:
    """What is installed, or that nothing is."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
