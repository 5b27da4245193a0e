"""Which kernels run in the forward pass, in which order: one launch over all pairs, small ones around it.

    prepare (twice if rectangular) - risk_vectors - forward - finish            O(N D), O(B), O(N^2 D), O(N)

Nothing here or in :mod:`.launch_backward` waits for the GPU, and nothing is tuned at run time.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from . import forms
from .finish import finish
from .forms import PAD, Relation, Weights
from .forward import forward as forward_kernel
from .forward_dense import dense_forward, merge_dense
from .machine import architecture, choose_splits, precision, processors
from .prepare import prepare
from .problem import Problem, Rows
from .risk import risk_vectors
from .tiles import Tile, tile

HELD = 4096  # numbers a program of a kernel over rows and D holds at once
BLOCK = 256  # rows of a program that goes over vectors
FINISH_BLOCK = 1024
FUSION = {"enable_fp_fusion": True}
SideTables = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]  # values and labels of rows, of columns


def prepare_rows(
    own: tuple[Tensor, Tensor | None],
    others: tuple[Tensor, Tensor | None],
    rows: Rows,
    numbers: Tensor,
    positives: bool,
    problem: Problem,
) -> None:
    """Fill u and the vectors that embeddings alone determine; ``others`` hold the rows' ``positives``."""
    (q, q2), (k, k2) = own, others
    width, d = q.shape[1], rows.u.shape[1]
    columns = 1 << (d - 1).bit_length()
    at_once = max(1, min(PAD, HELD // columns))
    prepare[(-(-rows.pad // at_once),)](
        q,
        q2,
        k,
        k2,
        rows.u,
        rows.side,
        numbers,
        q.shape[0],
        rows.n,
        rows.pad,
        k.shape[0],
        problem.m,
        problem.positive or 0,
        width,
        q.stride(0),
        q.stride(0) if q2 is None else q2.stride(0),
        k.stride(0),
        k.stride(0) if k2 is None else k2.stride(0),
        rows.side.shape[0],
        POSITIVES=positives and problem.positive is not None,
        BASED=problem.similarity == "minmax",
        D=d,
        COLUMNS=columns,
        ROWS=at_once,
        num_warps=4,
        **FUSION,
    )


def risks(
    rows: Rows, numbers: Tensor, values: Tensor | None, missing: Tensor | None, first: int, scale: float, p: Problem
) -> None:
    """Risks and missing fractions of rows that are the samples from ``first`` on, in turn.

    Without ``values`` the risks and the numbers of the batch are there already.
    """
    risk_vectors[(-(-rows.pad // BLOCK),)](
        values,
        missing,
        rows.side,
        numbers,
        p.alpha,
        scale,
        p.samples,
        first,
        rows.n,
        rows.pad,
        RULE=p.rule,
        BLOCK=BLOCK,
        num_warps=4,
        **FUSION,
    )


def table_name(step: str, rule: Weights | Relation, similarity: str) -> str:
    """What the table of tiles calls a "forward", "backward" or "panel" of a rule."""
    if isinstance(rule, Relation):
        return f"dense-{step}"
    if step == "panel":  # holds as much
        return "moments"
    sums = similarity == "minmax" or rule.norm in ("mean", "softmax")  # besides that of the exponentials
    return "moments" if step == "forward" and sums else step


def plan(n: int, cols: Rows, u: Tensor, problem: Problem, step: str) -> tuple[Tile, str, int]:
    """Tile, precision and number of parts of a "forward", "backward" or "panel" whose programs own blocks of n rows."""
    d = u.shape[1]
    how, product = precision(u, problem.similarity != "")
    name = table_name(step, problem.rule, problem.similarity)
    sizes = tile(architecture(u.device), name, product, d)
    programs = -(-n // sizes.rows) * (d // sizes.width)
    return sizes, how, choose_splits(programs, -(-cols.n // sizes.columns), processors(u.device))


def forward(
    rows: Rows, cols: Rows, numbers: Tensor, tables: SideTables, out: tuple[Tensor, Tensor, Tensor, Tensor], p: Problem
) -> None:
    """Fill ``out``: loss, entropy, error and the statistics of the rows, (4, N)."""
    sizes, how, splits = plan(rows.n, cols, rows.u, p, "forward")
    partials = rows.side.new_empty(splits, forms.STATISTICS, rows.pad)
    grid = (-(-p.n // sizes.rows) * splits,)
    constants = blocks(sizes, how, rows.u.shape[1])
    shape = (p.n, p.m, rows.pad, cols.pad, *p.shifts, p.m, splits)
    buffers = (rows.u, cols.u, rows.side, cols.side)
    loss, entropy, error, statistics = out
    if isinstance(p.rule, Relation):
        dense_forward[grid](*buffers, *tables, partials, *p.tau, p.threshold, *shape, RULE=p.rule, **constants)
        merge_dense[(-(-p.n // BLOCK),)](
            partials, rows.side, statistics, *p.tau, p.n, rows.pad, splits, BLOCK=BLOCK, num_warps=4, **FUSION
        )
        return
    normal = p.samples if p.square else p.m
    forward_kernel[grid](
        *buffers,
        numbers,
        partials,
        *p.tau,
        p.alpha,
        *shape,
        int(p.square),
        normal,
        RULE=p.rule,
        ALIGN=p.similarity,
        FIXED=p.fixed,
        **constants,
    )
    finish[(1,)](
        partials,
        rows.side,
        statistics,
        loss,
        entropy,
        error,
        numbers,
        *p.tau,
        *p.term_weights,
        p.n,
        p.m,
        rows.pad,
        splits,
        p.m - len(p.excluded),
        p.m // normal if normal else 1,
        RULE=p.rule,
        ALIGN=p.similarity,
        POSITIVES=p.positive is not None,
        BLOCK=FINISH_BLOCK,
        num_warps=8,
        **FUSION,
    )


def blocks(sizes: Tile, how: str, d: int) -> dict[str, Any]:
    """What all kernels over pairs are compiled for."""
    return {
        "PRECISION": how,
        "D": d,
        "BLOCK_M": sizes.rows,
        "BLOCK_N": sizes.columns,
        "BLOCK_K": sizes.depth,
        "num_warps": sizes.warps,
        "num_stages": sizes.stages,
        **FUSION,
    }
