"""Launches of the forward pass: one kernel over all pairs, small ones in O(N D) around it.

    prepare - prepare_risk - forward - merge_rows - finish

The first two are launched again for the columns of a rectangular problem. Nothing here or in :mod:`.launch_backward`
waits for the GPU, nothing is tuned at run time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import launch_gluon, memory_layout
from .forward import forward_kernel
from .forward_dense import forward_dense_kernel
from .forward_finish import finish_kernel
from .forward_merge import merge_dense_kernel, merge_rows_kernel
from .launch_cache import Configuration, Pass
from .launch_plan import BLOCK, HELD, SMALL, Plan, make_plan, pair_configuration, pair_tensors
from .memory_layout import Relation
from .prepare import prepare_kernel
from .prepare_features import padded_features, prepare_features_kernel
from .prepare_risk import prepare_risk_kernel
from .problem import PAD, Rows, Tables, padded_rows


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

    def configure() -> Configuration:
        d = rows.u.shape[1]
        columns = 1 << (d - 1).bit_length()
        at_once = max(1, min(PAD, HELD // columns))
        arguments = {
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
        return Configuration(-(-rows.pad // at_once), arguments, SMALL)

    tensors = {"q": q, "q2": q2, "k": k, "k2": k2, "u": rows.u, "row_vectors": rows.vectors, "numbers": numbers}
    run.launch(prepare_kernel, tensors, configure)


def prepare_risks(
    rows: Rows, numbers: Tensor, values: Tensor | None, missing: Tensor | None, first: int, scale: float, run: Pass
) -> None:
    """Fill risks and missing fractions of rows that are the samples from ``first`` on, in turn.

    With ``values`` None the risks and the batch's ``numbers`` are already there.
    """

    def configure() -> Configuration:
        p = run.problem
        arguments = {
            "alpha": p.alpha,
            "fixed_scale": scale,
            "samples": p.samples,
            "first": first,
            "n": rows.n,
            "n_blocks": rows.blocks,
            "RULE": p.rule,
            "BLOCK": BLOCK,
        }
        return Configuration(-(-rows.pad // BLOCK), arguments, SMALL)

    tensors = {"values": values, "missing": missing, "row_vectors": rows.vectors, "numbers": numbers}
    run.launch(prepare_risk_kernel, tensors, configure)


def prepare_features(features: Tensor, run: Pass) -> Tensor:
    """Planes of features, (2 padded rows, padded features)."""
    n, width = features.shape
    padded = padded_features(width)
    planes = features.new_empty(2 * padded_rows(n), padded, dtype=torch.float16)

    def configure() -> Configuration:
        columns = 1 << (padded - 1).bit_length()
        at_once = max(1, min(PAD, HELD // columns))
        n_pad = padded_rows(n)
        arguments = {"n": n, "n_pad": n_pad, "width": width, "PADDED": padded, "COLUMNS": columns, "ROWS": at_once}
        return Configuration(-(-n_pad // at_once), arguments, SMALL)

    run.launch(prepare_features_kernel, {"features": features, "planes": planes}, configure)
    return planes


def forward(
    rows: Rows, cols: Rows, numbers: Tensor, tables: Tables, out: tuple[Tensor, Tensor, Tensor, Tensor], run: Pass
) -> None:
    """Fill ``out``: loss, contrastive term, alignment term and the statistics of the rows, (4, N)."""
    many = isinstance(run.problem.rule, Relation)
    by_gluon = not many and launch_gluon.is_wanted(rows, run)
    plan = launch_gluon.make_plan(rows, cols, run) if by_gluon else make_plan(rows.n, cols, rows.u, "forward", run)
    partials = rows.vectors.new_empty(plan.splits, memory_layout.PARTIALS, rows.pad)
    if many:
        partial_dense_statistics(rows, cols, tables, partials, plan, run)
        merge_dense(rows, partials, out[3], run)
    else:
        sum_parts = launch_gluon.partial_statistics if by_gluon else partial_statistics
        sum_parts(rows, cols, numbers, partials, plan, run)
        sums = rows.vectors.new_empty(memory_layout.SUMS, rows.blocks, dtype=torch.float64)
        merge_rows(rows, numbers, partials, sums, out[3], run)
        finish(numbers, sums, out, run)


def partial_statistics(rows: Rows, cols: Rows, numbers: Tensor, partials: Tensor, plan: Plan, run: Pass) -> None:
    """Sums over the parts of the columns, for rows with at most one positive."""
    p = run.problem
    run.launch(
        forward_kernel,
        {**pair_tensors(rows, cols, run), "numbers": numbers, "partials": partials},
        lambda: pair_configuration(
            rows,
            cols,
            plan,
            -(-p.n // plan.tile.rows) * plan.splits,
            run,
            alpha=p.alpha,
            square=int(p.square),
            normal_columns=p.normal_columns,
            ALIGNMENT=p.alignment,
            FIXED_MAXIMUM=p.fixed_maximum,
            PREFETCH=plan.tile.prefetch,
        ),
    )


def partial_dense_statistics(rows: Rows, cols: Rows, tables: Tables, partials: Tensor, plan: Plan, run: Pass) -> None:
    """Sums over the parts of the columns, for rows with any number of positives."""
    p = run.problem
    run.launch(
        forward_dense_kernel,
        {**pair_tensors(rows, cols, run), **tables.by_name, "partials": partials},
        lambda: pair_configuration(
            rows,
            cols,
            plan,
            -(-p.n // plan.tile.rows) * plan.splits,
            run,
            threshold=p.threshold,
            FIXED_MAXIMUM=p.fixed_maximum,
            PREFETCH=plan.tile.prefetch,
        ),
    )


def merge_rows(rows: Rows, numbers: Tensor, partials: Tensor, sums: Tensor, out: Tensor, run: Pass) -> None:
    """Statistics of rows with at most one positive, and sums over blocks of rows."""

    def configure() -> Configuration:
        p = run.problem
        arguments = {
            "n": p.n,
            "m": p.m,
            "n_blocks": rows.blocks,
            "n_compared": p.m - len(p.excluded),
            "views": p.m // p.normal_columns if p.normal_columns else 1,
            "RULE": p.rule,
            "ALIGNMENT": p.alignment,
            "POSITIVES": p.positive is not None,
            "SPLITS": len(partials),
            "BLOCK": PAD,
        }
        return Configuration(rows.blocks, arguments, SMALL)

    tensors = {"partials": partials, "row_vectors": rows.vectors, "rows_out": out, "sums": sums, "numbers": numbers}
    run.launch(merge_rows_kernel, {**tensors, **run.temperature}, configure)


def merge_dense(rows: Rows, partials: Tensor, out: Tensor, run: Pass) -> None:
    """Statistics of rows with any number of positives."""

    def configure() -> Configuration:
        n = run.problem.n
        arguments = {"n": n, "n_blocks": rows.blocks, "SPLITS": len(partials), "BLOCK": BLOCK}
        return Configuration(-(-n // BLOCK), arguments, SMALL)

    tensors = {"partials": partials, "row_vectors": rows.vectors, "rows_out": out}
    run.launch(merge_dense_kernel, {**tensors, **run.temperature}, configure)


def finish(numbers: Tensor, sums: Tensor, out: tuple[Tensor, Tensor, Tensor, Tensor], run: Pass) -> None:
    """Loss and both of its terms from the sums over blocks of rows."""

    def configure() -> Configuration:
        p = run.problem
        contrastive_weight, alignment_weight = p.term_weights
        arguments = {
            "contrastive_weight": contrastive_weight,
            "alignment_weight": alignment_weight,
            "n": p.n,
            "m": p.m,
            "blocks": sums.shape[1],
            "ALIGNMENT": p.alignment,
            "BLOCK": BLOCK,
        }
        return Configuration(1, arguments, SMALL)

    loss, contrastive, alignment, _ = out
    tensors = {"sums": sums, "loss_out": loss, "contrastive_out": contrastive, "alignment_out": alignment}
    run.launch(finish_kernel, {**tensors, "numbers": numbers}, configure)
