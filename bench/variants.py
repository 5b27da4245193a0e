"""Ways to compute a loss: plain torch, compiled, every backend of ecgloss, and other libraries where installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

import plain
import torch
from cases import FIRST, HALF, INFONCE, MAIN_WIDTH, SINGLE, Case
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
MODULES = {LIGHTLY: "lightly.loss", METRIC: "pytorch_metric_learning.losses"}
KERNELS = "triton"  # may break the process they run in
BACKENDS = {"cpu": ("cpp", "chunked", "reference"), "cuda": (KERNELS, "chunked")}
TAU = 0.07
# It compares all positive with all negative pairs: N x N^2 numbers, 0.5 GiB per tensor at 512 and 32 GiB at 2,048.
METRIC_LARGEST_N, REFERENCE_LARGEST_N = 512, 2048


def names(case: Case, machine: str) -> list[str]:
    """The variants that are measured on a CPU or a GPU, if they are there; the plain one first."""
    own = [name for name in BACKENDS[machine] if name != "reference" or case.n <= REFERENCE_LARGEST_N]
    compiled = [COMPILED] if machine == "cpu" or worth_compiling(case) else []
    return [PLAIN, *compiled, *own, *_losses(case.loss)[1]]


def worth_compiling(case: Case) -> bool:
    """Whether compiled code is a peer: on a GPU it is tried at some sizes only, as compiling takes long."""
    largest = {HALF: (32768, 4096), SINGLE: (8192, 0)}[case.dtype][case.loss not in FIRST]
    return case.d == MAIN_WIDTH and case.n <= largest


def missing(case: Case, name: str) -> str:
    """Why a variant of a case is not to be had here; "" if it is."""
    if name == LINEAR and not hasattr(torch.nn.functional, "linear_cross_entropy"):
        return f"torch {torch.__version__} does not have it"
    if name == METRIC and case.n > METRIC_LARGEST_N:
        return f"N x N^2 numbers, measured at N <= {METRIC_LARGEST_N:,} only"
    if name in MODULES:
        return _imported(MODULES[name])[1]
    return next((status.note for status in ecgloss.backends() if status.name == name and not status.usable), "")


def build(loss: str, name: str) -> Loss:
    """A loss by one of its variants. Nothing is compiled before it is called."""
    plain_loss, others = _losses(loss)
    if name in (PLAIN, COMPILED):
        return plain_loss if name == PLAIN else torch.compile(plain_loss, dynamic=False)
    return others[name] if name in others else backend(loss, name)


def backend(loss: str, name: str) -> Loss:
    """A loss of ecgloss on one of its backends."""
    if loss == INFONCE:  # rows against columns, column i the positive of row i
        matched = Layout.matched
        return lambda q, k, _: pair_stats(q, k, TAU, UniformPairs(matched(len(q), len(k))), backend=name).loss()
    if loss == "ntxent":
        return lambda a, b, risk: F.ntxent(a, b, backend=name)
    preset = loss.split()[1]
    return lambda a, b, risk: F.clef(a, b, risk, preset=preset, backend=name)


def step(loss: Loss, data: Data) -> None:
    """One forward and backward into fresh gradients."""
    for z in data[:2]:
        z.grad = None
    loss(*data).backward()


def _losses(loss: str) -> tuple[Loss, dict[str, Loss]]:
    """A loss from the formulas; and as torch itself and other libraries have it, to be called where they are there."""
    if loss == INFONCE:
        return lambda a, b, risk: plain.infonce(a, b), {LINEAR: _linear_cross_entropy}
    if loss == "ntxent":
        others: dict[str, Loss] = {LIGHTLY: lambda a, b, risk: _criterion(LIGHTLY)(a, b), METRIC: _metric_learning}
        return lambda a, b, risk: plain.ntxent(a, b), others
    return plain.clef_official if loss == "clef official" else plain.clef_paper, {}


@cache
def _imported(name: str) -> tuple[Any, str]:
    """A module, or None and why it is not to be had."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        return None, "not installed"
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # made for other versions of what they import, libraries fail in many ways
        return None, f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


@cache
def _criterion(name: str) -> Any:
    """NT-Xent of a library."""
    return _imported(MODULES[name])[0].NTXentLoss(temperature=TAU)


def _metric_learning(a: Tensor, b: Tensor, risk: Tensor) -> Any:  # which takes labels
    return _criterion(METRIC)(torch.cat([a, b]), torch.arange(len(a), device=a.device).repeat(2))


def _linear_cross_entropy(q: Tensor, k: Tensor, risk: Tensor) -> Any:
    """InfoNCE as a linear layer and its cross-entropy, in the chunks torch offers for large numbers of classes."""
    nn: Any = torch.nn  # not in every torch the benchmark runs on
    target = torch.arange(len(q), device=q.device)
    rows, columns = plain.unit(q) / TAU, plain.unit(k)
    return nn.functional.linear_cross_entropy(rows, columns, target, options=nn.LinearCrossEntropyOptions())
