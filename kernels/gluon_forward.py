"""The sums of :mod:`.forward` on Hopper, in Gluon: the epilogue of a tile runs under the matrix product of the next.

    start s1 = A B[j + 1]    epilogue of s0    wait for s1    start s0 = A B[j + 2]    epilogue of s1    wait for s0

Triton's own pipeliner waits for a product directly after it. The rows A stay in shared memory; tiles of columns come by
asynchronous copies into a ring of STAGES slots, the slot of tile j being filled again as soon as its product is done.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    async_copy,
    fence_async_shared,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from .forward import load_origin, row_totals, store_totals
from .forward_pair import add_pairs, sums_from
from .lanes import lane_sums
from .memory_layout import INVERSE, PAD
from .primitives import column_range, exponent_scale, is_special, load_temperature, load_vector, program_tile
from .weight import fixed_maximum, risk_weight

# Renamed between Triton 3.6 and 3.9.
copy_to_shared = getattr(async_copy, "async_load", None) or async_copy.async_copy_global_to_shared
RUNTIME = ["n", "m", "n_blocks", "m_blocks", "shift_0", "shift_1", "period", "splits", "square", "normal_columns"]


@gluon.jit
def copy_rows(slot, u, row, D: gl.constexpr, LAYOUT: gl.constexpr):
    """Start to copy rows row, row + 1, .. of u (rows, D) into a slot of shared memory."""
    rows = row + gl.arange(0, slot.shape[0], gl.SliceLayout(1, LAYOUT))
    width = gl.arange(0, D, gl.SliceLayout(0, LAYOUT))
    copy_to_shared(slot, u + (rows.to(gl.int64)[:, None] * D + width[None, :]))


@gluon.jit
def start_product(a, b, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, LAYOUT: gl.constexpr):
    """Start a b^T."""
    zeros = gl.zeros([BLOCK_M, BLOCK_N], gl.float32, LAYOUT)
    return warpgroup_mma(a, b.permute((1, 0)), zeros, use_acc=False, is_async=True)


@gluon.jit
def add_tile(
    sums,
    t,
    rows,
    row,
    col,
    inverse,
    row_origin,
    row_vectors,
    col_vectors,
    numbers,
    scale,
    maximum,
    alpha,
    n_pad,
    m_pad,
    end,
    shift_0,
    shift_1,
    period,
    square,
    normal_columns,
    RULE: gl.constexpr,
    ALIGNMENT: gl.constexpr,
    FIXED_MAXIMUM: gl.constexpr,
    BLOCK_M: gl.constexpr,
    BLOCK_N: gl.constexpr,
    LAYOUT: gl.constexpr,
    MASKED: gl.constexpr,
):
    """``sums`` with those of a tile of products ``t``."""
    cols = col + gl.arange(0, BLOCK_N, gl.SliceLayout(0, LAYOUT))
    t *= load_vector(col_vectors, INVERSE, cols, m_pad)[None, :]
    w = 1.0
    if RULE.norm != "uniform":
        w = risk_weight(row_vectors, col_vectors, rows, cols, n_pad, m_pad, numbers, alpha, RULE)
    if MASKED:
        return add_pairs(
            sums,
            t,
            w,
            rows,
            cols,
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
            normal_columns,
            RULE,
            ALIGNMENT,
            FIXED_MAXIMUM,
            SPECIAL=True,
        )
    special = is_special(row, col, end, shift_0, shift_1, period, BLOCK_M, BLOCK_N)
    if RULE.norm == "softmax":
        special = special | ((col < normal_columns) & (normal_columns < col + BLOCK_N))
    if special:
        sums = add_pairs(
            sums,
            t,
            w,
            rows,
            cols,
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
            normal_columns,
            RULE,
            ALIGNMENT,
            FIXED_MAXIMUM,
            SPECIAL=True,
        )
    else:
        sums = add_pairs(
            sums,
            t,
            w,
            rows,
            cols,
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
            normal_columns,
            RULE,
            ALIGNMENT,
            FIXED_MAXIMUM,
            SPECIAL=False,
        )
    return sums


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
    u_rows,  # [n_pad, D]
    u_cols,  # [m_pad, D]
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
    WARPS: gl.constexpr,
):
    """One program per block of rows and part of the columns."""
    TILE: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [WARPS, 1], [16, BLOCK_N, 16])
    CHUNKS: gl.constexpr = D // 8 if D < 256 else 32  # of 16 bytes per row
    COPY: gl.constexpr = gl.BlockedLayout([1, 8], [32 // CHUNKS, CHUNKS], [WARPS, 1], [1, 0])
    ROWS: gl.constexpr = gl.SliceLayout(1, TILE)
    dtype: gl.constexpr = u_cols.dtype.element_ty
    SHARED: gl.constexpr = gl.NVMMASharedLayout.get_default_for([BLOCK_N, D], dtype)

    n_pad, m_pad = n_blocks * PAD, m_blocks * PAD
    split, _chunk, row = program_tile(splits, 1, BLOCK_M)
    begin, end = column_range(split, splits, m, BLOCK_N)
    a = gl.allocate_shared_memory(dtype, [BLOCK_M, D], gl.NVMMASharedLayout.get_default_for([BLOCK_M, D], dtype))
    b = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_N, D], SHARED)
    last = m_pad - BLOCK_N
    copy_rows(a, u_rows, row, D, COPY)
    for stage in gl.static_range(STAGES):
        copy_rows(b.index(stage), u_cols, gl.minimum(begin + stage * BLOCK_N, last), D, COPY)
        async_copy.commit_group()

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

    async_copy.wait_group(STAGES - 1)
    fence_async_shared()
    s0 = warpgroup_mma_wait(0, deps=[start_product(a, b.index(0), BLOCK_M, BLOCK_N, TILE)])
    slot = 0  # of the tile of s0
    for col in range(begin, end - BLOCK_N, 2 * BLOCK_N):
        following = (slot + 1) % STAGES
        async_copy.wait_group(STAGES - 2)
        fence_async_shared()
        pending = start_product(a, b.index(following), BLOCK_M, BLOCK_N, TILE)
        copy_rows(b.index(slot), u_cols, gl.minimum(col + STAGES * BLOCK_N, last), D, COPY)
        async_copy.commit_group()
        sums = add_tile(
            sums,
            s0,
            rows,
            row,
            col,
            inverse,
            row_origin,
            row_vectors,
            col_vectors,
            numbers,
            scale,
            maximum,
            alpha,
            n_pad,
            m_pad,
            end,
            shift_0,
            shift_1,
            period,
            square,
            normal_end,
            RULE,
            ALIGNMENT,
            FIXED_MAXIMUM,
            BLOCK_M,
            BLOCK_N,
            TILE,
            MASKED=False,
        )
        s1 = warpgroup_mma_wait(0, deps=[pending])
        slot = following
        following = (slot + 1) % STAGES
        async_copy.wait_group(STAGES - 2)
        fence_async_shared()
        pending = start_product(a, b.index(following), BLOCK_M, BLOCK_N, TILE)
        copy_rows(b.index(slot), u_cols, gl.minimum(col + (STAGES + 1) * BLOCK_N, last), D, COPY)
        async_copy.commit_group()
        sums = add_tile(
            sums,
            s1,
            rows,
            row,
            col + BLOCK_N,
            inverse,
            row_origin,
            row_vectors,
            col_vectors,
            numbers,
            scale,
            maximum,
            alpha,
            n_pad,
            m_pad,
            end,
            shift_0,
            shift_1,
            period,
            square,
            normal_end,
            RULE,
            ALIGNMENT,
            FIXED_MAXIMUM,
            BLOCK_M,
            BLOCK_N,
            TILE,
            MASKED=False,
        )
        s0 = warpgroup_mma_wait(0, deps=[pending])
        slot = following
    tiles = gl.cdiv(end - begin, BLOCK_N)
    if tiles % 2 == 1:
        sums = add_tile(
            sums,
            s0,
            rows,
            row,
            begin + (tiles - 1) * BLOCK_N,
            inverse,
            row_origin,
            row_vectors,
            col_vectors,
            numbers,
            scale,
            maximum,
            alpha,
            n_pad,
            m_pad,
            end,
            shift_0,
            shift_1,
            period,
            square,
            normal_end,
            RULE,
            ALIGNMENT,
            FIXED_MAXIMUM,
            BLOCK_M,
            BLOCK_N,
            TILE,
            MASKED=True,
        )
    async_copy.wait_group(0)

    totals = in_layout(row_totals(sums, maximum, FIXED_MAXIMUM), ROWS)
    store_totals(partials, split, rows, n_pad, totals, inverse, ALIGNMENT)
