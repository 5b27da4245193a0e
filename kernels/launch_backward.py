"""Launches of the backward pass.

    gains - backward, or strips of G and matrix products - [find_minimum - count_ties - add_minimum_gradient] - project

All but the first are launched again for k; those in brackets only for the min-max alignment.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import memory_layout
from .backward_minimum import add_minimum_gradient_kernel, count_ties_kernel, find_minimum_kernel
from .backward_prepare import gains_dense_kernel, gains_kernel
from .backward_project import project_kernel
from .device import architecture, precision
from .launch_cache import Configuration, Pass
from .launch_gradient import Gains, dense_gradient, fused_gradient, strip_gradient
from .launch_plan import BLOCK, HELD, SMALL
from .memory_layout import Relation
from .problem import PAD, Rows, Tables
from .tile_table import is_fused

TIE_BLOCK = 32  # rows per program of the kernels for min S


def make_gains(rows: Rows, numbers: Tensor, upstream: tuple[Tensor | None, ...], run: Pass) -> tuple[Tensor, Tensor]:
    """Gains of every row, and scales; ``upstream``: gradients of loss, contrastive, alignment and statistics."""
    g_loss, g_contrastive, g_alignment, g_rows = upstream
    gains = rows.vectors.new_empty(memory_layout.GAINS, rows.pad)
    scales = rows.vectors.new_empty(memory_layout.SCALES)
    tensors = {
        "g_rows": g_rows,
        "peak": None if g_rows is None else g_rows.abs().amax(),
        "row_vectors": rows.vectors,
        "numbers": numbers,
        "gains": gains,
        "scales": scales,
        **run.temperature,
    }
    p, programs = run.problem, -(-rows.pad // BLOCK)
    arguments: dict[str, Any] = {"n": p.n, "n_blocks": rows.blocks, "BLOCK": BLOCK}
    if isinstance(p.rule, Relation):
        run.launch(gains_dense_kernel, tensors, lambda: Configuration(programs, arguments, SMALL))
        return gains, scales

    def configure() -> Configuration:
        contrastive_weight, alignment_weight = p.term_weights
        more = {
            "contrastive_weight": contrastive_weight,
            "alignment_weight": alignment_weight,
            "m": p.m,
            "ALIGNMENT": p.alignment,
            "POSITIVES": p.positive is not None,
        }
        return Configuration(programs, {**arguments, **more}, SMALL)

    terms = {"g_loss": g_loss, "g_contrastive": g_contrastive, "g_alignment": g_alignment}
    run.launch(gains_kernel, {**tensors, **terms}, configure)
    return gains, scales


def gradient(
    own: Rows,
    others: Rows,
    gains: Gains,
    numbers: Tensor,
    tables: Tables,
    targets: tuple[Tensor, Tensor | None],
    dtau: Tensor | None,
    run: Pass,
) -> None:
    """Gradient of the rows ``own`` into ``targets``; their parts of the temperature's into ``dtau``, if wanted."""
    if isinstance(run.problem.rule, Relation):
        parts = dense_gradient(own, others, gains, tables, run)
    elif is_fused(architecture(own.u.device), precision(own.u, aligned=False)[1], own.u.shape[1]):
        parts = fused_gradient(own, others, gains, numbers, run)
    else:
        parts = strip_gradient(own, others, gains, numbers, run)
    if run.problem.alignment == "minmax":
        minimum_gradient(own, numbers, gains.scales, parts, run)
    project_gradient(own, others, gains, parts, targets, dtau, run)


def minimum_gradient(rows: Rows, numbers: Tensor, scales: Tensor, parts: Tensor, run: Pass) -> None:
    """Add the gradient of min S to the first part."""
    programs, d = rows.pad // TIE_BLOCK, rows.u.shape[1]
    minima, counts = rows.vectors.new_empty(programs), rows.vectors.new_empty(programs)
    depth = min(d, 32)

    def configure(chunks: int) -> Configuration:
        arguments = {
            "n": rows.n,
            "n_blocks": rows.blocks,
            "PRECISION": precision(rows.u, aligned=True)[0],
            "D": d,
            "BLOCK": TIE_BLOCK,
            "BLOCK_K": depth,
        }
        return Configuration(programs * chunks, arguments, SMALL)

    tensors = {"u": rows.u, "row_vectors": rows.vectors, "numbers": numbers, "minima": minima}
    run.launch(find_minimum_kernel, tensors, lambda: configure(1))
    tensors |= {"counts": counts}
    run.launch(count_ties_kernel, tensors, lambda: configure(1))
    tensors |= {"scales": scales, "out": parts}
    run.launch(add_minimum_gradient_kernel, tensors, lambda: configure(d // depth))


def project_gradient(
    own: Rows,
    others: Rows,
    gains: Gains,
    parts: Tensor,
    targets: tuple[Tensor, Tensor | None],
    dtau: Tensor | None,
    run: Pass,
) -> None:
    """Sum the parts, add single positives, and go back from the sphere to z."""
    p, (dq, dq2) = run.problem, targets

    def configure() -> Configuration:
        d = own.u.shape[1]
        columns = 1 << (d - 1).bit_length()
        at_once = max(1, min(PAD, HELD // columns))
        arguments = {
            "limit": torch.finfo(dq.dtype).max,
            "first": dq.shape[0],
            "n": own.n,
            "n_blocks": own.blocks,
            "m": others.n,
            "m_blocks": others.blocks,
            "shift": p.positive or 0,
            "period": p.m,
            "width": dq.shape[1],
            "POSITIVES": p.positive is not None,
            "SPLITS": len(parts),
            "D": d,
            "COLUMNS": columns,
            "ROWS": at_once,
        }
        return Configuration(-(-own.n // at_once), arguments, SMALL)

    tensors = {
        "parts": parts,
        "u": own.u,
        "row_vectors": own.vectors,
        "other_u": others.u,
        "other_vectors": others.vectors,
        "own_gains": gains.own,
        "other_gains": gains.others,
        "scales": gains.scales,
        "dq": dq,
        "dq2": dq2,
        "dtau": dtau,
        **run.temperature,
    }
    run.launch(project_kernel, tensors, configure)
