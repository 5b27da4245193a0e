"""Launches of the backward pass.

    gains - backward, or strips of G and matrix products - [find_minimum - count_ties - add_minimum_gradient] - project

All but the first are launched again for k; those in brackets only for the min-max alignment.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import memory_layout
from .backward import backward_kernel
from .backward_dense import backward_dense_kernel
from .backward_minimum import add_minimum_gradient_kernel, count_ties_kernel, find_minimum_kernel
from .backward_prepare import gains_dense_kernel, gains_kernel
from .backward_project import project_kernel
from .backward_strip import backward_strip_kernel
from .device import architecture, precision
from .launch_cache import Configuration, Pass
from .launch_plan import BLOCK, HELD, SMALL, Plan, make_plan, pair_configuration, pair_tensors
from .memory_layout import Relation
from .problem import PAD, Rows, Tables, TritonProblem
from .tile_table import is_fused

TIE_BLOCK = 32
STRIP_BYTES = 2**29  # at most, of one strip of G
FEWEST_ROWS = 1024  # of a strip: products with fewer would leave multiprocessors without work
MIXED_PRODUCTS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 8)  # torch.mm(..., out_dtype=)
Parts = tuple[Tensor, Tensor | None]  # (splits, N, D) of the gradient on the sphere, (splits, N) weighted gradient


class Gains(NamedTuple):
    """Gains, (GAINS, padded rows), for the gradient of some rows.

    Attributes:
        own: Those of these rows; None where their statistics have no gradients.
        others: Those of the rows on the other side; None where those have none.
        scales: (SCALES,) numbers of the pass.
    """

    own: Tensor | None
    others: Tensor | None
    scales: Tensor

    @property
    def transposed(self) -> bool:
        """Whether these rows are the columns of a rectangular problem: only its rows have statistics."""
        return self.own is None


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
    wants_tau = dtau is not None
    if isinstance(run.problem.rule, Relation):
        parts = dense_gradient(own, others, gains, tables, wants_tau, run)
    elif is_fused(architecture(own.u.device), precision(own.u, aligned=False)[1], own.u.shape[1]):
        parts = fused_gradient(own, others, gains, numbers, wants_tau, run)
    else:
        parts = strip_gradient(own, others, gains, numbers, wants_tau, run)
    if run.problem.alignment == "minmax":
        minimum_gradient(own, numbers, gains.scales, parts[0], run)
    project_gradient(own, others, gains, parts, targets, dtau, run)


def gradient_tensors(
    own: Rows, others: Rows, gains: Gains, out: Tensor, weighted_gradient: Tensor | None, run: Pass
) -> dict[str, Any]:
    """Tensors of a backward kernel over pairs."""
    return {
        **pair_tensors(own, others, run),
        "row_gains": gains.own,
        "col_gains": gains.others,
        "scales": gains.scales,
        "out": out,
        "weighted_gradient": weighted_gradient,
    }


def weight_arguments(p: TritonProblem) -> dict[str, Any]:
    """Arguments of backward kernels for rows with at most one positive."""
    return {"alpha": p.alpha, "ALIGNMENT": p.alignment, "FIXED_MAXIMUM": p.fixed_maximum}


def empty_parts(own: Rows, splits: int, wants_tau: bool) -> Parts:
    """The output of a fused backward kernel."""
    parts = own.vectors.new_empty(splits, own.pad, own.u.shape[1])
    return parts, own.vectors.new_empty(splits, own.pad) if wants_tau else None


def fused_configuration(
    own: Rows, others: Rows, gains: Gains, plan: Plan, run: Pass, arguments: dict[str, Any]
) -> Configuration:
    """Of a fused backward kernel: programs for blocks of rows, parts of the columns and blocks of D."""
    width = plan.tile.width
    programs = -(-own.n // plan.tile.rows) * plan.splits * (own.u.shape[1] // width)
    return pair_configuration(own, others, plan, programs, run, gains.transposed, BLOCK_D=width, **arguments)


def fused_gradient(own: Rows, others: Rows, gains: Gains, numbers: Tensor, wants_tau: bool, run: Pass) -> Parts:
    """Rows with at most one positive."""
    plan = make_plan(own.n, others, own.u, "backward", run)
    parts = empty_parts(own, plan.splits, wants_tau)
    run.launch(
        backward_kernel,
        {**gradient_tensors(own, others, gains, *parts, run), "numbers": numbers},
        lambda: fused_configuration(own, others, gains, plan, run, weight_arguments(run.problem)),
    )
    return parts


def dense_gradient(own: Rows, others: Rows, gains: Gains, tables: Tables, wants_tau: bool, run: Pass) -> Parts:
    """Rows with any number of positives."""
    plan = make_plan(own.n, others, own.u, "backward", run)
    parts = empty_parts(own, plan.splits, wants_tau)
    run.launch(
        backward_dense_kernel,
        {**gradient_tensors(own, others, gains, *parts, run), **tables.by_name},
        lambda: fused_configuration(own, others, gains, plan, run, {"threshold": run.problem.threshold}),
    )
    return parts


def strip_rows(rows: int, bytes_each: int) -> int:
    """Rows of one strip of G: as many as fit STRIP_BYTES, at most a quarter of all if that is FEWEST_ROWS or more."""
    fitting = STRIP_BYTES // bytes_each // PAD * PAD
    quarter = -(-rows // (4 * PAD)) * PAD
    return min(rows, max(PAD, fitting), max(FEWEST_ROWS, quarter))


def strip_gradient(own: Rows, others: Rows, gains: Gains, numbers: Tensor, wants_tau: bool, run: Pass) -> Parts:
    """Rows with at most one positive and a D too wide for registers: strips of G, and products by cuBLAS."""
    d, u = own.u.shape[1], own.u
    held = strip_rows(own.pad, others.pad * u.element_size())
    plan = make_plan(held, others, u, "strip", run)
    parts = own.vectors.new_empty(1, own.pad, d)
    weighted_gradient = own.vectors.new_empty(plan.splits, own.pad) if wants_tau else None
    gradient_strip = u.new_empty(held, others.pad)
    tensors = {**gradient_tensors(own, others, gains, gradient_strip, weighted_gradient, run), "numbers": numbers}
    for first in range(0, own.pad, held):
        count = min(held, own.pad - first)
        programs = count // plan.tile.rows * plan.splits
        more = {"first_block": first // PAD, **weight_arguments(run.problem)}
        run.launch(
            backward_strip_kernel,
            tensors,
            partial(pair_configuration, own, others, plan, programs, run, gains.transposed, **more),
        )
        multiply(gradient_strip[:count], others.u, parts[0, first : first + count])
    return parts, weighted_gradient


def multiply(gradient_strip: Tensor, u: Tensor, out: Tensor) -> None:
    """out = gradient_strip u, in fp32: half precision would round the sums, or overflow."""
    if gradient_strip.dtype == out.dtype:
        torch.mm(gradient_strip, u, out=out)
    elif gradient_strip.is_cuda and MIXED_PRODUCTS:
        torch.mm(gradient_strip, u, out_dtype=out.dtype, out=out)
    else:
        torch.mm(gradient_strip.float(), u.float(), out=out)


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
    parts: Parts,
    targets: tuple[Tensor, Tensor | None],
    dtau: Tensor | None,
    run: Pass,
) -> None:
    """Sum the parts, add single positives, and go back from the sphere to z."""
    p, (gradients, weighted_gradient), (dq, dq2) = run.problem, parts, targets

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
            "SPLITS": len(gradients),
            "WEIGHTED_SPLITS": 0 if weighted_gradient is None else len(weighted_gradient),
            "D": d,
            "COLUMNS": columns,
            "ROWS": at_once,
        }
        return Configuration(-(-own.n // at_once), arguments, SMALL)

    tensors = {
        "parts": gradients,
        "weighted_gradient": weighted_gradient,
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
