"""Which kernels run in the forward pass, in which order: one launch over all pairs, small ones around it.

    prepare - risk_vectors - forward - merge_rows - finish

The first two once more for the columns of a rectangular problem. Nothing here or in :mod:`.launch_backward` waits for
the GPU, and nothing is tuned at run time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import forms
from .finish import finish
from .forms import Relation, Weights
from .forward import forward as forward_kernel
from .forward_dense import dense_forward, merge_dense
from .machine import architecture, choose_splits, precision, processors
from .merge import merge_rows
from .passes import Pass
from .prepare import prepare
from .problem import PAD, Problem, Rows
from .risk import risk_vectors
from .tiles import Tile, tile

HELD = 4096  # numbers a program of a kernel over rows and D holds at once
BLOCK = 256  # rows of a program that goes over vectors
SMALL = {"num_warps": 4, "enable_fp_fusion": True}
SideTables = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]  # values and labels of rows, of columns


def prepare_rows(
    own: tuple[Tensor, Tensor | None],
    others: tuple[Tensor, Tensor | None],
    rows: Rows,
    numbers: Tensor,
    begins: bool,
    run: Pass,
) -> None:
    """Fill u and the vectors that embeddings alone determine, of the rows that a batch ``begins`` with or its columns.

    ``others`` are those they are compared with.
    """
    (q, q2), (k, k2), problem = own, others, run.problem
    width, d = q.shape[1], rows.u.shape[1]
    columns = 1 << (d - 1).bit_length()
    at_once = max(1, min(PAD, HELD // columns))
    run.launch(
        prepare,
        -(-rows.pad // at_once),
        q,
        q2,
        k,
        k2,
        rows.u,
        rows.side,
        numbers,
        q.shape[0],
        rows.n,
        rows.blocks,
        k.shape[0],
        problem.m,
        problem.positive or 0,
        width,
        q.stride(0),
        q.stride(0) if q2 is None else q2.stride(0),
        k.stride(0),
        k.stride(0) if k2 is None else k2.stride(0),
        rows.side.shape[0],
        options=SMALL,
        BEGINS=begins,
        POSITIVES=begins and problem.positive is not None,
        BASED=problem.similarity == "minmax",
        D=d,
        COLUMNS=columns,
        ROWS=at_once,
    )


def risks(
    rows: Rows, numbers: Tensor, values: Tensor | None, missing: Tensor | None, first: int, scale: float, run: Pass
) -> None:
    """Risks and missing fractions of rows that are the samples from ``first`` on, in turn.

    Without ``values`` the risks and the numbers of the batch are there already.
    """
    p = run.problem
    sizes = (p.samples, first, rows.n, rows.blocks)
    arguments = (values, missing, rows.side, numbers, p.alpha, scale, *sizes)
    run.launch(risk_vectors, -(-rows.pad // BLOCK), *arguments, options=SMALL, RULE=p.rule, BLOCK=BLOCK)


def pass_names(step: str, rule: Weights | Relation, similarity: str) -> tuple[str, ...]:
    """What the table of tiles may call a "forward", "backward" or "panel" of a rule."""
    if isinstance(rule, Relation):
        return f"{step}-{rule.kind}", f"{step}-dense"
    if step == "forward" and (similarity == "minmax" or rule.norm in ("mean", "softmax")):
        return (f"{step}-moments",)  # sums besides that of the exponentials
    return (step,) if rule.norm == "uniform" else (f"{step}-weighted", step)


def plan(n: int, cols: Rows, u: Tensor, problem: Problem, step: str) -> tuple[Tile, str, int]:
    """Tile, precision and number of parts of a "forward", "backward" or "panel" whose programs own blocks of n rows."""
    d = u.shape[1]
    how, product = precision(u, problem.similarity != "")
    names = pass_names(step, problem.rule, problem.similarity)
    sizes = tile(architecture(u.device), names, product, d)
    programs = -(-n // sizes.rows) * (d // sizes.width)
    numbers = d if step == "backward" else forms.STATISTICS  # that a row leaves behind
    at_once = sizes.shared * processors(u.device)
    return sizes, how, choose_splits(programs, -(-cols.n // sizes.columns), at_once, 4 * n * numbers)


def forward(
    rows: Rows, cols: Rows, numbers: Tensor, tables: SideTables, out: tuple[Tensor, Tensor, Tensor, Tensor], run: Pass
) -> None:
    """Fill ``out``: loss, entropy, error and the statistics of the rows, (4, N)."""
    p = run.problem
    sizes, how, splits = plan(rows.n, cols, rows.u, p, "forward")
    partials = rows.side.new_empty(splits, forms.STATISTICS, rows.pad)
    programs = -(-p.n // sizes.rows) * splits
    constants, options = blocks(sizes, how, rows.u.shape[1]), options_of(sizes)
    shape = (p.n, p.m, rows.blocks, cols.blocks, *p.shifts, p.m, splits)
    buffers = (rows.u, cols.u, rows.side, cols.side)
    loss, entropy, error, statistics = out
    if isinstance(p.rule, Relation):
        given: tuple[Any, ...] = (*buffers, *tables, partials, *run.tau, p.threshold, *shape)
        constants |= {"PREFETCH": sizes.prefetch}
        run.launch(dense_forward, programs, *given, options=options, RULE=p.rule, **constants)
        given = (partials, rows.side, statistics, *run.tau, p.n, rows.blocks)
        run.launch(merge_dense, -(-p.n // BLOCK), *given, options=SMALL, SPLITS=splits, BLOCK=BLOCK)
        return
    normal = p.samples if p.square else p.m
    given = (*buffers, numbers, partials, *run.tau, p.alpha, *shape, int(p.square), normal)
    variant = {"RULE": p.rule, "ALIGN": p.similarity, "FIXED": p.fixed}
    run.launch(forward_kernel, programs, *given, options=options, **variant, **constants, PREFETCH=sizes.prefetch)
    views = p.m // normal if normal else 1
    count = rows.blocks
    sums = rows.side.new_empty(forms.SUMS, count, dtype=torch.float64)
    given = (partials, rows.side, statistics, sums, numbers, *run.tau, p.n, p.m, count, p.m - len(p.excluded), views)
    variant = {"RULE": p.rule, "ALIGN": p.similarity, "POSITIVES": p.positive is not None, "SPLITS": splits}
    run.launch(merge_rows, count, *given, options=SMALL, **variant, BLOCK=PAD)
    given = (sums, loss, entropy, error, numbers, *p.term_weights, p.n, p.m, count)
    run.launch(finish, 1, *given, options=SMALL, ALIGN=p.similarity, BLOCK=BLOCK)


def blocks(sizes: Tile, how: str, d: int) -> dict[str, Any]:
    """What all kernels over pairs are compiled for."""
    return {"PRECISION": how, "D": d, "BLOCK_M": sizes.rows, "BLOCK_N": sizes.columns, "BLOCK_K": sizes.depth}


def options_of(sizes: Tile) -> dict[str, Any]:
    """How they are compiled."""
    return {"num_warps": sizes.warps, "num_stages": sizes.stages, "enable_fp_fusion": True}
