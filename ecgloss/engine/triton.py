"""The Triton kernels behind the ops: the buffers they fill, and what they are given."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from ecgloss.engine.kernel_package import kernels_module
from ecgloss.engine.ops import sizes_of
from ecgloss.engine.triton_problem import begin
from ecgloss.pairs import RiskWeights
from ecgloss.pairs.encoding import Kind, RuleCode, RuleNumbers


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
    code: list[int],
    numbers: list[float],
    layout: list[int],
    alignment: int,
    term_weights: list[float],
) -> tuple[Tensor, ...]:
    """The op on a GPU; arguments and results as :func:`ecgloss.engine.ops.run` has them."""
    launch = kernels_module("launch")
    q, q2, k = _rowwise(q), None if q2 is None else _rowwise(q2), None if k is None else _rowwise(k)
    side = _contiguous(values, column_values, missing, row_labels, column_labels)
    words = (RuleCode(*code), RuleNumbers(*numbers), layout, alignment, term_weights)
    outputs = _empty_outputs(q, q2, k, words[0])
    u, saved = outputs[-2:]
    with _on(q):
        run = begin("forward", q, (q, q2, k), side, temperature, sizes_of(q, q2, k), words)
        rows, cols, batch = _buffers(u, saved, run.problem)
        own = (q, q2)
        others = own if k is None else (k, None)
        launch.prepare_rows(own, others, rows, batch, True, run)
        if k is not None:
            launch.prepare_rows(others, own, cols, batch, False, run)
        if words[0].kind == Kind.RISK:
            _risks(rows, cols, batch, side, words[0], words[1], run)
        launch.forward(rows, cols, batch, _tables(side, run.problem), outputs[:4], run)
        run.end()
    return outputs


def forward_shapes(q: Tensor, q2: Tensor | None, k: Tensor | None, *rest: Any) -> tuple[Tensor, ...]:
    """What the forward returns, without values."""
    return _empty_outputs(q, q2, k, RuleCode(*rest[6]))


def backward(
    g_loss: Tensor | None,
    g_contrastive: Tensor | None,
    g_alignment: Tensor | None,
    g_rows: Tensor | None,
    u: Tensor,
    saved: Tensor,
    temperature: Tensor,
    values: Tensor | None,
    column_values: Tensor | None,
    missing: Tensor | None,
    row_labels: Tensor | None,
    column_labels: Tensor | None,
    code: list[int],
    numbers: list[float],
    layout: list[int],
    alignment: int,
    term_weights: list[float],
    sizes: list[int],
    q_dtype: torch.dtype,
    k_dtype: torch.dtype,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    """Gradients for q, q2, k and the temperature; empty where ``wanted`` says no."""
    launch = kernels_module("launch_backward")
    n, first, m, width = sizes
    side = _contiguous(values, column_values, missing, row_labels, column_labels)
    words = (RuleCode(*code), RuleNumbers(*numbers), layout, alignment, term_weights)
    upstream = (g_loss, g_contrastive, g_alignment, *_contiguous(g_rows))
    dq, dq2 = u.new_empty(first, width, dtype=q_dtype), u.new_empty(n - first, width, dtype=q_dtype)
    dk = u.new_empty(m if wanted[2] else 0, width, dtype=k_dtype)
    dtau = temperature.new_zeros(())
    with _on(u):
        run = begin("backward", u, (u, saved, *upstream), side, temperature, sizes, words, (q_dtype, k_dtype, *wanted))
        rows, cols, batch = _buffers(u, saved, run.problem)
        tables = _tables(side, run.problem)
        gains, scales = launch.gains(rows, batch, upstream, run)
        if wanted[0] or wanted[1] or wanted[3]:
            by_row = saved.new_empty(n) if wanted[3] else None
            targets = (dq, dq2 if n > first else None)
            given = launch.Gains(gains, gains if run.problem.square else None, scales)
            launch.gradient(rows, cols, given, batch, tables, targets, by_row, run)
            if by_row is not None:
                dtau = by_row.sum(dtype=torch.float64).to(temperature)
        if wanted[2]:
            turned = (tables[1], tables[0], tables[3], tables[2])
            given = launch.Gains(None, gains, scales)
            launch.gradient(cols, rows, given, batch, turned, (dk, None), None, run)
        run.end()
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


def _empty_outputs(q: Tensor, q2: Tensor | None, k: Tensor | None, code: RuleCode) -> tuple[Tensor, ...]:
    """Loss, entropy, error and statistics; then u and all else the backward needs, of rows and then of columns."""
    forms, problem = kernels_module("forms"), kernels_module("problem")
    n, _, m, width = sizes_of(q, q2, k)
    padded = problem.padded_rows(n) + (0 if k is None else problem.padded_rows(m))
    dtype = q.dtype if k is None else torch.promote_types(q.dtype, k.dtype)
    u = q.new_empty(padded, problem.padded_width(width), dtype=dtype)
    lines = forms.RISK.value + (
        code.width if code.kind == Kind.RISK else 0
    )  # vectors per row: of every rule, and risks
    saved = q.new_empty(lines * padded + forms.NUMBERS, dtype=torch.float32)
    many = Kind(code.kind).has_many_positives
    loss, contrastive, aligned = (saved.new_zeros(()) if many else saved.new_empty(()) for _ in range(3))
    return loss, contrastive, aligned, saved.new_empty(4, n), u, saved


def _buffers(u: Tensor, saved: Tensor, p: Any) -> tuple[Any, Any, Tensor]:
    """Rows, columns and numbers of the batch, as views of what :func:`_empty_outputs` made."""
    count, start = kernels_module("forms").NUMBERS, saved.storage_offset()
    end = saved.numel() - count
    lines, numbers = end // u.shape[0], saved.as_strided((count,), (1,), start + end)
    rows_class, pad = kernels_module("problem").Rows, kernels_module("problem").padded_rows(p.n)
    side = saved.as_strided((lines, pad), (pad, 1), start)
    if p.square:
        rows = rows_class(u, side, p.n)
        return rows, rows, numbers
    rest = u.shape[0] - pad
    columns_side = saved.as_strided((lines, rest), (rest, 1), start + lines * pad)
    return rows_class(u[:pad], side, p.n), rows_class(u[pad:], columns_side, p.m), numbers


def _risks(
    rows: Any,
    cols: Any,
    batch: Tensor,
    side: tuple[Tensor | None, ...],
    code: RuleCode,
    numbers: RuleNumbers,
    run: Any,
) -> None:
    """Write the risks of rows and columns, and the numbers W depends on."""
    values, missing = side[0], side[2]
    assert values is not None
    alpha, fixed_scale, _ = numbers
    needs_mean = not code.unknown_is_zero or code.revert
    from_moments = code.width == 1 and not (needs_mean and (code.power == 1 or fixed_scale > 0))
    given = values if from_moments else None
    if not from_moments:
        reliability = ("revert" if code.revert else "multiply") if missing is not None else None
        scale, unknown = fixed_scale or None, "zero" if code.unknown_is_zero else "neutral"
        described = RiskWeights(values, missing, alpha, code.power, scale, reliability, unknown)
        _resolve(described, rows, cols, batch, run.problem)
    launch = kernels_module("launch")
    launch.risks(rows, batch, given, missing, 0, fixed_scale, run)
    if not run.problem.square:
        launch.risks(cols, batch, given, missing, run.problem.n, fixed_scale, run)


def _resolve(described: RiskWeights, rows: Any, cols: Any, batch: Tensor, p: Any) -> None:
    """Risks and numbers by way of torch: what does not follow from sums over samples."""
    forms = kernels_module("forms")
    w = described.matrix
    x = w.risk * ((1 - w.alpha) * w.scale) ** (1 / w.power)
    if w.known is not None:
        x = torch.where(w.known[:, None] > 0, x, torch.nan)
    mine = x.repeat(p.n // p.samples, 1) if p.square else x[: p.n]
    for part, risks in ((rows, mine),) if p.square else ((rows, mine), (cols, x[p.n :])):
        lines = part.side[forms.RISK.value :]
        lines[:, : part.n] = risks.T
    batch[forms.NEUTRAL.value] = (1 - w.alpha) * w.neutral
    batch[forms.FALLBACK.value] = 0.0 if w.fallback is None else w.fallback
    batch[forms.BUMP.value] = w.all_equal if w.alpha == 0 else 0.0


def _tables(side: tuple[Tensor | None, ...], p: Any) -> tuple[Tensor | None, ...]:
    """Values and labels of rows, of columns, for rules with many positives."""
    if p.samples:
        return None, None, None, None
    values, column_values, _, labels, column_labels = side
    if p.square:
        return values, values, labels, labels
    return values, column_values, labels, column_labels


def _rowwise(x: Tensor) -> Tensor:
    """x with neighbouring numbers of a row side by side."""
    return x if x.stride(1) == 1 else x.contiguous()


def _contiguous(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """Tensors as the kernels read them."""
    return tuple(None if x is None else x.contiguous() for x in tensors)


def _on(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Kernels start on the current device, which need not be that of the tensors."""
    if x.is_cuda and x.device.index != torch.cuda.current_device():
        return torch.cuda.device(x.device)
    return contextlib.nullcontext()
