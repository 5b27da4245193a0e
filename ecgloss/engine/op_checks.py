"""What is checked of a call of ``torch.ops.ecgloss``, where anybody may come from; the package itself calls below this.

C++ checks the rest on its own (csrc/checks.cpp). GPU kernels read memory without looking: for them, everything is
checked here. None of it reads the content of a tensor on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ecgloss.pairs.encoding import Kind, RuleCode, RuleNumbers, Side

_MOST_EXCLUDED = 8  # as in csrc/problem.h
_LARGEST_NORM, _ALIGNMENTS = 2, 3
Shapes = Callable[..., tuple[Tensor, ...]]


def check_embeddings(q: Tensor, q2: Tensor | None, k: Tensor | None, temperature: Tensor, square: bool) -> None:
    """Refuse embeddings that do not fit each other, and a temperature that is not one number.

    Raises:
        ValueError: Names the argument, what came and what is accepted.

    Example:
        >>> check_embeddings(torch.ones(3, 2), None, torch.ones(3, 4), torch.tensor(0.1), square=False)
        Traceback (most recent call last):
        ...
        ValueError: k must have shape (N, 2) with at least one row, and float dtype on cpu, as q has; got (3, 4), \
torch.float32 on cpu
    """
    width = q.shape[1] if q.dim() == 2 else 0
    for name, x in (("q", q), ("q2", q2), ("k", k)):
        if x is None:
            continue
        fits = x.dim() == 2 and x.shape[1] == width > 0 and x.device == q.device and x.dtype.is_floating_point
        if not fits or (x.shape[0] == 0 and name != "q2") or (name == "q2" and x.dtype != q.dtype):
            raise ValueError(
                f"{name} must have shape (N, {width or 'D'}) with at least one row, and float dtype on {q.device}, "
                f"as q has; got {tuple(x.shape)}, {x.dtype} on {x.device}"
            )
    if (k is None) != square:
        raise ValueError(f"k must be {'None, for a square layout' if square else 'given, for this layout'}")
    _check_temperature(temperature)


def is_square(layout: Sequence[int]) -> bool:
    """Whether a layout says that columns are rows.

    Raises:
        ValueError: If it is no layout.
    """
    shifts = layout[2:]
    if not 2 <= len(layout) <= 2 + _MOST_EXCLUDED or layout[0] not in (0, 1) or len(set(shifts)) != len(shifts):
        raise ValueError(
            f"layout must be square (0 or 1), positive, and up to {_MOST_EXCLUDED} different excluded shifts; got "
            f"{list(layout)}"
        )
    return layout[0] == 1


def check_rule(
    side: Side,
    code: Sequence[int],
    numbers: Sequence[float],
    layout: Sequence[int],
    alignment: int,
    term_weights: Sequence[float],
    sizes: Sequence[int],
    device: torch.device,
) -> None:
    """Refuse codes out of range, and side information for a GPU that does not fit them or the sizes.

    Raises:
        ValueError: Names the argument, what came and what is accepted.
    """
    _check_lengths(code=(code, len(RuleCode._fields)), numbers=(numbers, 3), term_weights=(term_weights, 2))
    n, _, m, _ = sizes
    square, positive, *shifts = layout
    in_range = {
        "code: kind": (code[0], 0, max(Kind)),
        "alignment": (alignment, 0, _ALIGNMENTS - 1),
        "layout: positive": (positive, -1, m - 1),
        **{f"layout: excluded shift {k}": (shift, 0, m - 1) for k, shift in enumerate(shifts)},
    }
    _check_ranges(in_range)
    rule = RuleCode(*code)
    kind = Kind(rule.kind)
    risk, by_row = kind == Kind.RISK, kind in (Kind.FEATURES, Kind.GAUSSIAN)
    in_range = {
        "code: norm": (rule.norm, 0, _LARGEST_NORM),
        "code: power": (rule.power, 1 if risk else 0, 2),
        **{f"code: {name}": (getattr(rule, name), 0, 1) for name in ("unknown_is_zero", "revert", "overlap")},
        "code: width": (rule.width, 1 if risk or by_row else 0, 2**31 - 1),
        "code: samples": (rule.samples, 1 if risk else 0, n if square else n + m),
    }
    _check_ranges(in_range)
    if not all(map(math.isfinite, (*RuleNumbers(*numbers), *term_weights))):
        raise ValueError(f"numbers and term_weights must be finite; got {list(numbers)}, {list(term_weights)}")
    if risk and (n % rule.samples if square else rule.samples != n + m):
        raise ValueError(f"code: samples must divide {n} rows, or be all rows and columns; got {rule.samples}")
    if shifts and n > m:
        raise ValueError(f"a layout with excluded shifts must have a column for every row; got {n} rows, {m} columns")
    if positive >= 0 and (kind.has_many_positives or positive not in shifts):
        raise ValueError(f"layout: positive must be -1, or an excluded shift of a rule without others; got {positive}")
    if alignment and not (risk and square):
        raise ValueError(f"alignment must be 0 unless the rule has risks and the layout is square; got {alignment}")
    labelled = kind == Kind.LABELS or (kind == Kind.FEATURES and side.row_labels is not None)
    per_row = rule.samples if risk else n
    expected: dict[str, tuple[tuple[int, ...], torch.dtype] | None] = {
        "values": ((per_row, rule.width), torch.float64 if risk else torch.float32) if risk or by_row else None,
        "column_values": ((m, rule.width), torch.float32) if by_row and not square else None,
        "missing": ((rule.samples,), torch.float64) if risk and side.missing is not None else None,
        "row_labels": ((n,), torch.int64) if labelled else None,
        "column_labels": ((m,), torch.int64) if labelled and not square else None,
    }
    for name, x in side._asdict().items():
        _check_tensor(name, x, expected[name], device)


def check_buffers(
    shapes: Shapes, grads: Sequence[Tensor | None], packed: Tensor, saved: Tensor, temperature: Tensor,
    sizes: Sequence[int], q_dtype: torch.dtype, k_dtype: torch.dtype, wanted: Sequence[bool], layout: Sequence[int],
    code: Sequence[int], term_weights: Sequence[float],
) -> None:  # fmt: skip
    """Refuse buffers that are not as the forward of the same problem leaves them.

    ``shapes`` is ``forward_shapes`` of the engine; all else is as the op has it.

    Raises:
        ValueError: Names the argument, what came and what is accepted.
    """
    _check_lengths(sizes=(sizes, 4), wanted=(wanted, 4), term_weights=(term_weights, 2))
    if layout[0] and wanted[2]:
        raise ValueError("wanted[2], the gradient of k, must be False for a square layout, which has no k; got True")
    n, first, m, width = sizes
    if not (0 <= first <= n and n >= 1 and m >= 1 and width >= 1) or (layout[0] and n != m):
        raise ValueError(
            f"sizes must be rows of q with q2, of q, of k (of q where k is q), and width; got {list(sizes)}"
        )

    def like(rows: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(rows, width, dtype=dtype, device="meta")

    q, q2 = like(first, q_dtype), like(n - first, q_dtype) if n > first else None
    k = None if layout[0] else like(m, k_dtype)
    whole = shapes(q, q2, k, None, None, None, None, None, None, list(code))
    for name, x, as_left in zip(("packed", "saved"), (packed, saved), whole[-2:]):
        _check_tensor(name, x, (tuple(as_left.shape), as_left.dtype), packed.device)
    _check_temperature(temperature)
    for name, g, result in zip(("g_loss", "g_contrastive", "g_alignment", "g_rows"), grads, whole):
        if g is not None:
            _check_tensor(name, g, (tuple(result.shape), result.dtype), packed.device)


def _check_temperature(temperature: Tensor) -> None:
    if temperature.numel() != 1 or not temperature.dtype.is_floating_point:
        raise ValueError(
            f"temperature must be one floating-point number; got {tuple(temperature.shape)}, {temperature.dtype}"
        )


def _check_lengths(**lists: tuple[Sequence[object], int]) -> None:
    for name, (entries, length) in lists.items():
        if len(entries) != length:
            raise ValueError(f"{name} must have {length} entries; got {len(entries)}")


def _check_ranges(numbers: dict[str, tuple[int, int, int]]) -> None:
    for name, (value, low, high) in numbers.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must lie in [{low}, {high}]; got {value}")


def _check_tensor(
    name: str, x: Tensor | None, expected: tuple[tuple[int, ...], torch.dtype] | None, device: torch.device
) -> None:
    if x is None and expected is None:
        return
    if x is None or expected is None:
        accepted = "None" if expected is None else f"{expected[0]}, {expected[1]}"
        came = "None" if x is None else f"{tuple(x.shape)}, {x.dtype}"
        raise ValueError(f"{name} must be {accepted}, for this rule; got {came}")
    if (tuple(x.shape), x.dtype, x.device) != (*expected, device):
        raise ValueError(
            f"{name} must be {expected[0]}, {expected[1]} on {device}; got {tuple(x.shape)}, {x.dtype} on {x.device}"
        )
