"""The options of all commands as a JSON file, so that help and usage errors need neither torch nor jsonargparse.

``python -m ecgloss.option_table`` writes it anew from the commands; a test compares them.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ecgloss._extras import require
from ecgloss._files import write_text
from ecgloss.commands import COMMANDS
from ecgloss.usage import TABLE

_KINDS = {int: "int", float: "float", str: "text", bool: "bool", NoneType: "none"}


def option_table() -> dict[str, Any]:
    """Description and options of every command."""
    jsonargparse = require("jsonargparse", "train")
    table = {}
    for name, (make, _) in COMMANDS.items():
        parser = make(jsonargparse)
        actions = [action for action in parser._actions if action.dest not in ("help", "print_config")]
        table[name] = {"description": parser.description, "options": [_entry(action) for action in actions]}
    return table


def _entry(action: Any) -> dict[str, Any]:
    """One option."""
    default = None if action.default == "==SUPPRESS==" else action.default
    return {
        "name": action.dest,
        "positional": not action.option_strings,
        "flag": action.nargs == 0,
        "required": bool(action.required),
        "default": list(default) if isinstance(default, tuple) else default,
        "help": action.help or "",
        **_kind(getattr(action, "_typehint", None)),
    }


def _kind(hint: Any) -> dict[str, Any]:
    """Which values an option accepts: kinds, and single values."""
    if get_origin(hint) in (Union, UnionType):
        parts = [_kind(part) for part in get_args(hint)]
        kinds = [kind for part in parts for kind in part["kinds"]]
        return {"kinds": kinds, "choices": [value for part in parts for value in part["choices"]]}
    if get_origin(hint) is Literal:
        return {"kinds": [], "choices": list(get_args(hint))}
    return {"kinds": [_KINDS.get(hint, "list")], "choices": []}


def main(path: Path = TABLE) -> None:
    """Write the table."""
    write_text(path, json.dumps(option_table(), indent=1) + "\n")


if __name__ == "__main__":
    main()
