"""The backends of pair_stats as parameters of tests; what needs the C++ extension is skipped, visibly, without it."""

from __future__ import annotations

import pytest

import ecgloss

_CPP = next(status for status in ecgloss.backends() if status.name == "cpp")
needs_cpp = pytest.mark.skipif(not _CPP.usable, reason=f"backend cpp is not usable here: {_CPP.note}")
BACKENDS = ["reference", "chunked", pytest.param("cpp", marks=needs_cpp)]
STREAMING = BACKENDS[1:]  # those that never store N x N
USABLE = ["reference", "chunked", *(["cpp"] if _CPP.usable else [])]  # for hypothesis, which knows no marks
