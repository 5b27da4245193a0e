"""The experimental forward in Gluon (:mod:`.gluon_forward`): where it can be launched, and with what tile.

Off unless the environment variable ECGLOSS_GLUON is 1. Whatever it does not take, the Triton kernel does.
"""

from __future__ import annotations

import importlib.util
import os

from torch import Tensor

from .device import architecture, choose_splits, processors
from .launch_cache import Configuration, Pass
from .launch_plan import Plan, pair_configuration, pair_tensors
from .memory_layout import PARTIALS, Relation, Weights
from .problem import Rows
from .tile_table import Tile

ROWS, COLUMNS, WARPS = 128, 64, 8
WIDTHS = (64, 128, 256)
VARIABLE = "ECGLOSS_GLUON"


def is_asked_for() -> bool:
    """Whether the environment asks for it."""
    return os.environ.get(VARIABLE) == "1"


def is_wanted(rows: Rows, run: Pass) -> bool:
    """Whether the Gluon kernel is asked for and can do the forward of a problem with at most one positive per row."""
    if not is_asked_for() or importlib.util.find_spec("triton.experimental.gluon") is None:
        return False
    half, d = rows.u.element_size() == 2, rows.u.shape[1]
    return half and d in WIDTHS and run.problem.fixed_maximum and architecture(rows.u.device) == "sm90"


def stages(rule: Weights | Relation) -> int:
    """Tiles of columns in flight: they fill the shared memory of a multiprocessor beside a block of rows."""
    return 4 if rule == Weights() else 3


def make_plan(rows: Rows, cols: Rows, run: Pass) -> Plan:
    """The plan of the kernel."""
    d = rows.u.shape[1]
    sizes = Tile(ROWS, COLUMNS, d, d, WARPS, stages=stages(run.problem.rule))
    programs, tiles = -(-rows.n // ROWS), -(-cols.n // COLUMNS)
    splits = choose_splits(programs, tiles, processors(rows.u.device), 4 * rows.n * PARTIALS)
    return Plan(sizes, "ieee", splits)


def partial_statistics(rows: Rows, cols: Rows, numbers: Tensor, partials: Tensor, plan: Plan, run: Pass) -> None:
    """Sums over the parts of the columns."""
    from .gluon_forward import gluon_forward_kernel  # Gluon is imported where it is wanted

    p, sizes = run.problem, plan.tile

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
            WARPS=sizes.warps,
        )
        arguments = {name: value for name, value in found.arguments.items() if name not in ("PRECISION", "BLOCK_K")}
        return found._replace(arguments=arguments, options={"num_warps": sizes.warps, "enable_fp_fusion": True})

    tensors = {**pair_tensors(rows, cols, run), "numbers": numbers, "partials": partials}
    run.launch(gluon_forward_kernel, tensors, configure)
