"""Tile, precision and splits of the kernels over pairs, and the arguments that all of them have."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from . import memory_layout
from .device import architecture, choose_splits, precision, processors
from .launch_cache import Configuration, Pass
from .memory_layout import NO_SHIFT, Relation, Weights
from .problem import Rows
from .tile_table import Tile, tile

HELD = 4096  # numbers that one program of a kernel over (rows, D) holds
BLOCK = 256  # rows per program of a kernel over vectors
SMALL = {"num_warps": 4, "enable_fp_fusion": True}


class Plan(NamedTuple):
    """How a kernel over pairs runs.

    Attributes:
        tile: Sizes of its tiles.
        precision: ``input_precision`` of its products.
        splits: Parts of the columns, with programs of their own.
    """

    tile: Tile
    precision: str
    splits: int


def pass_names(step: str, rule: Weights | Relation, alignment: str) -> tuple[str, ...]:
    """Names in the tile table of the step "forward", "backward" or "strip" with a rule."""
    if isinstance(rule, Relation):
        return f"{step}-{rule.kind}", f"{step}-dense"
    if step == "forward" and (alignment == "minmax" or rule.norm in ("mean", "softmax")):
        return (f"{step}-moments",)  # sums besides that of the exponentials
    return f"{step}-{'uniform' if rule.norm == 'uniform' else 'weighted'}", step


def make_plan(n: int, others: Rows, u: Tensor, step: str, run: Pass) -> Plan:
    """The plan of the step "forward", "backward" or "strip" whose programs own blocks of n rows."""
    d, rule, alignment = u.shape[1], run.problem.rule, run.problem.alignment
    how, product = precision(u, alignment != "")
    sizes = tile(architecture(u.device), pass_names(step, rule, alignment), product, d)
    programs = -(-n // sizes.rows) * (d // sizes.width)
    numbers = d if step == "backward" else memory_layout.PARTIALS  # of one row in one part
    at_once = sizes.occupancy * processors(u.device)
    return Plan(sizes, how, choose_splits(programs, -(-others.n // sizes.columns), at_once, 4 * n * numbers))


def pair_tensors(own: Rows, others: Rows, run: Pass) -> dict[str, Any]:
    """Tensors and temperature of a kernel over pairs."""
    return {
        "u_rows": own.u,
        "u_cols": others.u,
        "row_vectors": own.vectors,
        "col_vectors": others.vectors,
        **run.temperature,
    }


def pair_configuration(
    own: Rows, others: Rows, plan: Plan, programs: int, run: Pass, transposed: bool = False, **more: Any
) -> Configuration:
    """Sizes, shifts and constants of a kernel over pairs, and ``more``; ``transposed``: ``own`` are the columns."""
    p, sizes = run.problem, plan.tile
    shift_0, shift_1 = p.shifts
    if transposed:  # column - row changes its sign
        shift_0, shift_1 = (shift if shift == NO_SHIFT else -shift for shift in (shift_0, shift_1))
    arguments = {
        "n": own.n,
        "m": others.n,
        "n_blocks": own.blocks,
        "m_blocks": others.blocks,
        "shift_0": shift_0,
        "shift_1": shift_1,
        "period": -p.m if transposed else p.m,
        "splits": plan.splits,
        "RULE": p.rule,
        "PRECISION": plan.precision,
        "D": own.u.shape[1],
        "BLOCK_M": sizes.rows,
        "BLOCK_N": sizes.columns,
        "BLOCK_K": sizes.depth,
    }
    options = {"num_warps": sizes.warps, "num_stages": sizes.stages, "enable_fp_fusion": True}
    return Configuration(programs, {**arguments, **more}, options)
