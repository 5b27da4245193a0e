"""The machine a benchmark ran on: what it is called, and how much arithmetic it does at most."""

from __future__ import annotations

import datetime
import importlib
import importlib.util
import platform
import re
import statistics
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from cases import DTYPES, Case
from timing import interleaved


def describe(device: str) -> dict[str, str]:
    """Device, versions and date, as the header of a result file; of a CPU also threads and instruction set."""
    if device == "cuda":
        triton = importlib.util.find_spec("triton") and importlib.import_module("triton").__version__
        header = {"device": torch.cuda.get_device_name(), "CUDA": str(torch.version.cuda), "triton": str(triton)}
        header["fp32 products"] = torch.get_float32_matmul_precision()
    else:
        path = Path("/proc/cpuinfo")  # the model, as Linux names it
        model = re.search(r"model name\s*: (.*)", path.read_text(encoding="utf-8") if path.exists() else "")
        processor = model[1] if model else platform.machine()
        header = {"device": f"{device} ({processor}, {torch.get_num_threads()} threads)"}
    header |= {"torch": torch.__version__, "date": datetime.date.today().isoformat()}
    if device == "cpu" and _extension() is not None:
        header["instruction set"] = str(_extension().instruction_set())
    return header


def rate(case: Case, variant: str, device: str) -> dict[str, float]:
    """Operations per second that a variant could do at most, measured now, as clocks change; nothing where unknown.

    On a CPU multiply-adds of fp32 on all torch threads; on a GPU those of a large product of matrices.
    """
    if device == "cuda":
        dtype = "float32" if variant == "chunked" else case.dtype  # chunked widens its embeddings
        return {f"{DTYPES[dtype]} matrix rate": _matrix_rate(dtype, case)}
    return {"FMA rate": _extension().fma_rate(torch.get_num_threads(), 0.2)} if _extension() else {}


@lru_cache(maxsize=2)
def _matrix_rate(dtype: str, case: Case, size: int = 8192) -> float:
    """Operations per second of a product of random square matrices on the GPU, once for each case."""
    a, b = (torch.randn(size, size, device="cuda").to(getattr(torch, dtype)) for _ in range(2))
    multiply = partial(torch.mm, a, b, out=torch.empty_like(a))
    multiply()
    return float(2 * size**3 / statistics.median(interleaved([multiply], "cuda")[0]))


def _extension() -> Any:
    """ecgloss's C++ extension, or None."""
    try:
        return importlib.import_module("ecgloss._C")
    except ImportError:
        return None
