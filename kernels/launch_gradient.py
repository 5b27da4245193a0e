"""Launches of the backward kernels over pairs: fused, with many positives, or strips of G with matrix products."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .backward import backward_kernel
from .backward_dense import backward_dense_kernel
from .backward_strip import backward_strip_kernel
from .launch_cache import Configuration, Pass
from .launch_plan import Plan, make_plan, pair_configuration, pair_tensors
from .problem import PAD, Rows, Tables, TritonProblem

STRIP_BYTES = 2**29  # at most, of one strip of G
FEWEST_ROWS = 1024  # of a strip: products with fewer would leave multiprocessors without work
MIXED_PRODUCTS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 8)  # torch.mm(..., out_dtype=)


class Gains(NamedTuple):
    """Gains, (GAINS, padded rows), for the gradient of some rows.

    Attributes:
        own: Those of these rows; None where their statistics have no gradients.
        others: Those of the rows they are paired with; None where those have none.
        scales: (SCALES,) numbers of the pass.
    """

    own: Tensor | None
    others: Tensor | None
    scales: Tensor

    @property
    def transposed(self) -> bool:
        """Whether these rows are the columns of a rectangular problem: only its rows have statistics."""
        return self.own is None


def gradient_tensors(own: Rows, others: Rows, gains: Gains, out: Tensor, run: Pass) -> dict[str, Any]:
    """Tensors of a backward kernel over pairs."""
    return {
        **pair_tensors(own, others, run),
        "row_gains": gains.own,
        "col_gains": gains.others,
        "out": out,
    }


def weight_arguments(p: TritonProblem) -> dict[str, Any]:
    """Arguments of backward kernels for rows with at most one positive."""
    return {"alpha": p.alpha, "ALIGNMENT": p.alignment, "FIXED_MAXIMUM": p.fixed_maximum}


def relation_arguments(p: TritonProblem) -> dict[str, Any]:
    """Arguments of kernels for rows with any number of positives."""
    return {"threshold": p.threshold, "FIXED_MAXIMUM": p.fixed_maximum}


def empty_parts(own: Rows, splits: int) -> Tensor:
    """The output of a fused backward kernel."""
    return own.vectors.new_empty(splits, own.pad, own.u.shape[1])


def fused_configuration(
    own: Rows, others: Rows, gains: Gains, plan: Plan, run: Pass, arguments: dict[str, Any]
) -> Configuration:
    """Of a fused backward kernel: programs for blocks of rows, parts of the columns and blocks of D."""
    width = plan.tile.width
    programs = -(-own.n // plan.tile.rows) * plan.splits * (own.u.shape[1] // width)
    return pair_configuration(own, others, plan, programs, run, gains.transposed, BLOCK_D=width, **arguments)


def fused_gradient(own: Rows, others: Rows, gains: Gains, numbers: Tensor, run: Pass) -> Tensor:
    """Rows with at most one positive."""
    plan = make_plan(own.n, others, own.u, "backward", run)
    parts = empty_parts(own, plan.splits)
    run.launch(
        backward_kernel,
        {**gradient_tensors(own, others, gains, parts, run), "scales": gains.scales, "numbers": numbers},
        lambda: fused_configuration(own, others, gains, plan, run, weight_arguments(run.problem)),
    )
    return parts


def dense_gradient(own: Rows, others: Rows, gains: Gains, tables: Tables, run: Pass) -> Tensor:
    """Rows with any number of positives."""
    plan = make_plan(own.n, others, own.u, "backward", run)
    parts = empty_parts(own, plan.splits)
    run.launch(
        backward_dense_kernel,
        {**gradient_tensors(own, others, gains, parts, run), **tables.by_name},
        lambda: fused_configuration(own, others, gains, plan, run, relation_arguments(run.problem)),
    )
    return parts


def strip_rows(rows: int, bytes_each: int) -> int:
    """Rows of one strip of G: within STRIP_BYTES, and at most a quarter of all or FEWEST_ROWS, whichever is more."""
    fitting = STRIP_BYTES // bytes_each // PAD * PAD
    quarter = -(-rows // (4 * PAD)) * PAD
    return min(rows, max(PAD, fitting), max(FEWEST_ROWS, quarter))


def strip_gradient(own: Rows, others: Rows, gains: Gains, numbers: Tensor, run: Pass) -> Tensor:
    """Rows with at most one positive and a D too wide for registers: strips of G, and products by cuBLAS."""
    d, u = own.u.shape[1], own.u
    held = strip_rows(own.pad, others.pad * u.element_size())
    plan = make_plan(held, others, u, "strip", run)
    parts = own.vectors.new_empty(1, own.pad, d)
    gradient_strip = u.new_empty(held, others.pad)
    tensors = {**gradient_tensors(own, others, gains, gradient_strip, run), "scales": gains.scales, "numbers": numbers}
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
    return parts


def multiply(gradient_strip: Tensor, u: Tensor, out: Tensor) -> None:
    """out = gradient_strip u, in fp32: half precision would round the sums, or overflow."""
    if gradient_strip.dtype == out.dtype:
        torch.mm(gradient_strip, u, out=out)
    elif gradient_strip.is_cuda and MIXED_PRODUCTS:
        torch.mm(gradient_strip, u, out_dtype=out.dtype, out=out)
    else:
        torch.mm(gradient_strip.float(), u.float(), out=out)
