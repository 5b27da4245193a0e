"""The sums of :mod:`.forward` on Hopper, in Gluon: while a tile's exponentials are added up, the next is multiplied.

    wait for product j     copy columns of tile j + STAGES     add the pairs of tile j     start product j + 2

so that product j + 1 runs all the while, and product j + 2 stands behind it when it ends. Triton's own pipeliner waits
for a product directly after it. The rows A stay in shared memory, or with HELD in registers, which spares shared memory
half its reads; tiles of columns come by TMA into a ring of STAGES slots.

ptxas follows products through straight code only: one that is in flight when a loop begins anew is waited for at once
(warning C7514). A turn of the loop is therefore TURN tiles long, a multiple of STAGES, and at its end all products are
waited for.
"""

from __future__ import annotations

import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma, warpgroup_mma, warpgroup_mma_wait

from .forward import load_origin, row_totals, store_totals
from .forward_pair import add_tile, sums_from
from .lanes import lane_sums
from .memory_layout import INVERSE, PAD
from .primitives import column_range, exponent_scale, load_temperature, load_vector, program_tile
from .weight import fixed_maximum, risk_weight

# Renamed between Triton 3.6 and 3.9.
load_tile = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared
RUNTIME = ["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits", "square", "normal_columns"]


@gluon.jit
def copy_rows(slot, descriptor, row, full, BYTES: gl.constexpr):
    """Start to copy rows row, row + 1, .. of a matrix into a slot of shared memory; ``full`` ends a phase with it."""
    mbarrier.expect(full, BYTES)
    load_tile(descriptor, [row, 0], full, slot)


@gluon.jit
def start_product(a, b, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, LAYOUT: gl.constexpr):
    """Start a b^T."""
    zeros = gl.zeros([BLOCK_M, BLOCK_N], gl.float32, LAYOUT)
    return warpgroup_mma(a, b.permute((1, 0)), zeros, use_acc=False, is_async=True)


@gluon.jit
def operand(a, LAYOUT: gl.constexpr, HELD: gl.constexpr):
    """The rows as an operand of products: where they are in shared memory, or in registers."""
    if HELD:
        return a.load(gl.DotOperandLayout(0, LAYOUT, 2))
    else:
        return a


@gluon.jit
def opaque(number):
    """The number, unknown to the compiler: else it keeps the addresses of all slots in registers, 64 of 64 bits."""
    return gl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [number], dtype=gl.int32, is_pure=False, pack=1)


@gluon.jit
def in_layout(vectors, LAYOUT: gl.constexpr):
    """Ten vectors in another layout."""
    v0, v1, v2, v3, v4, v5, v6, v7, v8, v9 = vectors
    return (
        gl.convert_layout(v0, LAYOUT),
        gl.convert_layout(v1, LAYOUT),
        gl.convert_layout(v2, LAYOUT),
        gl.convert_layout(v3, LAYOUT),
        gl.convert_layout(v4, LAYOUT),
        gl.convert_layout(v5, LAYOUT),
        gl.convert_layout(v6, LAYOUT),
        gl.convert_layout(v7, LAYOUT),
        gl.convert_layout(v8, LAYOUT),
        gl.convert_layout(v9, LAYOUT),
    )


@gluon.jit(do_not_specialize=RUNTIME)
def gluon_forward_kernel(
    u_rows,  # descriptor of [n_pad, D] by BLOCK_M rows
    u_cols,  # descriptor of [m_pad, D] by BLOCK_N rows
    row_vectors,  # [lines, n_pad]
    col_vectors,  # [lines, m_pad]
    numbers,  # [NUMBERS]
    partials,  # [splits, PARTIALS, n_pad]
    tau_pointer,  # 0-d, or None
    tau,
    alpha,
    n,
    m,
    n_blocks,
    m_blocks,
    shift_0,
    shift_1,
    period,
    splits,
    square,
    normal_columns,  # columns that softmax weights are normalised over: one view of the samples
    RULE: gl.constexpr,
    ALIGNMENT: gl.constexpr,  # "" | "cosine" | "minmax"
    FIXED_MAXIMUM: gl.constexpr,
    D: gl.constexpr,
    BLOCK_M: gl.constexpr,
    BLOCK_N: gl.constexpr,
    STAGES: gl.constexpr,
    TURN: gl.constexpr,
    HELD: gl.constexpr,
    WARPS: gl.constexpr,
):
    """One program per block of rows and part of the columns."""
    TILE: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [WARPS, 1], [16, BLOCK_N, 16])
    ROWS: gl.constexpr = gl.SliceLayout(1, TILE)
    BYTES: gl.constexpr = 2 * D  # of a row

    n_pad, m_pad = n_blocks * PAD, m_blocks * PAD
    split, _chunk, row = program_tile(splits, 1, BLOCK_M)
    begin, end = column_range(split, splits, m, BLOCK_N)
    a_slot = gl.allocate_shared_memory(u_rows.dtype, [BLOCK_M, D], u_rows.layout)
    b = gl.allocate_shared_memory(u_cols.dtype, [STAGES, BLOCK_N, D], u_cols.layout)
    full = gl.allocate_shared_memory(gl.int64, [STAGES + 1, 1], mbarrier.MBarrierLayout())
    for stage in gl.static_range(STAGES + 1):
        mbarrier.init(full.index(stage), 1)
    copy_rows(a_slot, u_rows, row, full.index(STAGES), BLOCK_M * BYTES)
    for stage in gl.static_range(STAGES):
        copy_rows(b.index(stage), u_cols, begin + stage * BLOCK_N, full.index(stage), BLOCK_N * BYTES)

    rows = row + gl.arange(0, BLOCK_M, ROWS)
    tau = load_temperature(tau_pointer, tau)
    scale = exponent_scale(tau)
    inverse = load_vector(row_vectors, INVERSE, rows, n_pad)
    row_origin = load_origin(row_vectors, rows, n_pad, inverse, ALIGNMENT)
    maximum = 0.0 * scale
    if FIXED_MAXIMUM:
        maximum = fixed_maximum(scale, RULE)
    normal_end = gl.minimum(normal_columns, end)
    sums = sums_from(lane_sums(gl.zeros([BLOCK_M, BLOCK_N], gl.float32, TILE)))

    mbarrier.wait(full.index(STAGES), 0)
    a = operand(a_slot, TILE, HELD)
    mbarrier.wait(full.index(0), 0)
    t = warpgroup_mma_wait(0, deps=[start_product(a, b.index(0), BLOCK_M, BLOCK_N, TILE)])
    phase = 0  # of the slots where a turn begins, its first tile in the first slot
    for start in range(begin, end, TURN * BLOCK_N):
        mbarrier.wait(full.index(1), phase)
        product = start_product(a, b.index(opaque(1)), BLOCK_M, BLOCK_N, TILE)
        second = product
        for j in gl.static_range(TURN):
            col = start + j * BLOCK_N
            cols = gl.minimum(col, m_pad - BLOCK_N) + gl.arange(0, BLOCK_N, gl.SliceLayout(0, TILE))
            col_inverse = load_vector(col_vectors, INVERSE, cols, m_pad)
            w = 1.0
            if RULE.norm != "uniform":
                w = risk_weight(row_vectors, col_vectors, rows, cols, n_pad, m_pad, numbers, alpha, RULE)
            if j > 0:
                t = warpgroup_mma_wait(1, deps=[product])
                product = second
            tl.debug_barrier()  # all warps have waited for product j, which has read the slot
            copy_rows(b.index(j % STAGES), u_cols, col + STAGES * BLOCK_N, full.index(j % STAGES), BLOCK_N * BYTES)
            if col < end:
                t *= col_inverse[None, :]
                sums = add_tile(
                    sums,
                    t,
                    w,
                    rows,
                    cols,
                    row,
                    col,
                    inverse,
                    row_origin,
                    numbers,
                    scale,
                    maximum,
                    end,
                    shift_0,
                    shift_1,
                    period,
                    square,
                    normal_end,
                    RULE,
                    ALIGNMENT,
                    FIXED_MAXIMUM,
                )
            if j < TURN - 1:
                mbarrier.wait(full.index((j + 2) % STAGES), phase ^ ((j + 2) // STAGES % 2))
                second = start_product(a, b.index(opaque((j + 2) % STAGES)), BLOCK_M, BLOCK_N, TILE)
        t = warpgroup_mma_wait(0, deps=[product])
        phase ^= TURN // STAGES % 2
    for stage in gl.static_range(STAGES):
        mbarrier.wait(full.index(stage), phase)  # a program must not end before its copies

    totals = in_layout(row_totals(sums, maximum, FIXED_MAXIMUM), ROWS)
    store_totals(partials, split, rows, n_pad, totals, inverse, ALIGNMENT)
