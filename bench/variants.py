"""Ways to compute a case: plain torch, compiled, every backend of ecgloss, and other libraries where installed."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import plain
import torch
from cases import INFONCE, Case
from guard import one_line
from torch import Tensor

import ecgloss
import ecgloss.functional as F
from ecgloss.engine import pair_stats
from ecgloss.pairs import Layout, UniformPairs

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Data = tuple[Tensor, Tensor, Tensor]

PLAIN, COMPILED, LIGHTLY, METRIC = "plain", "plain compiled", "lightly", "pytorch-metric-learning"
LINEAR = "F.linear_cross_entropy"  # of torch itself, from 2.13 on
PEERS = (PLAIN, COMPILED, LIGHTLY, METRIC, LINEAR)
TEMPERATURE = 0.07
# It compares all positive with all negative pairs: N x N^2 numbers, 0.5 GiB per tensor at 512 and 32 GiB at 2,048.
METRIC_LARGEST_N = 512
REFERENCE_LARGEST_N = 2048
BACKENDS = {"cpu": ("cpp", "chunked", "reference"), "cuda": ("triton", "chunked")}


def variants(case: Case, device: str) -> dict[str, Loss]:
    """The case's loss by every variant for a device, the plain one first. Nothing is compiled before it is called."""
    plain_loss = _plain(case.loss)
    found: dict[str, Loss] = {PLAIN: plain_loss, COMPILED: torch.compile(plain_loss, dynamic=False)}
    for name in ecgloss_backends(device):
        if name != "reference" or case.n <= REFERENCE_LARGEST_N:
            found[name] = backend(case.loss, name)
    missing = absent(case)
    for name, loss in _others(case.loss).items():
        if name not in missing:
            found[name] = loss
    return found


def absent(case: Case) -> dict[str, str]:
    """Peers that offer the case's loss and cannot be measured, and why."""
    if case.loss == INFONCE:
        here = hasattr(torch.nn.functional, "linear_cross_entropy")
        return {} if here else {LINEAR: f"torch {torch.__version__} does not have it"}
    if case.loss != "ntxent":
        return {}
    reasons = {LIGHTLY: _imported("lightly.loss")[1], METRIC: _imported("pytorch_metric_learning.losses")[1]}
    if case.n > METRIC_LARGEST_N and not reasons[METRIC]:
        reasons[METRIC] = f"N x N^2 numbers, measured at N <= {METRIC_LARGEST_N:,} only"
    return {name: reason for name, reason in reasons.items() if reason}


def ecgloss_backends(device: str) -> list[str]:
    """Names of ecgloss's backends for a device, as far as they are usable here."""
    return [s.name for s in ecgloss.backends() if s.usable and s.name in BACKENDS[device]]


def backend(loss: str, name: str) -> Loss:
    """A loss of ecgloss on one of its backends."""
    if loss == INFONCE:
        return lambda a, b, risk: _infonce(a, b, name)
    if loss == "ntxent":
        return lambda a, b, risk: F.ntxent(a, b, backend=name)
    preset = loss.split()[1]
    return lambda a, b, risk: F.clef(a, b, risk, preset=preset, backend=name)


def step(loss: Loss, data: Data) -> None:
    """One forward and backward into fresh gradients."""
    for z in data[:2]:
        z.grad = None
    loss(*data).backward()


def seconds(loss: Loss, data: Data) -> float:
    """Time of one forward and backward on a CPU."""
    begin = time.perf_counter()
    step(loss, data)
    return time.perf_counter() - begin


def _plain(loss: str) -> Loss:
    """The loss from the formulas."""
    if loss == INFONCE:
        return lambda a, b, risk: plain.infonce(a, b)
    if loss == "ntxent":
        return lambda a, b, risk: plain.ntxent(a, b)
    return plain.clef_official if loss == "clef official" else plain.clef_paper


def _others(loss: str) -> dict[str, Loss]:
    """A loss as other libraries have it, and torch itself; to be called where they are there."""
    if loss == INFONCE:
        return {LINEAR: _linear_cross_entropy}
    return {LIGHTLY: _lightly, METRIC: _metric_learning} if loss == "ntxent" else {}


@cache
def _imported(name: str) -> tuple[Any, str]:
    """A module, or None and why it is not to be had."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        return None, "not installed"
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # made for other versions of what they import, libraries fail in many ways
        return None, one_line(error)


@cache
def _criterion(module: str) -> Any:
    """NT-Xent of a library."""
    return _imported(module)[0].NTXentLoss(temperature=TEMPERATURE)


def _lightly(a: Tensor, b: Tensor, risk: Tensor) -> Tensor:
    """NT-Xent of lightly."""
    loss: Tensor = _criterion("lightly.loss")(a, b)
    return loss


def _metric_learning(a: Tensor, b: Tensor, risk: Tensor) -> Tensor:
    """NT-Xent of pytorch-metric-learning, which is told which rows belong together."""
    samples = torch.arange(len(a), device=a.device).repeat(2)
    loss: Tensor = _criterion("pytorch_metric_learning.losses")(torch.cat([a, b]), samples)
    return loss


def _infonce(q: Tensor, k: Tensor, name: str) -> Tensor:
    """InfoNCE on a backend: rows against columns, column i the positive of row i."""
    rule = UniformPairs(Layout.matched(len(q), len(k)))
    return pair_stats(q, k, TEMPERATURE, rule, backend=name).loss()


def _linear_cross_entropy(q: Tensor, k: Tensor, risk: Tensor) -> Tensor:
    """InfoNCE as a linear layer and its cross-entropy, in the chunks torch offers for large numbers of classes."""
    nn: Any = torch.nn  # not in every torch the benchmark runs on
    target = torch.arange(len(q), device=q.device)
    rows, columns = plain.unit(q) / TEMPERATURE, plain.unit(k)
    loss: Tensor = nn.functional.linear_cross_entropy(rows, columns, target, options=nn.LinearCrossEntropyOptions())
    return loss
