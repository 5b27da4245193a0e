"""The experimental forward in Gluon (:mod:`.gluon_forward`): where it can be launched, and with what tile.

Off unless the environment variable ECGLOSS_GLUON is 1. Whatever it does not take, the Triton kernel does: also weights
with a normaliser, for which it was the faster one on an H100.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .device import architecture, choose_splits, processors
from .launch_cache import Configuration, Pass
from .launch_plan import Plan, pair_configuration, pair_tensors
from .memory_layout import PARTIALS
from .problem import Rows
from .tile_table import Tile

WIDTHS = (64, 128, 256)
NORMS = ("uniform", "none")
VARIABLE = "ECGLOSS_GLUON"


def is_asked_for() -> bool:
    """Whether the environment asks for it."""
    return os.environ.get(VARIABLE) == "1"


def is_wanted(rows: Rows, run: Pass) -> bool:
    """Whether the Gluon kernel is asked for and can do the forward of a problem with at most one positive per row."""
    if not is_asked_for() or importlib.util.find_spec("triton.experimental.gluon") is None:
        return False
    half, d = rows.u.element_size() == 2, rows.u.shape[1]
    summed = getattr(run.problem.rule, "norm", "") in NORMS
    return summed and half and d in WIDTHS and run.problem.fixed_maximum and architecture(rows.u.device) == "sm90"


class GluonTile(NamedTuple):
    """Sizes of :mod:`.gluon_forward`.

    Attributes:
        columns: BLOCK_N.
        stages: Tiles of columns in shared memory.
        turn: Tiles of one turn of the loop, a multiple of ``stages``.
        held: Whether the rows stay in registers.
        rows: BLOCK_M.
        warps: Of a program.
    """

    columns: int = 64
    stages: int = 4
    turn: int = 4
    held: bool = False
    rows: int = 128
    warps: int = 8


def choose_tile(rule: Any) -> GluonTile:
    """The tile for a rule, at any D."""
    return GluonTile(held=rule.norm == "uniform")


def make_plan(rows: Rows, cols: Rows, run: Pass) -> Plan:
    """The plan of the kernel."""
    d, sizes = rows.u.shape[1], choose_tile(run.problem.rule)
    programs, tiles = -(-rows.n // sizes.rows), -(-cols.n // sizes.columns)
    splits = choose_splits(programs, tiles, processors(rows.u.device), 4 * rows.n * PARTIALS)
    return Plan(Tile(sizes.rows, sizes.columns, d, d, sizes.warps, stages=sizes.stages), "ieee", splits)


def descriptor(u: Tensor, rows: int) -> Any:
    """A descriptor for copies of blocks of rows of a matrix by TMA."""
    from triton.experimental.gluon import language as gl
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

    block = [rows, u.shape[1]]
    kind = gl.bfloat16 if u.dtype == torch.bfloat16 else gl.float16
    return TensorDescriptor.from_tensor(u, block, gl.NVMMASharedLayout.get_default_for(block, kind))


def partial_statistics(rows: Rows, cols: Rows, numbers: Tensor, partials: Tensor, plan: Plan, run: Pass) -> None:
    """Sums over the parts of the columns."""
    from .gluon_forward import gluon_forward_kernel  # Gluon is imported where it is wanted

    p, sizes = run.problem, choose_tile(run.problem.rule)

    def configure() -> Configuration:
        found = pair_configuration(
            rows,
            cols,
            plan,
            -(-p.n // sizes.rows) * plan.splits,
            run,
            alpha=p.alpha,
            square=int(p.square),
            normal_columns=p.normal_columns,
            ALIGNMENT=p.alignment,
            FIXED_MAXIMUM=p.fixed_maximum,
            STAGES=sizes.stages,
            TURN=sizes.turn,
            HELD=sizes.held,
            WARPS=sizes.warps,
        )
        arguments = {name: value for name, value in found.arguments.items() if name not in ("PRECISION", "BLOCK_K")}
        return found._replace(arguments=arguments, options={"num_warps": sizes.warps, "enable_fp_fusion": True})

    tensors = {**pair_tensors(rows, cols, run), "numbers": numbers, "partials": partials}
    tensors |= {"u_rows": descriptor(rows.u, sizes.rows), "u_cols": descriptor(cols.u, sizes.columns)}
    run.launch(gluon_forward_kernel, tensors, configure)
