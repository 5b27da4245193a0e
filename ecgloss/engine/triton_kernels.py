"""The Triton kernels behind the ops: rules from words to what kernels are compiled for, and the buffers they fill."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ecgloss.engine.cpp_kernels import sizes_of
from ecgloss.engine.description import SIMILARITIES
from ecgloss.pairs import WEIGHT_NORMS, RiskPairs, Rule
from ecgloss.weights import RiskWeights

MOST_EXCLUDED = 2  # shifts a tile checks for


def takes(rule: Rule) -> bool:
    """Whether a tile can tell which pairs a rule excludes."""
    layout = rule.layout
    shifts = {*layout.excluded, layout.positive} - {None}
    if isinstance(rule, RiskPairs) and layout.square:  # W is 0 where a pair is excluded, and only there
        samples = rule.weights.n_samples
        if shifts != set(range(0, layout.n_rows, samples)):
            return False
    return len(shifts) <= MOST_EXCLUDED and (not shifts or layout.n_rows <= layout.n_columns)


def forward(
    q: Tensor,
    q2: Tensor | None,
    k: Tensor | None,
    temperature: Tensor,
    values: Tensor | None,
    column_values: Tensor | None,
    missing: Tensor | None,
    row_labels: Tensor | None,
    column_labels: Tensor | None,
    rule: list[int],
    numbers: list[float],
    layout: list[int],
    similarity: int,
    term_weights: list[float],
    engine: str,
) -> tuple[Tensor, ...]:
    """The op on a GPU; arguments and results as :func:`ecgloss.engine.ops.run` has them."""
    launch = kernels_module("launch")
    outputs = _empty_outputs(q, q2, k, rule)
    u, saved = outputs[-2:]
    p = _problem(sizes_of(q, q2, k), temperature, missing, row_labels, rule, numbers, layout, similarity, term_weights)
    rows, cols, batch = _buffers(u, saved, p)
    own = (_rowwise(q), None if q2 is None else _rowwise(q2))
    others = own if k is None else (_rowwise(k), None)
    with _on(q):
        launch.prepare_rows(own, others, rows, batch, True, p)
        if k is not None:
            launch.prepare_rows(others, own, cols, batch, False, p)
        if rule[0] == 1:
            assert values is not None
            _risks(rows, cols, batch, values, missing, rule, numbers, p)
        tables = _tables(values, column_values, row_labels, column_labels, p)
        launch.forward(rows, cols, batch, tables, outputs[:4], p)
    return outputs


def forward_shapes(q: Tensor, q2: Tensor | None, k: Tensor | None, *rest: Any) -> tuple[Tensor, ...]:
    """What the forward returns, without values."""
    return _empty_outputs(q, q2, k, rest[6])


def backward(
    g_loss: Tensor | None,
    g_cross_entropy: Tensor | None,
    g_error: Tensor | None,
    g_rows: Tensor | None,
    u: Tensor,
    saved: Tensor,
    temperature: Tensor,
    values: Tensor | None,
    column_values: Tensor | None,
    missing: Tensor | None,
    row_labels: Tensor | None,
    column_labels: Tensor | None,
    rule: list[int],
    numbers: list[float],
    layout: list[int],
    similarity: int,
    term_weights: list[float],
    engine: str,
    sizes: list[int],
    q_dtype: torch.dtype,
    k_dtype: torch.dtype,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    """Gradients for q, q2, k and the temperature; empty where ``wanted`` says no."""
    launch = kernels_module("launch_backward")
    n, first, m, width = sizes
    p = _problem(sizes, temperature, missing, row_labels, rule, numbers, layout, similarity, term_weights)
    rows, cols, batch = _buffers(u, saved, p)
    tables = _tables(values, column_values, row_labels, column_labels, p)
    upstream = (g_loss, g_cross_entropy, g_error, None if g_rows is None else g_rows.contiguous())
    dq, dq2 = u.new_empty(first, width, dtype=q_dtype), u.new_empty(n - first, width, dtype=q_dtype)
    dk = u.new_empty(m if wanted[2] else 0, width, dtype=k_dtype)
    dtau = temperature.new_zeros(())
    with _on(u):
        gains, scales = launch.gains(rows, batch, upstream, p)
        if wanted[0] or wanted[1] or wanted[3]:
            by_row = saved.new_empty(n) if wanted[3] else None
            targets = (dq, dq2 if n > first else None)
            others = gains if p.square else None
            launch.gradient(rows, cols, gains, others, scales, batch, tables, targets, by_row, p)
            if by_row is not None:
                dtau = by_row.sum(dtype=torch.float64).to(temperature)
        if wanted[2]:
            turned = (tables[1], tables[0], tables[3], tables[2])
            launch.gradient(cols, rows, None, gains, scales, batch, turned, (dk, None), None, p)
    dq, dq2 = (x if wants else x.new_empty(0, width) for x, wants in zip((dq, dq2), wanted))
    return dq, dq2, dk, dtau


def backward_shapes(*arguments: Any) -> tuple[Tensor, ...]:
    """What the backward returns, without values."""
    u, temperature = arguments[4], arguments[6]
    (n, first, m, width), q_dtype, k_dtype, wanted = arguments[-4:]
    return (
        u.new_empty(first if wanted[0] else 0, width, dtype=q_dtype),
        u.new_empty(n - first if wanted[1] else 0, width, dtype=q_dtype),
        u.new_empty(m if wanted[2] else 0, width, dtype=k_dtype),
        temperature.new_empty(()),
    )


def _empty_outputs(q: Tensor, q2: Tensor | None, k: Tensor | None, rule: list[int]) -> tuple[Tensor, ...]:
    """Loss, entropy, error and statistics; then u and all else the backward needs, of rows and then of columns."""
    forms, problem = kernels_module("forms"), kernels_module("problem")
    n, _, m, width = sizes_of(q, q2, k)
    padded = problem.padded_rows(n) + (0 if k is None else problem.padded_rows(m))
    dtype = q.dtype if k is None else torch.promote_types(q.dtype, k.dtype)
    u = q.new_empty(padded, problem.padded_width(width), dtype=dtype)
    saved = q.new_empty(_lines(rule) * padded + forms.NUMBERS, dtype=torch.float32)
    loss, entropy, error = (saved.new_zeros(()) if rule[0] > 1 else saved.new_empty(()) for _ in range(3))
    return loss, entropy, error, saved.new_empty(4, n), u, saved


def _buffers(u: Tensor, saved: Tensor, p: Any) -> tuple[Any, Any, Tensor]:
    """Rows, columns and numbers of the batch, as views of what :func:`_empty_outputs` made."""
    forms, problem = kernels_module("forms"), kernels_module("problem")
    count = problem.lines(p.rule)
    vectors, numbers = saved[: -forms.NUMBERS], saved[-forms.NUMBERS :]
    pad = problem.padded_rows(p.n)
    rows = problem.Rows(u[:pad], vectors[: count * pad].view(count, pad), p.n)
    if p.square:
        return rows, rows, numbers
    return rows, problem.Rows(u[pad:], vectors[count * pad :].view(count, -1), p.m), numbers


def _lines(rule: list[int]) -> int:
    """Vectors per row: those of every rule, and one per risk."""
    line: int = kernels_module("forms").RISK.value
    return line + (rule[7] if rule[0] == 1 else 0)


def _problem(
    sizes: list[int],
    temperature: Tensor,
    missing: Tensor | None,
    labels: Tensor | None,
    rule: list[int],
    numbers: list[float],
    layout: list[int],
    similarity: int,
    term_weights: list[float],
) -> Any:
    """What the kernels are compiled for and told."""
    square, positive, *excluded = layout
    return kernels_module("problem").Problem(
        rule=_rule(rule, numbers, missing, labels),
        n=sizes[0],
        m=sizes[2],
        square=bool(square),
        excluded=tuple(excluded),
        positive=None if positive < 0 else positive,
        temperature=temperature,
        similarity=("", *SIMILARITIES[1:])[similarity],
        alpha=numbers[0],
        threshold=numbers[2],
        samples=rule[6],
        term_weights=tuple(term_weights),
    )


def _rule(rule: list[int], numbers: list[float], missing: Tensor | None, labels: Tensor | None) -> Any:
    forms = kernels_module("forms")
    kind, norm, absolute, zero, revert, overlap, _, width = rule
    if kind == 0:
        return forms.Weights()
    if kind == 1:
        reliability = "none" if missing is None else "revert" if revert else "multiply"
        return forms.Weights(WEIGHT_NORMS[norm], width, 2 - absolute, not zero, numbers[1] > 0, reliability)
    if kind == 2:
        return forms.Relation("labels")
    if kind == 3:
        return forms.Relation("features", width, labels is not None, bool(overlap))
    return forms.Relation("gaussian", width)


def _risks(
    rows: Any,
    cols: Any,
    batch: Tensor,
    values: Tensor,
    missing: Tensor | None,
    rule: list[int],
    numbers: list[float],
    p: Any,
) -> None:
    """Write the risks of rows and columns, and the numbers W depends on."""
    absolute, zero, revert = (bool(word) for word in rule[2:5])
    alpha, fixed_scale, _ = numbers
    needs_mean = not zero or revert
    from_moments = rule[7] == 1 and not (needs_mean and (absolute or fixed_scale > 0))
    given = values if from_moments else None
    if not from_moments:
        reliability = ("revert" if revert else "multiply") if missing is not None else None
        scale, unknown = fixed_scale or None, "zero" if zero else "neutral"
        described = RiskWeights(values, missing, alpha, 2 - absolute, scale, reliability, unknown)
        _resolve(described, rows, cols, batch, p)
    launch = kernels_module("launch")
    launch.risks(rows, batch, given, missing, 0, fixed_scale, p)
    if not p.square:
        launch.risks(cols, batch, given, missing, p.n, fixed_scale, p)


def _resolve(described: RiskWeights, rows: Any, cols: Any, batch: Tensor, p: Any) -> None:
    """Risks and numbers by way of torch: what does not follow from sums over samples."""
    forms = kernels_module("forms")
    w = described.resolved
    x = w.risk * ((1 - w.alpha) * w.scale) ** (1 / w.power)
    if w.known is not None:
        x = torch.where(w.known[:, None] > 0, x, torch.nan)
    mine = x.repeat(p.n // p.samples, 1) if p.square else x[: p.n]
    for part, risks in ((rows, mine),) if p.square else ((rows, mine), (cols, x[p.n :])):
        lines = part.side[forms.RISK.value :]
        lines[:, : part.n] = risks.T
    batch[forms.NEUTRAL.value] = (1 - w.alpha) * w.neutral
    batch[forms.FALLBACK.value] = 0.0 if w.fallback is None else w.fallback
    batch[forms.BUMP.value] = w.all_equal


def _tables(
    values: Tensor | None, column_values: Tensor | None, labels: Tensor | None, column_labels: Tensor | None, p: Any
) -> tuple[Tensor | None, ...]:
    """Values and labels of rows, of columns, for rules with many positives."""
    if p.samples:
        return None, None, None, None
    pairs = ((values, column_values), (labels, column_labels))
    mine, theirs = zip(*((a, a if p.square else b) for a, b in pairs))
    return tuple(None if x is None else x.contiguous() for x in (mine[0], theirs[0], mine[1], theirs[1]))


def _rowwise(x: Tensor) -> Tensor:
    """x with neighbouring numbers of a row side by side."""
    return x if x.stride(1) == 1 else x.contiguous()


def _on(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Kernels start on the current device, which need not be that of the tensors."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


@functools.cache
def kernels_module(name: str) -> ModuleType:
    """A module of ecgloss.kernels, which imports triton."""
    try:
        return importlib.import_module(f"ecgloss.kernels.{name}")
    except ModuleNotFoundError as error:
        if error.name != "ecgloss.kernels":
            raise
        use_checkout()
        return importlib.import_module(f"ecgloss.kernels.{name}")


def use_checkout() -> None:
    """In a checkout that is not installed, the kernels lie beside the package."""
    folder = Path(__file__).resolve().parents[2] / "kernels"
    spec = spec_from_file_location("ecgloss.kernels", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    package = module_from_spec(spec)
    spec.loader.exec_module(package)
    sys.modules["ecgloss.kernels"] = package
