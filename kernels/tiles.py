"""How large the tiles are: one table, looked up by architecture, pass, type of products and width.

A line is: architectures, passes, products ("half" of 16 bits, "tensor" of fp32 on tensor cores, "ieee" of exact fp32),
the largest D it is for, rows and columns of a tile, columns of D that are multiplied at once and that a program's
gradient has (at most D, which is what 9999 means), warps, stages, programs that share a multiprocessor, and for how
many tiles the vectors of the columns are loaded ahead ("-": they are not). The first line that fits is taken; of an
unknown architecture those of the nearest older one with no more shared memory. A pass may be named more closely by its
rule ("forward-labels"), and is then looked for by that name as well as by the general one. Where D is wider than any
"backward" is for, the gradient comes from panels of G: a fused kernel would compute S once more for every part of D it
can hold, as those of many positives do. Those of sm90 with 16-bit products up to D = 512 were chosen by measurement on
an H200, the others by arithmetic. That tiles compile without spills is tested: tests/kernels/test_aot.py.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

TABLE = """
sm80,sm89             forward,forward-moments                      half          256   64   64  9999     -  8  2  1  -
sm80,sm89             forward                                      half         9999  128   64    64     -  8  3  1  -
sm80,sm89             forward-moments                              half         9999  128   32    64     -  8  3  1  -
sm80,sm89             backward                                     half           64   64   32  9999  9999  8  2  1  -
sm80,sm89             backward                                     half          128   64   64  9999  9999  8  2  1  -
sm80,sm89             backward                                     half          256   64   64   128   256  8  2  1  -
sm80,sm89             panel                                        half         9999  128   32    64     -  8  3  1  -
sm80,sm89             forward-dense                                half           64   64   32  9999     -  8  2  1  -
sm80,sm89             forward-dense                                half         9999   64   64    64     -  8  2  1  -
sm80,sm89             backward-dense                               half         9999   32   32    64   128  8  2  1  -

sm90                  forward-weighted,forward-moments             half          128   64   64  9999     -  4  2  2  -
sm90                  forward                                      half          128  128   64  9999     -  4  3  2  -
sm90                  forward-weighted                             half          256  128   64  9999     -  8  3  1  3
sm90                  forward-moments                              half          256   64   64  9999     -  4  2  2  -
sm90                  forward                                      half          256  128  128  9999     -  8  2  1  2
sm90                  forward-weighted,forward-moments             half          512  128   32  9999     -  8  2  1  -
sm90                  forward                                      half          512  128  128    64     -  8  3  1  -
sm90                  forward,forward-moments                      half         9999  128   64    64     -  8  3  1  -
sm90                  backward-weighted                            half          128  128   64  9999  9999  8  3  1  -
sm90                  backward-weighted                            half          256  128   32  9999  9999  8  3  1  -
sm90                  backward                                     half          128   64   64  9999  9999  4  3  3  -
sm90                  backward                                     half          256  128   64  9999  9999  8  3  1  -
sm90                  panel                                        half         9999   64   64    64     -  8  3  1  -
sm90                  forward-labels                               half          256   64   64  9999     -  4  2  2  -
sm90                  backward-labels                              half          128   64   32  9999  9999  4  2  2  -
sm90                  backward-labels                              half          256  128   32  9999  9999  8  2  1  -
sm90                  backward-features                            half          256   64   32  9999  9999  8  2  1  -
sm90                  backward-dense                               half         9999   64   32    64   128  8  2  1  -

sm100                 forward                                      half          256  128   64  9999     -  8  2  1  -
sm100                 forward                                      half          512  128   32  9999     -  8  2  1  -
sm100                 forward                                      half         9999  128   64   128     -  8  2  1  -
sm100                 forward-moments                              half          256  128   32  9999     -  8  2  1  -
sm100                 forward-moments                              half         9999   64   64    64     -  8  2  1  -
sm100                 backward                                     half          128  128   64  9999  9999  8  2  1  -
sm100                 backward                                     half          256   64   64  9999  9999  8  2  1  -
sm100                 panel                                        half         9999   64   64    64     -  8  2  1  -
sm100                 backward-dense                               half         9999   64   32    64   128  8  2  1  -
sm90,sm100            forward-dense                                half          256   64   64  9999     -  8  2  1  -
sm90                  forward-dense                                half         9999   64   64    64     -  8  2  1  -
sm100                 forward-dense                                half         9999   64   32    64     -  8  2  1  -

sm80,sm89,sm100       forward                                      tensor       9999   64   64    32     -  8  2  1  -
sm80,sm89,sm100       forward-moments,panel                        tensor       9999   64   32    32     -  8  2  1  -
sm80,sm89,sm100       backward                                     tensor        128   64   32    32    64  8  2  1  -
sm90                  forward                                      tensor       9999  128   64    32     -  8  3  1  -
sm90                  forward-moments,panel                        tensor       9999  128   32    32     -  8  2  1  -
sm90                  backward                                     tensor        128  128   32    32   128  8  2  1  -
sm80,sm89,sm90        forward-dense                                tensor       9999   64   64    32     -  8  2  1  -
sm100                 forward-dense                                tensor       9999   64   32    32     -  8  2  1  -
sm80,sm89,sm90,sm100  backward-dense                               tensor       9999   32   32    32    32  4  2  1  -
sm80,sm89,sm90,sm100  forward                                      ieee         9999   64   64    16     -  8  2  1  -
sm80,sm89,sm90,sm100  forward-moments                              ieee         9999   64   64    16     -  8  2  1  -
sm80,sm89             panel                                        ieee         9999   64   32    16     -  8  2  1  -
sm90,sm100            panel                                        ieee         9999   64   64    16     -  4  2  1  -
sm80,sm89,sm90,sm100  backward                                     ieee           64   32   32    16    64  8  2  1  -
sm80,sm89,sm90,sm100  backward                                     ieee          128   32   32    16   128  8  1  1  -
sm80,sm89,sm90,sm100  forward-dense                                ieee         9999   64   64    16     -  8  2  1  -
sm80,sm89,sm90,sm100  backward-dense                               ieee         9999   32   32    16    64  8  2  1  -

gfx942                forward,forward-moments,forward-dense        half          128   64   64  9999     -  4  1  1  -
gfx942                forward,forward-moments,forward-dense        half         9999   64   64    64     -  4  2  1  -
gfx942                backward                                     half          128   64   64  9999  9999  4  1  1  -
gfx942                backward                                     half          512   64   64    64   256  4  1  1  -
gfx942                panel                                        half         9999   64   64    64     -  4  2  1  -
gfx942                backward-dense                               half         9999   64   32    64   128  4  1  1  -
gfx942                forward,forward-moments,forward-dense        ieee         9999   64   64    32     -  4  1  1  -
gfx942                backward                                     ieee          512   64   32    32   128  4  1  1  -
gfx942                panel                                        ieee         9999   64   64    32     -  4  1  1  -
gfx942                backward-dense                               ieee         9999   64   32    32    64  4  1  1  -

cpu                   forward,forward-moments,panel,forward-dense  half         9999   32   16  9999     -  1  1  1  -
cpu                   backward                                     half          512   32   16  9999    64  1  1  1  -
cpu                   backward-dense                               half         9999   32   16  9999    64  1  1  1  -
cpu                   forward,forward-moments,panel,forward-dense  tensor,ieee  9999   32   32    64     -  1  1  1  -
cpu                   backward                                     tensor,ieee   512   32   32    64    64  1  1  1  -
cpu                   backward-dense                               tensor,ieee  9999   32   32    64    64  1  1  1  -
"""


class Tile(NamedTuple):
    """Sizes of one kernel.

    Attributes:
        rows: BLOCK_M.
        columns: BLOCK_N.
        depth: BLOCK_K, columns of D multiplied at once; D where a block of rows is held whole.
        width: BLOCK_D, columns of D whose gradient one program has.
        warps: Warps per program.
        stages: Tiles of columns on their way at once.
        shared: Programs that run on one multiprocessor at a time.
        prefetch: Tiles of columns whose vectors are loaded ahead, or None.
    """

    rows: int
    columns: int
    depth: int
    width: int
    warps: int
    stages: int
    shared: int = 1
    prefetch: int | None = None


@cache
def tile(architecture: str, passes: tuple[str, ...], product: str, d: int) -> Tile:
    """The tile of a pass.

    Args:
        architecture: As :func:`ecgloss.kernels.machine.architecture` names it.
        passes: Names of the pass, as :func:`ecgloss.kernels.launch.pass_names` has them.
        product: "half", "tensor" or "ieee".
        d: D, padded.

    Example:
        >>> tile("sm90", ("forward",), "half", 128).rows
        128
    """
    sizes = _find(architecture, passes, product, d)
    if not sizes:
        raise LookupError(f"no tile for {architecture} {passes} {product} D = {d}")
    rows, columns, depth, width, warps, stages, shared, prefetch = (0 if size == "-" else int(size) for size in sizes)
    width = _divisor(d, width) if width else d
    return Tile(rows, columns, _divisor(d, depth), width, warps, stages, shared, prefetch or None)


@cache
def is_fused(architecture: str, product: str, d: int) -> bool:
    """Whether one kernel computes the gradient of rows with at most one positive: the table has a tile for it.

    Example:
        >>> is_fused("sm90", "half", 256), is_fused("sm90", "half", 1024)
        (True, False)
    """
    return bool(_find(architecture, ("backward",), product, d))


def _find(architecture: str, passes: tuple[str, ...], product: str, d: int) -> list[str]:
    """The sizes in the first line that fits."""
    for line in filter(None, TABLE.split("\n")):
        architectures, names, products, limit, *sizes = line.split()
        known = architecture in architectures.split(",") and product in products.split(",") and d <= int(limit)
        if known and not set(passes).isdisjoint(names.split(",")):
            return sizes
    return []


def _divisor(d: int, largest: int) -> int:
    """The largest power of two up to ``largest`` that divides a padded D: vectors are powers of two long."""
    width = d & -d
    while width > largest:
        width //= 2
    return width
