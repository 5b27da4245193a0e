"""The tile of every kernel over pairs: one table, one line per tile.

The columns of the table, named in its first line:

- architectures: as :func:`ecgloss.kernels.device.architecture` names them. An unknown one uses the lines of the nearest
  older one with no more shared memory.
- passes: "forward", "backward" or "strip" (rows of G for cuBLAS), or more closely with the rule, as "forward-labels"
  (:func:`ecgloss.kernels.launch_plan.pass_names`).
- products: "half" (16-bit inputs), "tensor" (fp32 on tensor cores) or "ieee" (exact fp32).
- max_D: the line holds up to this D; "129-256": from 129 to 256.
- rows, cols, depth, width, warps, stages, occupancy, prefetch: the attributes of :class:`Tile`. A depth or width of
  9999 is D itself, "-" none.

The first line that fits is used; lines of a JSON file that the environment variable ECGLOSS_TILES names come before
these (:mod:`.tile_file`). For a D above the max_D of every "backward" line the gradient comes from strips of G: a fused
kernel would compute S again for every block of D. Rules with many positives do that, they have no strips.

The lines of sm90 with 16-bit products were chosen by measurement on an H100 or H200, the others by arithmetic.
tests/kernels/test_aot.py checks that every tile compiles without spills.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from . import tile_file

TABLE = """
# architectures      passes                  products    max_D rows cols depth width warps stages occupancy prefetch
sm80                 forward-weighted        half          256   64   64  9999     -     4      2      2        -
sm80,sm89            forward-weighted        half          256   64   64  9999     -     8      2      1        -
sm80                 forward                 half          256  128   64  9999     -     4      2      1        -
sm80,sm89            forward                 half          256   64   64  9999     -     8      2      1        -
sm80,sm89            forward-moments         half          256   64   64  9999     -     8      2      1        -
sm80,sm89            forward                 half         9999  128   64    64     -     8      3      1        -
sm80,sm89            forward-moments         half         9999  128   32    64     -     8      3      1        -
sm80,sm89            backward                half           64   64   32  9999  9999     8      2      1        -
sm80,sm89            backward                half          128   64   64  9999  9999     8      2      1        -
sm80,sm89            backward                half          256   64   64   128   256     8      2      1        -
sm80,sm89            strip                   half         9999  128   32    64     -     8      3      1        -
sm80                 forward-labels          half         9999   64   64    64     -     4      2      2        -
sm80,sm89            forward-features        half         9999   64   32    64     -     4      2      1        -
sm80,sm89            forward-dense           half           64   64   32  9999     -     8      2      1        -
sm80,sm89            forward-dense           half         9999   64   64    64     -     8      2      1        -
sm80,sm89            backward-dense          half         9999   32   32    64   128     8      2      1        -

sm90                 forward-weighted        half          128   64   64  9999     -     4      2      2        -
sm90                 forward-moments         half          128   64   64  9999     -     4      2      2        -
sm90                 forward                 half          128  128   64  9999     -     8      3      2        3
sm90                 forward-weighted        half          256   64   64  9999     -     4      2      2        -
sm90                 forward-moments         half          256   64   64  9999     -     4      2      2        -
sm90                 forward                 half          256  128  128  9999     -     8      2      1        -
sm90                 forward-weighted        half          512  128   32  9999     -     8      2      1        -
sm90                 forward-moments         half          512  128   32  9999     -     8      2      1        -
sm90                 forward-weighted        half         9999  128   64    64     -     8      3      1        -
sm90                 forward-moments         half         9999  128   64    64     -     8      3      1        -
sm90                 forward                 half         9999  128  128    64     -     8      4      1        -
sm90                 backward-weighted       half          128   64   64  9999  9999     4      3      2        -
sm90                 backward-weighted       half          256   64   32  9999  9999     4      3      2        -
sm90                 backward                half          128   64   64  9999  9999     4      3      3        -
sm90                 backward                half          256  128   64  9999  9999     8      3      1        -
sm90                 strip-weighted          half         9999  128   64    64     -     8      3      1        -
sm90                 strip                   half         9999  128  128    64     -     8      4      1        -
sm90                 forward-labels          half          128   64   64  9999     -     4      3      2        -
sm90                 forward-labels          half          256   64   64  9999     -     4      2      2        -
sm90                 forward-gaussian        half          256   64   32  9999     -     8      2      1        -
sm90                 forward-features        half          128   64   64  9999     -     4      2      2        -
sm90                 forward-features        half          256  128   64  9999     -     8      2      1        2
sm90                 backward-labels         half          256   64   64  9999  9999     4      2      2        -
sm90                 backward-features       half          128  128   64  9999  9999     8      3      1        -
sm90                 backward-features       half          256  128   32  9999  9999     8      3      1        -
sm90                 backward-dense          half         9999   64   32    64   128     8      2      1        -

sm100                forward                 half          256  128   64  9999     -     8      2      1        -
sm100                forward                 half          512  128   32  9999     -     8      2      1        -
sm100                forward                 half         9999  128   64   128     -     8      2      1        -
sm100                forward-moments         half          256  128   32  9999     -     8      2      1        -
sm100                forward-moments         half         9999   64   64    64     -     8      2      1        -
sm100                backward                half          128  128   64  9999  9999     8      2      1        -
sm100                backward                half          256   64   64  9999  9999     8      2      1        -
sm100                strip                   half         9999   64   64    64     -     8      2      1        -
sm100                backward-dense          half         9999   64   32    64   128     8      2      1        -
sm90,sm100           forward-dense           half          256   64   64  9999     -     8      2      1        -
sm90                 forward-dense           half         9999   64   64    64     -     8      2      1        -
sm100                forward-dense           half         9999   64   32    64     -     8      2      1        -

sm80,sm89,sm100      forward                 tensor       9999   64   64    32     -     8      2      1        -
sm80,sm89,sm100      forward-moments,strip   tensor       9999   64   32    32     -     8      2      1        -
sm80,sm89,sm100      backward                tensor        128   64   32    32    64     8      2      1        -
sm90                 forward                 tensor       9999  128   64    32     -     8      3      1        -
sm90                 forward-moments,strip   tensor       9999  128   32    32     -     8      2      1        -
sm90                 backward                tensor        128  128   32    32   128     8      2      1        -
sm80,sm89,sm90       forward-dense           tensor       9999   64   64    32     -     8      2      1        -
sm100                forward-dense           tensor       9999   64   32    32     -     8      2      1        -
sm80,sm89,sm90,sm100 backward-dense          tensor       9999   32   32    32    32     4      2      1        -
sm80,sm89,sm90,sm100 forward                 ieee         9999   64   64    16     -     8      2      1        -
sm80,sm89,sm90,sm100 forward-moments         ieee         9999   64   64    16     -     8      2      1        -
sm80,sm89            strip                   ieee         9999   64   32    16     -     8      2      1        -
sm90,sm100           strip                   ieee         9999   64   64    16     -     4      2      1        -
sm80,sm89,sm90,sm100 backward                ieee           64   32   32    16    64     8      2      1        -
sm80,sm89,sm90,sm100 backward                ieee          128   32   32    16   128     8      1      1        -
sm80,sm89,sm90,sm100 forward-labels          ieee         9999   64   32    16     -     8      2      1        -
sm80,sm89,sm90,sm100 forward-dense           ieee         9999   64   64    16     -     8      2      1        -
sm80,sm89,sm90,sm100 backward-features       ieee         9999   32   32    16    64     4      2      1        -
sm80,sm89,sm90,sm100 backward-dense          ieee         9999   32   32    16    64     8      2      1        -

gfx942               forward,forward-moments half          128   64   64  9999     -     4      1      1        -
gfx942               forward-dense           half          128   64   64  9999     -     4      1      1        -
gfx942               forward,forward-moments half         9999   64   64    64     -     4      2      1        -
gfx942               forward-dense           half         9999   64   64    64     -     4      2      1        -
gfx942               backward                half          128   64   64  9999  9999     4      1      1        -
gfx942               backward                half          512   64   64    64   256     4      1      1        -
gfx942               strip                   half         9999   64   64    64     -     4      2      1        -
gfx942               backward-dense          half         9999   64   32    64   128     4      1      1        -
gfx942               forward,forward-moments ieee         9999   64   64    32     -     4      1      1        -
gfx942               forward-dense           ieee         9999   64   64    32     -     4      1      1        -
gfx942               backward                ieee          512   64   32    32   128     4      1      1        -
gfx942               strip                   ieee         9999   64   64    32     -     4      1      1        -
gfx942               backward-dense          ieee         9999   64   32    32    64     4      1      1        -

cpu                  forward,forward-moments half         9999   32   16  9999     -     1      1      1        -
cpu                  strip,forward-dense     half         9999   32   16  9999     -     1      1      1        -
cpu                  backward                half          512   32   16  9999    64     1      1      1        -
cpu                  backward-dense          half         9999   32   16  9999    64     1      1      1        -
cpu                  forward,forward-moments tensor,ieee  9999   32   32    64     -     1      1      1        -
cpu                  strip,forward-dense     tensor,ieee  9999   32   32    64     -     1      1      1        -
cpu                  backward                tensor,ieee   512   32   32    64    64     1      1      1        -
cpu                  backward-dense          tensor,ieee  9999   32   32    64    64     1      1      1        -
"""

_LINES = tuple(line for line in TABLE.splitlines() if line and not line.startswith("#"))


class Tile(NamedTuple):
    """Sizes of one kernel.

    Attributes:
        rows: BLOCK_M, rows of a tile of S.
        columns: BLOCK_N, columns of a tile of S.
        depth: BLOCK_K, columns of D per product; D: a block of rows stays in shared memory as a whole.
        width: BLOCK_D, columns of D of one program's gradient.
        warps: Warps per program.
        stages: Tiles of columns in flight at once (software pipelining).
        occupancy: Programs that run on one multiprocessor at the same time.
        prefetch: Tiles ahead of which the vectors of the columns are loaded; None: with the tile.
    """

    rows: int
    columns: int
    depth: int
    width: int
    warps: int
    stages: int
    occupancy: int = 1
    prefetch: int | None = None


@cache
def tile(architecture: str, passes: tuple[str, ...], product: str, d: int) -> Tile:
    """The tile of a pass.

    Args:
        architecture: From :func:`ecgloss.kernels.device.architecture`.
        passes: Names of the pass, from :func:`ecgloss.kernels.launch_plan.pass_names`.
        product: "half", "tensor" or "ieee".
        d: D, padded.

    Raises:
        LookupError: where no line fits.

    Example:
        >>> tile("sm90", ("forward",), "half", 128).rows
        128
    """
    sizes = _find(architecture, passes, product, d)
    if not sizes:
        raise LookupError(f"no tile for {architecture} {passes} {product} D = {d}")
    found = Tile(*(0 if size == "-" else int(size) for size in sizes))
    width = _divisor(d, found.width) if found.width else d
    return found._replace(depth=_divisor(d, found.depth), width=width, prefetch=found.prefetch or None)


@cache
def is_fused(architecture: str, product: str, d: int) -> bool:
    """Whether the table has a "backward" tile for D; if not, the gradient comes from strips of G.

    Example:
        >>> is_fused("sm90", "half", 256), is_fused("sm90", "half", 1024)
        (True, False)
    """
    return bool(_find(architecture, ("backward",), product, d))


def _find(architecture: str, passes: tuple[str, ...], product: str, d: int) -> list[str]:
    """The sizes in the first line that fits."""
    for line in (*tile_file.lines(), *_LINES):
        architectures, names, products, limits, *sizes = line.split()
        least, _, most = limits.rpartition("-")
        known = architecture in architectures.split(",") and product in products.split(",")
        known = known and int(least or 1) <= d <= int(most)
        if known and not set(passes).isdisjoint(names.split(",")):
            return sizes
    return []


def _divisor(d: int, largest: int) -> int:
    """The largest power of two up to ``largest`` that divides a padded D: vectors are powers of two long."""
    width = d & -d
    while width > largest:
        width //= 2
    return width
