"""Which backend computes pair_stats."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from ecgloss._transforms import needs_definition, needs_plain_torch
from ecgloss._validate import FLOATS, check_option
from ecgloss.engine import availability, chunked, dense, extension, ops, reference
from ecgloss.engine.normalise import without_autocast
from ecgloss.engine.stats import PairStats
from ecgloss.pairs import Layout, Rule, is_weighted

_PLAIN: dict[str, Callable[..., PairStats]] = {"chunked": chunked.pair_stats, "reference": reference.pair_stats}
_NAMES = ("auto", "triton", "cpp", "chunked", "reference")
ENVIRONMENT = "ECGLOSS_BACKEND"
MOST_EXCLUDED = 2  # shifts a tile of the Triton kernels checks for
FEW_PAIRS = 2**22  # 16 MiB per matrix in fp32: storing S takes less time than computing it twice


def pair_stats(
    q: Tensor | tuple[Tensor, Tensor],
    k: Tensor | None,
    temperature: float | Tensor,
    rule: Rule,
    *,
    alignment: str | None = None,
    term_weights: tuple[float, float] = (1.0, 0.0),
    backend: str = "auto",
) -> PairStats:
    """Row statistics of S = q^ k^T under a rule, without storing N x M (except on ``reference``).

    Args:
        q: (N, D) embeddings, not normalised, any float dtype; rows as the rule orders them. Or two such tensors of one
            dtype, which hold the rows one after the other, as two views do (no copy is made where a backend need not).
        k: (M, D) embeddings of the columns; None where the rule's layout is square, whose columns are the rows.
        temperature: tau > 0; a 0-d tensor that requires grad gets its gradient.
        rule: What relates a row to a column.
        alignment: Ask for the mean of (S^ - T)^2 with S^ = S (``"cosine"``) or S min-max scaled over all N^2 entries
            (``"minmax"``); the rule must then have weights W (:class:`~ecgloss.pairs.WeightedRule`) and be square.
        term_weights: The weights with which :meth:`PairStats.loss` will be called: kernels then have it ready.
        backend: ``"auto"`` (C++ kernels for CPU tensors, Triton kernels for CUDA tensors; elsewhere ``"chunked"``, or
            ``"reference"`` for up to 2^22 pairs),
            ``"triton"``, ``"cpp"``, ``"chunked"`` or ``"reference"``; the environment variable ECGLOSS_BACKEND
            overrides ``"auto"``.

    Returns:
        The statistics, fp32 (fp64 for fp64 embeddings); gradients reach q, k and the temperature.

    Raises:
        ValueError: for shapes, dtypes or devices that do not fit the rule's layout, for an ``alignment`` the rule has
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
    first, second = q if isinstance(q, tuple) else (q, None)
    _check_embeddings(first, second, k, rule.layout)
    _check_alignment(alignment, rule)
    return checked_pair_stats(first, second, k, temperature, rule, alignment, term_weights, backend)


def checked_pair_stats(
    first: Tensor,
    second: Tensor | None,
    k: Tensor | None,
    temperature: float | Tensor,
    rule: Rule,
    alignment: str | None = None,
    term_weights: tuple[float, float] = (1.0, 0.0),
    backend: str = "auto",
) -> PairStats:
    """:func:`pair_stats` of embeddings that the caller has checked; rows of ``first`` and then of ``second``."""
    name = select_backend(backend, first.device, first.dtype, rule)
    if needs_definition() or (name not in ("cpp", "triton") and needs_plain_torch()):
        name = "reference"
    if name in ("cpp", "triton"):  # normalise by themselves, in one pass with all else
        return ops.pair_stats(name, first, second, k, temperature, rule, alignment, term_weights)
    # Normalising and summing in half precision would lose the loss.
    with without_autocast(first.device.type):
        wide = torch.float64 if first.dtype == torch.float64 else torch.float32
        tau = _temperature(temperature, first.device, wide)
        if name == "dense":
            return dense.pair_stats(first, second, k, tau, rule, alignment, term_weights)
        return _PLAIN[name](*reference.unit_sides(first, second, k), tau, rule, alignment=alignment)


def select_backend(
    name: str, device: torch.device, dtype: torch.dtype = torch.float32, rule: Rule | None = None
) -> str:
    """The backend for embeddings, or a ``ValueError`` that says why there is none.

    Example:
        >>> select_backend("chunked", torch.device("cpu"))
        'chunked'
    """
    source = "backend"
    if name == "auto":
        name = os.environ.get(ENVIRONMENT) or "auto"
        source = f"backend (from the environment variable {ENVIRONMENT})"
    check_option(source, name, _NAMES)
    if name == "auto":
        return _automatic(device, dtype, rule)
    if name == "cpp" and availability.EXTENSION is not None:
        if device.type != "cpu":
            raise ValueError(f"{source} 'cpp' computes on a CPU; got tensors on {device}")
        return _kernels()
    if name == "triton" and availability.triton_obstacle() is None:
        reason = _unfit_for_triton(device, dtype, rule)
        if reason:
            raise ValueError(f"{source} 'triton' {reason}")
        return name
    if name not in _PLAIN:
        note = next(status.note for status in availability.backends() if status.name == name)
        raise ValueError(f"{source} {name!r} is not usable here: {note}")
    return name


def _automatic(device: torch.device, dtype: torch.dtype, rule: Rule | None) -> str:
    """The quickest backend for embeddings, of those that keep to O(N D) memory or a few MiB."""
    if device.type == "cpu":
        if availability.EXTENSION is not None:
            return _kernels()
        if not torch.compiler.is_compiling():
            _announce_fallback()
    elif availability.triton_obstacle() is None and _unfit_for_triton(device, dtype, rule) is None:
        return "triton"
    if rule is None or rule.layout.n_rows * rule.layout.n_columns > FEW_PAIRS:
        return "chunked"
    return "reference" if rule.layout.positive is None else "dense"


def _temperature(temperature: float | Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """0-d, where and in what plain torch computes."""
    if isinstance(temperature, Tensor):
        return temperature.to(device=device, dtype=dtype)
    return torch.full((), temperature, dtype=dtype, device=device)


def _kernels() -> str:
    """The C++ kernels, unless they are to use an instruction set that is not there."""
    if availability.EXTENSION_PROBLEM is not None:
        raise ValueError(availability.EXTENSION_PROBLEM)
    return "cpp"


def _unfit_for_triton(device: torch.device, dtype: torch.dtype, rule: Rule | None) -> str | None:
    """What the Triton kernels do not compute."""
    interpreted = availability.interpreted()
    if device.type != ("cpu" if interpreted else "cuda"):
        return f"computes on {'a CPU, under the interpreter' if interpreted else 'a GPU'}; got tensors on {device}"
    if dtype == torch.float64:
        return "computes in fp32 at most; got float64 embeddings (chunked takes them)"
    if rule is not None and not _fits_tiles(rule):
        return f"excludes at most {MOST_EXCLUDED} shifts of no more rows than columns; got {rule.layout}"
    return None


def _fits_tiles(rule: Rule) -> bool:
    """Whether a tile of the Triton kernels can find out which pairs a rule excludes."""
    layout = rule.layout
    shifts = {*layout.excluded, layout.positive} - {None}
    if is_weighted(rule) and layout.square and shifts != rule.zero_weight_shifts:
        return False  # W must be 0 where a pair is excluded, and only there
    return len(shifts) <= MOST_EXCLUDED and (not shifts or layout.n_rows <= layout.n_columns)


@functools.cache
def _announce_fallback() -> None:
    """Once per process."""
    warnings.warn(
        f'ecgloss: the C++ extension was {extension.NOT_BUILT}, so backend="auto" uses slower ones of plain torch; '
        "see `ecgloss info`",
        RuntimeWarning,
        stacklevel=5,  # the line that called the loss
    )


def _check_embeddings(q: Tensor, q2: Tensor | None, k: Tensor | None, layout: Layout) -> None:
    """Shapes as the layout has them; one width, device and accumulation dtype."""
    if layout.square != (k is None):
        accepted = "None: the rule compares rows with each other" if layout.square else "given: the rule has columns"
        raise ValueError(f"k must be {accepted}; got {'None' if k is None else tuple(k.shape)}")
    if isinstance(q2, Tensor) and isinstance(q, Tensor) and (q2.dtype, q2.device) != (q.dtype, q.device):
        raise ValueError(f"both parts of q must have one dtype and device; got {q.dtype} and {q2.dtype}")
    parts = [("q", q, layout.n_rows), ("k", k, layout.n_columns)]
    if isinstance(q2, Tensor) and q2.dim() == 2:
        parts[:1] = [("q", q, layout.n_rows - q2.shape[0]), ("q", q2, q2.shape[0])]
    for name, z, count in parts:
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


def _check_alignment(alignment: str | None, rule: Rule) -> None:
    """A target T = 1 - W needs weights, for all pairs of a square."""
    check_option("alignment", alignment, ops.ALIGNMENTS)
    if alignment is not None and not (is_weighted(rule) and rule.layout.square):
        raise ValueError(
            f"alignment {alignment!r} needs a rule with weights on a square layout; "
            f"got {type(rule).__name__} on {rule.layout}"
        )
