"""Launches of the forward pass: one kernel over all pairs, small ones in O(N D) around it.

    prepare - prepare_risk - forward - merge_rows - finish

The first two are launched again for the columns of a rectangular problem. Nothing here or in :mod:`.launch_backward`
waits for the GPU, nothing is tuned at run time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import memory_layout
from .forward import forward_kernel
from .forward_dense import forward_dense_kernel
from .forward_finish import finish_kernel
from .forward_merge import merge_dense_kernel, merge_rows_kernel
from .launch_cache import Pass
from .launch_plan import BLOCK, HELD, SMALL, Plan, make_plan, pair_arguments
from .memory_layout import Relation
from .prepare import prepare_kernel
from .prepare_risk import prepare_risk_kernel
from .problem import PAD, Rows, Tables


def prepare_rows(
    own: tuple[Tensor, Tensor | None],
    others: tuple[Tensor, Tensor | None],
    rows: Rows,
    numbers: Tensor | None,
    run: Pass,
) -> None:
    """Fill u and the vectors that follow from the embeddings ``own`` and ``others``, those they are compared with.

    For the rows of a problem also the batch's ``numbers`` are filled, and S of the positives; for its columns
    ``numbers`` is None.
    """
    (q, q2), (k, k2), p = own, others, run.problem
    d = rows.u.shape[1]
    columns = 1 << (d - 1).bit_length()
    at_once = max(1, min(PAD, HELD // columns))
    arguments = {
        "q": q,
        "q2": q2,
        "k": k,
        "k2": k2,
        "u": rows.u,
        "row_vectors": rows.vectors,
        "numbers": numbers,
        "first": q.shape[0],
        "n": rows.n,
        "n_blocks": rows.blocks,
        "k_first": k.shape[0],
        "m": p.m,
        "shift": p.positive or 0,
        "width": q.shape[1],
        "q_stride": q.stride(0),
        "q2_stride": q.stride(0) if q2 is None else q2.stride(0),
        "k_stride": k.stride(0),
        "k2_stride": k.stride(0) if k2 is None else k2.stride(0),
        "lines": rows.vectors.shape[0],
        "POSITIVES": numbers is not None and p.positive is not None,
        "ROW_ORIGINS": p.alignment == "minmax",
        "D": d,
        "COLUMNS": columns,
        "ROWS": at_once,
    }
    run.launch(prepare_kernel, -(-rows.pad // at_once), arguments, SMALL)


def prepare_risks(
    rows: Rows, numbers: Tensor, values: Tensor | None, missing: Tensor | None, first: int, scale: float, run: Pass
) -> None:
    """Fill risks and missing fractions of rows that are the samples from ``first`` on, in turn.

    With ``values`` None the risks and the batch's ``numbers`` are already there.
    """
    p = run.problem
    arguments = {
        "values": values,
        "missing": missing,
        "row_vectors": rows.vectors,
        "numbers": numbers,
        "alpha": p.alpha,
        "fixed_scale": scale,
        "samples": p.samples,
        "first": first,
        "n": rows.n,
        "n_blocks": rows.blocks,
        "RULE": p.rule,
        "BLOCK": BLOCK,
    }
    run.launch(prepare_risk_kernel, -(-rows.pad // BLOCK), arguments, SMALL)


def forward(
    rows: Rows, cols: Rows, numbers: Tensor, tables: Tables, out: tuple[Tensor, Tensor, Tensor, Tensor], run: Pass
) -> None:
    """Fill ``out``: loss, contrastive term, alignment term and the statistics of the rows, (4, N)."""
    plan = make_plan(rows.n, cols, rows.u, "forward", run)
    partials = rows.vectors.new_empty(plan.splits, memory_layout.PARTIALS, rows.pad)
    if isinstance(run.problem.rule, Relation):
        dense_statistics(rows, cols, tables, partials, out[3], plan, run)
    else:
        statistics(rows, cols, numbers, partials, out, plan, run)


def statistics(
    rows: Rows,
    cols: Rows,
    numbers: Tensor,
    partials: Tensor,
    out: tuple[Tensor, Tensor, Tensor, Tensor],
    plan: Plan,
    run: Pass,
) -> None:
    """Rows with at most one positive: statistics and both terms of the loss."""
    p, (tau_pointer, tau), blocks = run.problem, run.tau, rows.blocks
    normal = p.samples if p.square else p.m
    arguments = pair_arguments(rows, cols, plan, run) | {
        "numbers": numbers,
        "partials": partials,
        "alpha": p.alpha,
        "square": int(p.square),
        "normal_columns": normal,
        "ALIGNMENT": p.alignment,
        "FIXED_MAXIMUM": p.fixed_maximum,
        "PREFETCH": plan.tile.prefetch,
    }
    run.launch(forward_kernel, -(-p.n // plan.tile.rows) * plan.splits, arguments, plan.options)
    loss, contrastive, alignment, by_row = out
    sums = rows.vectors.new_empty(memory_layout.SUMS, blocks, dtype=torch.float64)
    arguments = {
        "partials": partials,
        "row_vectors": rows.vectors,
        "rows_out": by_row,
        "sums": sums,
        "numbers": numbers,
        "tau_pointer": tau_pointer,
        "tau": tau,
        "n": p.n,
        "m": p.m,
        "n_blocks": blocks,
        "n_compared": p.m - len(p.excluded),
        "views": p.m // normal if normal else 1,
        "RULE": p.rule,
        "ALIGNMENT": p.alignment,
        "POSITIVES": p.positive is not None,
        "SPLITS": plan.splits,
        "BLOCK": PAD,
    }
    run.launch(merge_rows_kernel, blocks, arguments, SMALL)
    contrastive_weight, alignment_weight = p.term_weights
    arguments = {
        "sums": sums,
        "loss_out": loss,
        "contrastive_out": contrastive,
        "alignment_out": alignment,
        "numbers": numbers,
        "contrastive_weight": contrastive_weight,
        "alignment_weight": alignment_weight,
        "n": p.n,
        "m": p.m,
        "blocks": blocks,
        "ALIGNMENT": p.alignment,
        "BLOCK": BLOCK,
    }
    run.launch(finish_kernel, 1, arguments, SMALL)


def dense_statistics(
    rows: Rows, cols: Rows, tables: Tables, partials: Tensor, out: Tensor, plan: Plan, run: Pass
) -> None:
    """Rows with any number of positives: statistics."""
    p, (tau_pointer, tau) = run.problem, run.tau
    arguments = pair_arguments(rows, cols, plan, run) | {
        "row_values": tables.row_values,
        "col_values": tables.col_values,
        "row_labels": tables.row_labels,
        "col_labels": tables.col_labels,
        "partials": partials,
        "threshold": p.threshold,
        "PREFETCH": plan.tile.prefetch,
    }
    run.launch(forward_dense_kernel, -(-p.n // plan.tile.rows) * plan.splits, arguments, plan.options)
    arguments = {
        "partials": partials,
        "row_vectors": rows.vectors,
        "rows_out": out,
        "tau_pointer": tau_pointer,
        "tau": tau,
        "n": p.n,
        "n_blocks": rows.blocks,
        "SPLITS": plan.splits,
        "BLOCK": BLOCK,
    }
    run.launch(merge_dense_kernel, -(-p.n // BLOCK), arguments, SMALL)
