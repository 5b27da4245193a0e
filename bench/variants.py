"""Ways to compute a case: plain torch, compiled, every backend of ecgloss, and other libraries where installed."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable

import plain
import torch
from cases import Case
from torch import Tensor

import ecgloss
import ecgloss.functional as F

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Data = tuple[Tensor, Tensor, Tensor]

PLAIN, COMPILED, LIGHTLY, METRIC = "plain", "plain compiled", "lightly", "pytorch-metric-learning"
PEERS = (PLAIN, COMPILED, LIGHTLY, METRIC)
# It compares all positive with all negative pairs: N x N^2 numbers, 0.5 GiB per tensor at 512 and 32 GiB at 2,048.
METRIC_LARGEST_N = 512
REFERENCE_LARGEST_N = 2048
OTHER_DEVICE = {"cpu": "triton", "cuda": "cpp"}


def variants(case: Case, device: str) -> dict[str, Loss]:
    """The case's loss by every variant there is here, the plain one first. Nothing is compiled before it is called."""
    plain_loss = _plain(case.loss)
    found: dict[str, Loss] = {PLAIN: plain_loss, COMPILED: torch.compile(plain_loss, dynamic=False)}
    for name in ecgloss_backends(device):
        if name != "reference" or case.n <= REFERENCE_LARGEST_N:
            found[name] = backend(case.loss, name)
    if case.loss == "ntxent":
        found.update(_libraries(case))
    return found


def ecgloss_backends(device: str) -> list[str]:
    """Names of ecgloss's backends that can be used here."""
    return [s.name for s in ecgloss.backends() if s.usable and s.name != OTHER_DEVICE[device]]


def backend(loss: str, name: str) -> Loss:
    """A loss of ecgloss on one of its backends."""
    if loss == "ntxent":
        return lambda a, b, risk: F.ntxent(a, b, backend=name)
    preset = loss.split()[1]
    return lambda a, b, risk: F.clef(a, b, risk, preset=preset, backend=name)


def seconds(loss: Loss, data: Data) -> float:
    """Time of one forward and backward."""
    for z in data[:2]:
        z.grad = None
    _synchronise(data)
    begin = time.perf_counter()
    loss(*data).backward()
    _synchronise(data)
    return time.perf_counter() - begin


def _plain(loss: str) -> Loss:
    """The loss from the formulas."""
    if loss == "ntxent":
        return lambda a, b, risk: plain.ntxent(a, b)
    return plain.clef_official if loss == "clef official" else plain.clef_paper


def _libraries(case: Case) -> dict[str, Loss]:
    """NT-Xent of other libraries."""
    found: dict[str, Loss] = {}
    if importlib.util.find_spec("lightly"):
        lightly = importlib.import_module("lightly.loss").NTXentLoss(temperature=0.07)
        found[LIGHTLY] = lambda a, b, risk: lightly(a, b)
    if importlib.util.find_spec("pytorch_metric_learning") and case.n <= METRIC_LARGEST_N:
        metric = importlib.import_module("pytorch_metric_learning.losses").NTXentLoss(temperature=0.07)
        found[METRIC] = lambda a, b, risk: metric(torch.cat([a, b]), torch.arange(len(a), device=a.device).repeat(2))
    return found


def _synchronise(data: Data) -> None:
    """Wait for a GPU."""
    if data[0].is_cuda:
        torch.cuda.synchronize()
