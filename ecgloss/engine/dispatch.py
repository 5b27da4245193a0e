"""Which backend computes pair_stats."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ecgloss._validate import FLOATS, check_option
from ecgloss.engine import chunked, cpp, reference
from ecgloss.engine.normalise import first_order, normalise
from ecgloss.engine.stats import PairStats
from ecgloss.pairs import Layout, RiskPairs, Rule

Backend = Callable[..., PairStats]
_BACKENDS: dict[str, Backend] = {"cpp": cpp.pair_stats, "chunked": chunked.pair_stats, "reference": reference.pair_stats}
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
    q: Tensor,
    k: Tensor | None,
    temperature: float | Tensor,
    rule: Rule,
    *,
    similarity: str | None = None,
    backend: str = "auto",
) -> PairStats:
    """Row statistics of S = q^ k^T under a rule, without storing N x M (except on ``reference``).

    Args:
        q: (N, D) embeddings, not normalised, any float dtype; rows as the rule orders them.
        k: (M, D) embeddings of the columns; None where the rule's layout is square, whose columns are the rows.
        temperature: tau > 0; a 0-d tensor that requires grad gets its gradient.
        rule: What relates a row to a column.
        similarity: Ask for the mean of (S^ - T)^2 with S^ = S (``"cosine"``) or S min-max scaled over all N^2 entries
            (``"minmax"``); the rule must then be a square :class:`~ecgloss.pairs.RiskPairs`.
        backend: ``"auto"``, ``"chunked"`` or ``"reference"``; the environment variable ECGLOSS_BACKEND overrides
            ``"auto"``.

    Returns:
        The statistics, fp32 (fp64 for fp64 embeddings); gradients reach q, k and the temperature.

    Raises:
        ValueError: for shapes, dtypes or devices that do not fit the rule's layout, for a ``similarity`` the rule has
            no weights for, and for a backend that does not exist or is not usable here.
        TypeError: for embeddings that are no float tensors.

    Example:
        >>> from ecgloss.pairs import Layout, UniformPairs, view_pairs
        >>> z = torch.eye(4)
        >>> stats = pair_stats(z, None, 1.0, view_pairs(2))
        >>> [round(x, 4) for x in stats.negative_lse.tolist()]  # log(e^0 + e^0)
        [0.6931, 0.6931, 0.6931, 0.6931]
        >>> pair_stats(z[:2], z, 1.0, UniformPairs(Layout.matched(2, 4))).positive_lse
        tensor([1., 1.])
    """
    compute = select_backend(backend)
    _check_embeddings(q, k, rule.layout)
    _check_similarity(similarity, rule)
    if compute is cpp.pair_stats:  # normalises by itself, in one pass with all else
        return cpp.pair_stats(q, k, temperature, rule, similarity=similarity)
    with torch.autocast(q.device.type, enabled=False):  # normalising and summing in half precision would lose the loss
        rows = _unit(q)
        columns = None if k is None else _unit(k)
        if isinstance(temperature, Tensor):
            tau = first_order(temperature) if temperature.requires_grad else temperature
            tau = tau.to(device=rows.device, dtype=rows.dtype)
        else:
            tau = torch.full((), temperature, dtype=rows.dtype, device=rows.device)
        return compute(rows, columns, tau, rule, similarity=similarity)


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


def _unit(z: Tensor) -> Tensor:
    """Normalised rows whose gradient refuses to be differentiated."""
    return normalise(first_order(z) if z.requires_grad else z)


def _check_embeddings(q: Tensor, k: Tensor | None, layout: Layout) -> None:
    """Shapes as the layout has them; one width, device and accumulation dtype."""
    if layout.square != (k is None):
        accepted = "None: the rule compares rows with each other" if layout.square else "given: the rule has columns"
        raise ValueError(f"k must be {accepted}; got {'None' if k is None else tuple(k.shape)}")
    for name, z, count in (("q", q, layout.n_rows), ("k", k, layout.n_columns)):
        if z is None:
            continue
        if not isinstance(z, Tensor) or z.dtype not in FLOATS:
            got = z.dtype if isinstance(z, Tensor) else type(z).__name__
            raise TypeError(f"{name} must be a float16, bfloat16, float32 or float64 tensor; got {got}")
        if z.dim() != 2 or z.shape[0] != count or z.shape[1] < 1:
            raise ValueError(f"{name} must have shape ({count}, D) with D >= 1 for this rule; got {tuple(z.shape)}")
    if k is None:
        return
    if k.shape[1] != q.shape[1]:
        raise ValueError(f"k must have the width of q, {q.shape[1]}; got {k.shape[1]}")
    if k.device != q.device:
        raise ValueError(f"k must be on the device of q, {q.device}; got {k.device}")
    if (k.dtype == torch.float64) != (q.dtype == torch.float64):
        raise ValueError(f"q and k must both be float64, or neither; got {q.dtype} and {k.dtype}")


def _check_similarity(similarity: str | None, rule: Rule) -> None:
    """A target T = 1 - W needs weights, and the closed forms need the whole square."""
    check_option("similarity", similarity, ("cosine", "minmax", None))
    if similarity is not None and not (isinstance(rule, RiskPairs) and rule.layout.square):
        raise ValueError(
            f"similarity {similarity!r} needs a rule with weights on a square layout, RiskPairs; "
            f"got {type(rule).__name__} on {rule.layout}"
        )


def _extension() -> str:
    """Whether the C++ extension was built, in a few words."""
    features = cpu_features()
    if features is None:
        return "and its C++ extension was not built: there was no compiler, or no installation"
    return f"its C++ extension is built; this machine has {', '.join(features) or 'no vector instructions'}"
