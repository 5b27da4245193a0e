"""Which kernels run in the backward pass, in which order.

    coefficients - backward, or panels of G and products - [find_lows - count_ties - add_low_gradient] - project

All but the first once more for k; those in brackets where S is scaled by its extremes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import forms
from .backward import backward as backward_kernel
from .backward_dense import dense_backward
from .coefficients import coefficients, dense_coefficients
from .extremes import add_low_gradient, count_ties, find_lows
from .forms import Relation
from .launch import BLOCK, HELD, SMALL, SideTables, blocks, options_of, plan
from .machine import architecture, precision
from .panel import panel as panel_kernel
from .passes import Pass
from .problem import PAD, Problem, Rows
from .project import project
from .tiles import is_fused

TIE_BLOCK = 32
PANEL_BYTES = 2**29  # of G at once
FEWEST_ROWS = 1024  # products with fewer would leave multiprocessors without work
MIXED_PRODUCTS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 8)  # torch.mm(..., out_dtype=)
Parts = tuple[Tensor, Tensor | None]  # (splits, N, D) of the gradient on the sphere, (splits, N) sums of A (S - centre)


class Gains(NamedTuple):
    """Coefficients of rows, (GAINS, padded), for the gradient of some of them.

    Attributes:
        own: Those of the rows whose gradient it is; None where their statistics have none.
        others: Those of the rows on the other side.
        scales: What all share.
    """

    own: Tensor | None
    others: Tensor | None
    scales: Tensor

    @property
    def pointers(self) -> tuple[Tensor, ...]:
        """Gains and scales as kernels take them that know by WAYS which gains to read."""
        given = (self.scales if side is None else side for side in (self.own, self.others))
        return (*given, self.scales)

    @property
    def ways(self) -> str:
        """Whose statistics have gradients."""
        return "columns" if self.own is None else "rows" if self.others is None else "both"


def gains(rows: Rows, numbers: Tensor, upstream: tuple[Tensor | None, ...], run: Pass) -> tuple[Tensor, Tensor]:
    """Coefficients of every row, and the numbers that all share; ``upstream`` as the ops have it."""
    *terms, g_rows = upstream
    p = run.problem
    found = rows.side.new_empty(forms.GAINS, rows.pad)
    scales = rows.side.new_empty(forms.SCALES)
    peak = None if g_rows is None else g_rows.abs().amax()
    programs = -(-rows.pad // BLOCK)
    if isinstance(p.rule, Relation):
        given: tuple[Any, ...] = (g_rows, peak, rows.side, numbers, found, scales, *run.tau, p.n, rows.blocks)
        run.launch(dense_coefficients, programs, *given, options=SMALL, BLOCK=BLOCK)
        return found, scales
    given = (*terms, g_rows, peak, rows.side, numbers, found, scales, *run.tau, *p.term_weights, p.n, p.m, rows.blocks)
    positives = p.positive is not None
    variant = {"ALIGN": p.similarity, "POSITIVES": positives, "BLOCK": BLOCK}
    run.launch(coefficients, programs, *given, options=SMALL, **variant)
    return found, scales


def gradient(
    own: Rows,
    others: Rows,
    gains: Gains,
    numbers: Tensor,
    tables: SideTables,
    targets: tuple[Tensor, Tensor | None],
    dtau: Tensor | None,
    run: Pass,
) -> None:
    """Gradient of ``own`` rows into ``targets``, and the rows' parts of that of the temperature into ``dtau``."""
    wants_moments = dtau is not None
    if isinstance(run.problem.rule, Relation):
        parts = dense_gradient(own, others, gains, tables, wants_moments, run)
    elif is_fused(architecture(own.u.device), precision(own.u, aligned=False)[1], own.u.shape[1]):
        parts = fused_gradient(own, others, gains, numbers, wants_moments, run)
    else:
        parts = panel_gradient(own, others, gains, numbers, wants_moments, run)
    if run.problem.similarity == "minmax":
        low_gradient(own, numbers, gains.scales, parts[0], run)
    project_gradient(own, others, gains, parts, targets, dtau, run)


def shape_of(own: Rows, others: Rows, gains: Gains, splits: int, p: Problem) -> tuple[int, ...]:
    """Sizes and shifts as the backward kernels take them; seen from the columns, a shift goes the other way."""
    direction = -1 if gains.own is None else 1
    shifts = [shift if shift == forms.NO_SHIFT else direction * shift for shift in p.shifts]
    return (own.n, others.n, own.blocks, others.blocks, *shifts, direction * p.m, splits)


def variant_of(gains: Gains, p: Problem) -> dict[str, Any]:
    """What backward and panel are compiled for besides sizes."""
    return {"RULE": p.rule, "ALIGN": p.similarity != "", "FIXED": p.fixed, "WAYS": gains.ways}


def empty_parts(own: Rows, splits: int, wants_moments: bool) -> Parts:
    """Where the programs of a fused backward leave their sums."""
    parts = own.side.new_empty(splits, own.pad, own.u.shape[1])
    return parts, own.side.new_empty(splits, own.pad) if wants_moments else None


def fused_gradient(own: Rows, others: Rows, gains: Gains, numbers: Tensor, wants_moments: bool, run: Pass) -> Parts:
    """Rows with at most one positive."""
    p, d = run.problem, own.u.shape[1]
    sizes, how, splits = plan(own.n, others, own.u, p, "backward")
    parts = empty_parts(own, splits, wants_moments)
    programs = -(-own.n // sizes.rows) * splits * (d // sizes.width)
    given = (own.u, others.u, own.side, others.side, *gains.pointers, numbers, *parts, *run.tau, p.alpha)
    given += shape_of(own, others, gains, splits, p)
    constants = {**variant_of(gains, p), **blocks(sizes, how, d), "BLOCK_D": sizes.width}
    run.launch(backward_kernel, programs, *given, options=options_of(sizes), **constants)
    return parts


def dense_gradient(own: Rows, others: Rows, gains: Gains, tables: SideTables, wants_moments: bool, run: Pass) -> Parts:
    """Rows with any number of positives."""
    p, d = run.problem, own.u.shape[1]
    sizes, how, splits = plan(own.n, others, own.u, p, "backward")
    parts = empty_parts(own, splits, wants_moments)
    programs = -(-own.n // sizes.rows) * splits * (d // sizes.width)
    given: tuple[Any, ...] = (own.u, others.u, own.side, others.side, *tables, *gains, *parts, *run.tau, p.threshold)
    given += shape_of(own, others, gains, splits, p)
    constants = {"RULE": p.rule, **blocks(sizes, how, d), "BLOCK_D": sizes.width}
    run.launch(dense_backward, programs, *given, options=options_of(sizes), **constants)
    return parts


def panel_rows(rows: int, bytes_each: int) -> int:
    """Rows of G at once: as many as fit the memory, but never all of many rows."""
    fitting = PANEL_BYTES // bytes_each // PAD * PAD
    quarter = -(-rows // (4 * PAD)) * PAD
    return min(rows, max(PAD, fitting), max(FEWEST_ROWS, quarter))


def panel_gradient(own: Rows, others: Rows, gains: Gains, numbers: Tensor, wants_moments: bool, run: Pass) -> Parts:
    """By panels of G and products of cuBLAS, where D is too wide for registers."""
    p, d, u = run.problem, own.u.shape[1], own.u
    held = panel_rows(own.pad, others.pad * u.element_size())
    sizes, how, splits = plan(held, others, u, p, "panel")
    parts = own.side.new_empty(1, own.pad, d)
    moments = own.side.new_empty(splits, own.pad) if wants_moments else None
    panel = u.new_empty(held, others.pad)
    given = (u, others.u, own.side, others.side, *gains.pointers, numbers, panel, moments, *run.tau, p.alpha)
    given += shape_of(own, others, gains, splits, p)
    constants = {**variant_of(gains, p), **blocks(sizes, how, d)}
    for first in range(0, own.pad, held):
        count = min(held, own.pad - first)
        programs = count // sizes.rows * splits
        run.launch(panel_kernel, programs, *given, first // PAD, options=options_of(sizes), **constants)
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


def low_gradient(rows: Rows, numbers: Tensor, scales: Tensor, parts: Tensor, run: Pass) -> None:
    """Add the gradient of min S to the first part."""
    how, _ = precision(rows.u, aligned=True)
    programs, d = rows.pad // TIE_BLOCK, rows.u.shape[1]
    lows, counts = rows.side.new_empty(programs), rows.side.new_empty(programs)
    at_once = min(d, 32)
    constants = {"PRECISION": how, "D": d, "BLOCK": TIE_BLOCK, "BLOCK_K": at_once}
    where, shape = (rows.u, rows.side, numbers), (rows.n, rows.blocks)
    run.launch(find_lows, programs, *where, lows, *shape, options=SMALL, **constants)
    run.launch(count_ties, programs, *where, lows, counts, *shape, options=SMALL, **constants)
    given = (*where, scales, lows, counts, parts, *shape)
    run.launch(add_low_gradient, programs * (d // at_once), *given, options=SMALL, **constants)


def project_gradient(
    own: Rows,
    others: Rows,
    gains: Gains,
    parts: Parts,
    targets: tuple[Tensor, Tensor | None],
    dtau: Tensor | None,
    run: Pass,
) -> None:
    """Sum the parts, add single positives, and go back from the sphere."""
    p, (gradients, moments), d = run.problem, parts, own.u.shape[1]
    columns = 1 << (d - 1).bit_length()
    at_once = max(1, min(PAD, HELD // columns))
    run.launch(
        project,
        -(-own.n // at_once),
        gradients,
        moments,
        own.u,
        own.side,
        others.u,
        others.side,
        *gains,
        *targets,
        dtau,
        *run.tau,
        torch.finfo(targets[0].dtype).max,
        targets[0].shape[0],
        own.n,
        own.blocks,
        others.n,
        others.blocks,
        p.positive or 0,
        p.m,
        targets[0].shape[1],
        options=SMALL,
        POSITIVES=p.positive is not None,
        SPLITS=len(gradients),
        MOMENT_SPLITS=0 if moments is None else len(moments),
        D=d,
        COLUMNS=columns,
        ROWS=at_once,
    )
