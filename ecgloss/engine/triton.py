"""The ops on a GPU: allocate buffers, launch the Triton kernels."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from ecgloss.engine.kernel_package import kernels_module
from ecgloss.engine.ops import dtype_of, sizes_of
from ecgloss.engine.triton_problem import RuleArguments, begin_pass
from ecgloss.pairs import RiskWeights
from ecgloss.pairs.encoding import Kind, RuleCode, Side

launch, launch_backward = kernels_module("launch"), kernels_module("launch_backward")
memory_layout, problem = kernels_module("memory_layout"), kernels_module("problem")


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
    rule_numbers: list[float],
    layout: list[int],
    alignment: int,
    term_weights: list[float],
) -> tuple[Tensor, ...]:
    """The forward op; arguments and results as in :func:`ecgloss.engine.ops.run`."""
    q, q2, k = _rowwise(q), None if q2 is None else _rowwise(q2), None if k is None else _rowwise(k)
    side = Side(*_contiguous(values, column_values, missing, row_labels, column_labels))
    rule = RuleArguments.of(code, rule_numbers, layout, alignment, term_weights)
    outputs = _empty_outputs(q, q2, k, rule.code)
    u, saved = outputs[-2:]
    with _on(q):
        run = begin_pass("forward", q, (q, q2, k), side, temperature, sizes_of(q, q2, k), rule)
        rows, cols, numbers = _buffers(u, saved, run.problem)
        own = (q, q2)
        others = own if k is None else (k, None)
        launch.prepare_rows(own, others, rows, numbers, run)
        if k is not None:
            launch.prepare_rows(others, own, cols, None, run)
        if rule.code.kind == Kind.RISK:
            _prepare_risks(rows, cols, numbers, side, rule, run)
        launch.forward(rows, cols, numbers, _tables(side, run), outputs[:4], run)
        run.end()
    return outputs


def forward_shapes(q: Tensor, q2: Tensor | None, k: Tensor | None, *rest: Any) -> tuple[Tensor, ...]:
    """Shapes and dtypes of the forward op's results."""
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
    rule_numbers: list[float],
    layout: list[int],
    alignment: int,
    term_weights: list[float],
    sizes: list[int],
    q_dtype: str,
    k_dtype: str,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    """The backward op: gradients of q, q2, k and the temperature; empty where ``wanted`` is False."""
    n, first, m, width = sizes
    q_type, k_type = dtype_of(q_dtype), dtype_of(k_dtype)
    side = Side(*_contiguous(values, column_values, missing, row_labels, column_labels))
    rule = RuleArguments.of(code, rule_numbers, layout, alignment, term_weights)
    upstream = (g_loss, g_contrastive, g_alignment, *_contiguous(g_rows))
    dq, dq2 = u.new_empty(first, width, dtype=q_type), u.new_empty(n - first, width, dtype=q_type)
    dk = u.new_empty(m if wanted[2] else 0, width, dtype=k_type)
    dtau = temperature.new_zeros(())
    with _on(u):
        gradients = (q_type, k_type, *wanted)
        run = begin_pass("backward", u, (u, saved, *upstream), side, temperature, sizes, rule, gradients)
        rows, cols, numbers = _buffers(u, saved, run.problem)
        tables = _tables(side, run)
        gains, scales = launch_backward.make_gains(rows, numbers, upstream, run)
        if wanted[0] or wanted[1] or wanted[3]:
            by_row = saved.new_empty(n) if wanted[3] else None
            targets = (dq, dq2 if n > first else None)
            own = launch_backward.Gains(gains, gains if run.problem.square else None, scales)
            launch_backward.gradient(rows, cols, own, numbers, tables, targets, by_row, run)
            if by_row is not None:
                dtau = by_row.sum(dtype=torch.float64).to(temperature)
        if wanted[2]:
            own = launch_backward.Gains(None, gains, scales)
            launch_backward.gradient(cols, rows, own, numbers, tables.transposed, (dk, None), None, run)
        run.end()
    dq, dq2 = (x if wants else x.new_empty(0, width) for x, wants in zip((dq, dq2), wanted))
    return dq, dq2, dk, dtau


def backward_shapes(*arguments: Any) -> tuple[Tensor, ...]:
    """Shapes and dtypes of the backward op's results."""
    u, temperature = arguments[4], arguments[6]
    (n, first, m, width), q_dtype, k_dtype, wanted = arguments[-4:]
    q_type, k_type = dtype_of(q_dtype), dtype_of(k_dtype)
    return (
        u.new_empty(first if wanted[0] else 0, width, dtype=q_type),
        u.new_empty(n - first if wanted[1] else 0, width, dtype=q_type),
        u.new_empty(m if wanted[2] else 0, width, dtype=k_type),
        temperature.new_empty(()),
    )


def _empty_outputs(q: Tensor, q2: Tensor | None, k: Tensor | None, code: RuleCode) -> tuple[Tensor, ...]:
    """Loss, contrastive, alignment, statistics (4, N), u (padded rows and columns, padded D), and ``saved``.

    ``saved`` holds the vectors of the rows, those of the columns, and the numbers of the batch.
    """
    n, _, m, width = sizes_of(q, q2, k)
    padded = problem.padded_rows(n) + (0 if k is None else problem.padded_rows(m))
    dtype = q.dtype if k is None else torch.promote_types(q.dtype, k.dtype)
    u = q.new_empty(padded, problem.padded_width(width), dtype=dtype)
    lines = memory_layout.RISK.value + (code.width if code.kind == Kind.RISK else 0)
    saved = q.new_empty(lines * padded + memory_layout.NUMBERS, dtype=torch.float32)
    many = Kind(code.kind).has_many_positives
    loss, contrastive, alignment = (saved.new_zeros(()) if many else saved.new_empty(()) for _ in range(3))
    return loss, contrastive, alignment, saved.new_empty(4, n), u, saved


def _buffers(u: Tensor, saved: Tensor, p: Any) -> tuple[Any, Any, Tensor]:
    """Rows, columns and numbers of the batch, as views of u and ``saved`` of :func:`_empty_outputs`."""
    count, start = memory_layout.NUMBERS, saved.storage_offset()
    end = saved.numel() - count
    lines, numbers = end // u.shape[0], saved.as_strided((count,), (1,), start + end)
    pad = problem.padded_rows(p.n)
    row_vectors = saved.as_strided((lines, pad), (pad, 1), start)
    if p.square:
        rows = problem.Rows(u, row_vectors, p.n)
        return rows, rows, numbers
    rest = u.shape[0] - pad
    col_vectors = saved.as_strided((lines, rest), (rest, 1), start + lines * pad)
    return problem.Rows(u[:pad], row_vectors, p.n), problem.Rows(u[pad:], col_vectors, p.m), numbers


def _prepare_risks(rows: Any, cols: Any, numbers: Tensor, side: Side, rule: RuleArguments, run: Any) -> None:
    """Fill the risks of rows and columns, and the numbers of the batch that W depends on."""
    code, (alpha, fixed_scale, _) = rule.code, rule.numbers
    assert side.values is not None
    needs_mean = not code.unknown_is_zero or code.revert
    by_kernel = code.width == 1 and not (needs_mean and (code.power == 1 or fixed_scale > 0))
    if not by_kernel:
        reliability = ("revert" if code.revert else "multiply") if side.missing is not None else None
        scale, unknown = fixed_scale or None, "zero" if code.unknown_is_zero else "neutral"
        weights = RiskWeights(side.values, side.missing, alpha, code.power, scale, reliability, unknown)
        _fill_risks(weights, rows, cols, numbers, run.problem)
    values = side.values if by_kernel else None
    launch.prepare_risks(rows, numbers, values, side.missing, 0, fixed_scale, run)
    if not run.problem.square:
        launch.prepare_risks(cols, numbers, values, side.missing, run.problem.n, fixed_scale, run)


def _fill_risks(weights: RiskWeights, rows: Any, cols: Any, numbers: Tensor, p: Any) -> None:
    """Risks and numbers computed by torch, where they need more than sums over samples."""
    w = weights.matrix
    x = w.risk * ((1 - w.alpha) * w.scale) ** (1 / w.power)
    if w.known is not None:
        x = torch.where(w.known[:, None] > 0, x, torch.nan)
    own = x.repeat(p.n // p.samples, 1) if p.square else x[: p.n]
    for part, risks in ((rows, own),) if p.square else ((rows, own), (cols, x[p.n :])):
        part.vectors[memory_layout.RISK.value :, : part.n] = risks.T
    numbers[memory_layout.NEUTRAL.value] = (1 - w.alpha) * w.neutral
    numbers[memory_layout.FALLBACK.value] = 0.0 if w.fallback is None else w.fallback
    numbers[memory_layout.ALL_EQUAL.value] = w.all_equal if w.alpha == 0 else 0.0


def _tables(side: Side, run: Any) -> Any:
    """Side information of rows and of columns, for rules with many positives."""
    p, values, column_values = run.problem, side.values, side.column_values
    if p.samples:
        return problem.Tables()
    if getattr(p.rule, "kind", "") == "features":
        tables = (None if x is None else launch.prepare_features(x, run) for x in (values, column_values))
        values, column_values = tables
    if p.square:
        return problem.Tables(values, values, side.row_labels, side.row_labels)
    return problem.Tables(values, column_values, side.row_labels, side.column_labels)


def _rowwise(x: Tensor) -> Tensor:
    """x with the numbers of a row next to each other, and not negated only when it is read."""
    x = x.resolve_neg() if x.is_neg() else x
    return x if x.stride(1) == 1 else x.contiguous()


def _contiguous(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """The tensors, contiguous."""
    return tuple(None if x is None else (x.resolve_neg() if x.is_neg() else x).contiguous() for x in tensors)


def _on(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """x's device as the current one, on which kernels are launched."""
    if x.is_cuda and x.device.index != torch.cuda.current_device():
        return torch.cuda.device(x.device)
    return contextlib.nullcontext()
