"""Which backend computes pair_stats."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ecgloss._validate import check_option
from ecgloss.engine import chunked, reference
from ecgloss.engine.normalise import first_order, normalise
from ecgloss.engine.stats import PairStats
from ecgloss.pairs import ViewPairs

Backend = Callable[..., PairStats]
_BACKENDS: dict[str, Backend] = {"chunked": chunked.pair_stats, "reference": reference.pair_stats}
_NAMES = ("auto", "triton", "cpp", "chunked", "reference")
_AUTO = "chunked"
ENVIRONMENT = "ECGLOSS_BACKEND"


@dataclass(frozen=True)
class BackendStatus:
    """One backend as it stands on this machine.

    Attributes:
        name: What ``backend=`` takes.
        usable: Whether it can be used here.
        note: What it is, or why it is not usable.
    """

    name: str
    usable: bool
    note: str


def backends() -> list[BackendStatus]:
    """What is usable here, and why the others are not.

    Example:
        >>> [status.name for status in backends() if status.usable]
        ['chunked', 'reference']
    """
    return [
        BackendStatus("triton", False, "this version has no Triton kernels yet; CUDA tensors use chunked"),
        BackendStatus(
            "cpp",
            False,
            f"this version has no C++ loss kernels yet ({_extension()}); CPU tensors use chunked",
        ),
        BackendStatus("chunked", True, "plain torch in blocks of rows, any device, O(N D) memory; what auto picks"),
        BackendStatus("reference", True, "plain torch, materialises N x N: the definition, for checking"),
    ]


def pair_stats(
    z: Tensor,
    temperature: float | Tensor,
    rule: ViewPairs,
    *,
    similarity: str | None = None,
    backend: str = "auto",
) -> PairStats:
    """Row statistics of S = z^ z^T under a rule, without storing N x N (except on ``reference``).

    Args:
        z: (N, D) embeddings, not normalised, any float dtype; rows as the rule orders them.
        temperature: tau > 0; a 0-d tensor that requires grad gets its gradient.
        rule: What relates two rows.
        similarity: Ask for the mean of (S^ - T)^2 with S^ = S (``"cosine"``) or S min-max scaled over all N^2 entries
            (``"minmax"``); the rule must then have weights.
        backend: ``"auto"``, ``"chunked"`` or ``"reference"``; the environment variable ECGLOSS_BACKEND overrides
            ``"auto"``.

    Returns:
        The statistics, fp32 (fp64 for fp64 embeddings).

    Raises:
        ValueError: for a backend that does not exist or is not usable here.

    Example:
        >>> z = torch.eye(4)
        >>> stats = pair_stats(z, 1.0, ViewPairs(2))
        >>> [round(x, 4) for x in stats.negative_lse.tolist()]  # log(e^0 + e^0)
        [0.6931, 0.6931, 0.6931, 0.6931]
    """
    compute = select_backend(backend)
    with torch.autocast(z.device.type, enabled=False):  # normalising and summing in half precision would lose the loss
        unit = normalise(first_order(z) if z.requires_grad else z)
        if isinstance(temperature, Tensor):
            tau = first_order(temperature) if temperature.requires_grad else temperature
            tau = tau.to(device=unit.device, dtype=unit.dtype)
        else:
            tau = torch.full((), temperature, dtype=unit.dtype, device=unit.device)
        return compute(unit, tau, rule, similarity=similarity)


def select_backend(name: str) -> Backend:
    """The function behind a backend's name, or a ``ValueError`` that says why there is none."""
    source = "backend"
    if name == "auto":
        name = os.environ.get(ENVIRONMENT) or _AUTO
        source = f"backend (from the environment variable {ENVIRONMENT})"
    check_option(source, name, _NAMES)
    if name == "auto":
        name = _AUTO
    if name not in _BACKENDS:
        note = next(status.note for status in backends() if status.name == name)
        raise ValueError(f"{source} {name!r} is not usable here: {note}")
    return _BACKENDS[name]


def cpu_features() -> list[str] | None:
    """Vector instruction sets of this machine, e.g. ["avx2", "fma"]; None if the C++ extension was not built."""
    try:
        extension = importlib.import_module("ecgloss._C")
    except ImportError:
        return None
    features: list[str] = extension.cpu_features()
    return features


def _extension() -> str:
    """Whether the C++ extension was built, in a few words."""
    features = cpu_features()
    if features is None:
        return "and its C++ extension was not built: there was no compiler, or no installation"
    return f"its C++ extension is built; this machine has {', '.join(features) or 'no vector instructions'}"
