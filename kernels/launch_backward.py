"""Which kernels run in the backward pass, in which order.

coefficients - backward, or panels of G and products - [ties of min S] - project    (all but the first again for k)
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import forms
from .backward import backward as backward_kernel
from .backward_dense import dense_backward
from .coefficients import coefficients, dense_coefficients
from .extremes import add_low_gradient, count_ties
from .forms import PAD, Relation
from .launch import BLOCK, FUSION, HELD, SideTables, blocks, plan
from .machine import precision
from .panel import panel as panel_kernel
from .problem import Problem, Rows
from .project import project

TIE_BLOCK = 32
WIDEST_FUSED = 512  # a gradient this wide fits the registers of a program
PANEL_BYTES = 2**28  # of G at once
MIXED_PRODUCTS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 8)  # torch.mm(..., out_dtype=)


def gains(rows: Rows, numbers: Tensor, upstream: tuple[Tensor | None, ...], p: Problem) -> tuple[Tensor, Tensor]:
    """Coefficients of every row, and the numbers that all share; ``upstream`` as the ops have it."""
    *terms, g_rows = upstream
    found = rows.side.new_empty(forms.GAINS, rows.pad)
    scales = rows.side.new_empty(forms.SCALES)
    # Half precision of 5 bits of exponent wants to know the largest gradient.
    peak = g_rows.abs().amax() if g_rows is not None and rows.u.dtype == torch.float16 else None
    grid = (-(-rows.pad // BLOCK),)
    if isinstance(p.rule, Relation):
        dense_coefficients[grid](
            g_rows, peak, rows.side, found, scales, *p.tau, p.n, rows.pad, BLOCK=BLOCK, num_warps=4, **FUSION
        )
        return found, scales
    coefficients[grid](
        *terms,
        g_rows,
        peak,
        rows.side,
        numbers,
        found,
        scales,
        *p.tau,
        *p.term_weights,
        p.n,
        rows.pad,
        RULE=p.rule,
        ALIGN=p.similarity,
        FIXED=p.fixed,
        POSITIVES=p.positive is not None,
        BLOCK=BLOCK,
        num_warps=4,
        **FUSION,
    )
    return found, scales


def gradient(
    own: Rows,
    others: Rows,
    own_gains: Tensor | None,
    other_gains: Tensor | None,
    scales: Tensor,
    numbers: Tensor,
    tables: SideTables,
    targets: tuple[Tensor, Tensor | None],
    dtau: Tensor | None,
    p: Problem,
) -> None:
    """Gradient of ``own`` rows into ``targets``, and the rows' parts of that of the temperature into ``dtau``."""
    d = own.u.shape[1]
    moments: Tensor | None
    if d > WIDEST_FUSED and not isinstance(p.rule, Relation):
        parts, moments = panel_gradient(own, others, own_gains, other_gains, scales, numbers, dtau is not None, p)
    else:
        parts, moments = fused_gradient(
            own, others, own_gains, other_gains, scales, numbers, tables, dtau is not None, p
        )
    if p.similarity == "minmax":
        low_gradient(own, numbers, scales, parts, p)
    project_gradient(own, others, own_gains, other_gains, scales, parts, moments, targets, dtau, p)


def shape_of(own: Rows, others: Rows, transposed: bool, splits: int, p: Problem) -> tuple[int, ...]:
    """Sizes and shifts as the backward kernels take them; seen from the columns, a shift goes the other way."""
    direction = -1 if transposed else 1
    shifts = [shift if shift == forms.NO_SHIFT else direction * shift for shift in p.shifts]
    return (own.n, others.n, own.pad, others.pad, *shifts, direction * p.m, splits)


def options_of(own_gains: Tensor | None, other_gains: Tensor | None, p: Problem) -> dict[str, object]:
    """What a backward kernel is compiled for."""
    ways = "both" if p.square else "columns" if own_gains is None else "rows"
    return {"RULE": p.rule, "ALIGN": p.similarity != "", "FIXED": p.fixed, "WAYS": ways}


def fused_gradient(
    own: Rows,
    others: Rows,
    own_gains: Tensor | None,
    other_gains: Tensor | None,
    scales: Tensor,
    numbers: Tensor,
    tables: SideTables,
    wants_moments: bool,
    p: Problem,
) -> tuple[Tensor, Tensor | None]:
    """Parts of the gradient on the sphere, (splits, N, D), and of each row's sum of G S."""
    sizes, how, splits = plan(own.n, others, own.u, p, "backward")
    d = own.u.shape[1]
    parts = own.side.new_empty(splits, own.pad, d)
    moments = own.side.new_empty(splits, own.pad) if wants_moments else None
    grid = (-(-own.n // sizes.rows) * splits * (d // sizes.width),)
    constants = {**blocks(sizes, how, d), "BLOCK_D": sizes.width}
    shape = shape_of(own, others, own_gains is None, splits, p)
    buffers = (own.u, others.u, own.side, others.side)
    if isinstance(p.rule, Relation):
        ways = (own_gains, other_gains, parts, moments)
        dense_backward[grid](*buffers, *tables, *ways, *p.tau, p.threshold, *shape, RULE=p.rule, **constants)
        return parts, moments
    given = (scales if gains is None else gains for gains in (own_gains, other_gains))  # WAYS says which count
    rest = (*given, numbers, scales, parts, moments)
    options = options_of(own_gains, other_gains, p)
    backward_kernel[grid](*buffers, *rest, *p.tau, p.alpha, *shape, **options, **constants)
    return parts, moments


def panel_gradient(
    own: Rows,
    others: Rows,
    own_gains: Tensor | None,
    other_gains: Tensor | None,
    scales: Tensor,
    numbers: Tensor,
    wants_moments: bool,
    p: Problem,
) -> tuple[Tensor, Tensor | None]:
    """The same by panels of G and products of cuBLAS, where D is too wide for registers."""
    d, u = own.u.shape[1], own.u
    held = min(own.pad, max(PAD, PANEL_BYTES // (others.pad * u.element_size()) // PAD * PAD))
    sizes, how, splits = plan(held, others, u, p, "panel")
    parts = own.side.new_empty(1, own.pad, d)
    moments = own.side.new_empty(splits, own.pad) if wants_moments else None
    panel = u.new_empty(held, others.pad)
    shape = shape_of(own, others, own_gains is None, splits, p)
    given = (scales if gains is None else gains for gains in (own_gains, other_gains))  # WAYS says which count
    buffers = (u, others.u, own.side, others.side, *given, numbers, scales, panel, moments)
    options = {**options_of(own_gains, other_gains, p), **blocks(sizes, how, d)}
    for first in range(0, own.pad, held):
        count = min(held, own.pad - first)
        panel_kernel[(count // sizes.rows * splits,)](*buffers, *p.tau, p.alpha, *shape, first, **options)
        multiply(panel[:count], others.u, parts[0, first : first + count])
    return parts, moments


def multiply(panel: Tensor, u: Tensor, out: Tensor) -> None:
    """out = panel u, in fp32: half precision would round sums, and could not hold them."""
    if panel.dtype == out.dtype:
        torch.mm(panel, u, out=out)
    elif panel.is_cuda and MIXED_PRODUCTS:
        torch.mm(panel, u, out_dtype=out.dtype, out=out)
    else:
        torch.mm(panel.float(), u.float(), out=out)


def low_gradient(rows: Rows, numbers: Tensor, scales: Tensor, parts: Tensor, p: Problem) -> None:
    """Add the gradient of min S to the first part."""
    how, _ = precision(rows.u, aligned=True)
    blocks, d = rows.pad // TIE_BLOCK, rows.u.shape[1]
    counts = rows.side.new_empty(blocks)
    constants = {"PRECISION": how, "D": d, "BLOCK": TIE_BLOCK, "BLOCK_K": min(d, 32), "num_warps": 4, **FUSION}
    count_ties[(blocks,)](rows.u, rows.side, numbers, counts, rows.n, rows.pad, **constants)
    add_low_gradient[(blocks,)](rows.u, rows.side, numbers, scales, counts, parts, rows.n, rows.pad, **constants)


def project_gradient(
    own: Rows,
    others: Rows,
    own_gains: Tensor | None,
    other_gains: Tensor | None,
    scales: Tensor,
    parts: Tensor,
    moments: Tensor | None,
    targets: tuple[Tensor, Tensor | None],
    dtau: Tensor | None,
    p: Problem,
) -> None:
    """Sum the parts, add single positives, and go back from the sphere."""
    dq, dq2 = targets
    d = own.u.shape[1]
    columns = 1 << (d - 1).bit_length()
    at_once = max(1, min(PAD, HELD // columns))
    project[(-(-own.n // at_once),)](
        parts,
        moments,
        own.u,
        own.side,
        others.u,
        others.side,
        own_gains,
        other_gains,
        scales,
        dq,
        dq2,
        dtau,
        *p.tau,
        0.5 if p.square else 1.0,
        torch.finfo(dq.dtype).max,
        dq.shape[0],
        own.n,
        own.pad,
        others.n,
        others.pad,
        p.positive or 0,
        p.m,
        len(parts),
        0 if moments is None else len(moments),
        dq.shape[1],
        POSITIVES=p.positive is not None,
        D=d,
        COLUMNS=columns,
        ROWS=at_once,
        num_warps=4,
        **FUSION,
    )
