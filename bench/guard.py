"""Calls that may fail in any way: what they return or why they do not, and the memory they leave behind given back."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


class DeviceLost(RuntimeError):
    """An error has made the GPU unusable for this process."""


def attempt(call: Callable[[], T], device: str) -> tuple[T | None, str]:
    """What a call returns, or None and the reason: compilers, other libraries and memory may fail in any way.

    Raises:
        DeviceLost: where the GPU cannot be used any more.
    """
    try:
        return call(), ""
    except DeviceLost:
        raise
    except torch.cuda.OutOfMemoryError:
        reason = "out of memory"
    except Exception as error:
        reason = one_line(error)
    # Not in the handlers: the exception holds the frames, and with them their tensors.
    try:
        release(device)
    except Exception as error:
        raise DeviceLost(f"the GPU is unusable after {reason}") from error
    return None, reason


def release(device: str) -> None:
    """Give unused memory back to a GPU; raises where an error has made it unusable for this process."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def one_line(error: BaseException) -> str:
    """An exception as a note has it."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
