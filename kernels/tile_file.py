"""Tiles from a file, which come before those of the table: for a search, or for a GPU the table does not know well.

A JSON list of objects, each with the columns of the table as keys: ``architectures``, ``passes`` and ``products`` are
text (names with commas between), the others numbers; ``depth`` and ``width`` of 9999 are D itself. ``min_D`` (1),
``width`` (only "backward" passes have one), ``occupancy`` (1) and ``prefetch`` (none) may be left out::

    [{"architectures": "sm90", "passes": "forward-uniform", "products": "half", "min_D": 256, "max_D": 256,
      "rows": 128, "cols": 64, "depth": 9999, "warps": 8, "stages": 3}]

As in the table the first line that fits is taken: one for "forward" holds for every rule that has this name, and comes
before the table's lines for single rules. A line for "backward" makes the gradient fused up to its ``max_D``.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

VARIABLE = "ECGLOSS_TILES"
NUMBERS = ("min_D", "max_D", "rows", "cols", "depth", "width", "warps", "stages", "occupancy", "prefetch")
OPTIONAL = ("width", "prefetch")
DEFAULTS: dict[str, Any] = {"min_D": 1, "occupancy": 1, **dict.fromkeys(OPTIONAL)}
NAMES = {
    "architectures": ("sm80", "sm89", "sm90", "sm100", "gfx942", "cpu"),
    "passes": (
        "forward-moments",
        *(f"{step}{kind}" for step in ("forward", "backward", "strip") for kind in ("", "-uniform", "-weighted")),
        *(f"{step}-{kind}" for step in ("forward", "backward") for kind in ("dense", "labels", "features", "gaussian")),
    ),
    "products": ("half", "tensor", "ieee"),
}
LARGEST = {"rows": 128, "cols": 128, "warps": 16}
POWERS = ("rows", "cols", "depth", "width", "warps")
WHOLE = 9999


def lines() -> tuple[str, ...]:
    """The lines of the file that the environment names, as the table has them; none without such a file."""
    path = os.environ.get(VARIABLE, "")
    return read(path) if path else ()


@cache
def read(path: str) -> tuple[str, ...]:
    """The lines of a file.

    Raises:
        ValueError: for a file that cannot be read, or an entry that is not accepted; it names both.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{VARIABLE} names {path}, which cannot be read as JSON: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path} must be a JSON list of objects, one per tile; got {type(entries).__name__}")
    return tuple(_line(f"{path}, tile {place}", entry) for place, entry in enumerate(entries))


def _line(where: str, entry: dict[str, Any]) -> str:
    known = (*NAMES, *NUMBERS)
    if unknown := sorted(set(entry) - set(known)):
        raise ValueError(f"{where} has {', '.join(unknown)}; known are {', '.join(known)}")
    given = DEFAULTS | entry
    if absent := [name for name in known if name not in given]:
        raise ValueError(f"{where} lacks {', '.join(absent)}")
    for name, names in NAMES.items():
        if not isinstance(given[name], str) or not set(given[name].split(",")) <= set(names):
            raise ValueError(f"{where}: {name} must be some of {','.join(names)}, no spaces; got {given[name]!r}")
    for name in NUMBERS:
        _check_number(where, name, given[name])
    if given["min_D"] > given["max_D"]:
        raise ValueError(f"{where}: min_D is at most max_D, {given['max_D']}; got {given['min_D']}")
    columns = {name: "-" if value is None else str(value) for name, value in given.items()}
    columns["max_D"] = f"{columns['min_D']}-{columns['max_D']}"
    return " ".join(columns[name] for name in known if name != "min_D")


def _check_number(where: str, name: str, value: Any) -> None:
    if value is None and name in OPTIONAL:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{where}: {name} must be a whole number from 1 on; got {value!r}")
    if value > LARGEST.get(name, value):
        raise ValueError(f"{where}: {name} is at most {LARGEST[name]}; got {value}")
    if name in POWERS and value != WHOLE and value & (value - 1):
        raise ValueError(f"{where}: {name} must be a power of two (or {WHOLE} for D); got {value}")
