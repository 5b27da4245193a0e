"""Backends of pair_stats and compilers of torch as parameters of tests; without the extension, cpp skips visibly."""

from __future__ import annotations

import shutil

import pytest
import torch

import ecgloss
from ecgloss.engine.availability import interpreted

_CPP, _TRITON = (next(status for status in ecgloss.backends() if status.name == name) for name in ("cpp", "triton"))
needs_cpp = pytest.mark.skipif(not _CPP.usable, reason=f"backend cpp is not usable here: {_CPP.note}")
needs_triton = pytest.mark.skipif(not _TRITON.usable, reason=f"backend triton is not usable here: {_TRITON.note}")
INTERPRETED = interpreted()
TRITON_DEVICE = "cpu" if INTERPRETED else "cuda"
# The interpreter multiplies the bits of bf16 numbers, not the numbers.
HALF = [torch.float16] if INTERPRETED else [torch.float16, torch.bfloat16]
BACKENDS = ["reference", "chunked", pytest.param("cpp", marks=needs_cpp)]
STREAMING = BACKENDS[1:]  # those that never store N x N
USABLE = ["reference", "chunked", *(["cpp"] if _CPP.usable else [])]  # for hypothesis, which knows no marks
COMPILERS = [
    "aot_eager",
    pytest.param(
        "inductor",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(" " in torch.__file__, reason="torch's compiler does not quote paths with spaces"),
            pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler"),
        ],
    ),
]
