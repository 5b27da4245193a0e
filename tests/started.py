"""Processes that start at once: torch and the training loop are imported in one server, from which they are forked."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from typing import Any

import torch.multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["ecgloss.train.pretrain", "ecgloss.data.opening", "wfdb", "scipy.signal"])


def start(function: Callable[..., object], *arguments: Any) -> ForkServerProcess:
    """Call a function of a module in a process of its own."""
    process = CONTEXT.Process(target=function, args=arguments)
    process.start()
    return process


def start_ranks(function: Callable[..., object], arguments: tuple[Any, ...], ranks: int) -> None:
    """Call a function (rank, *arguments) in as many processes, and wait for all."""
    torch.multiprocessing.start_processes(function, arguments, ranks, start_method="forkserver")
