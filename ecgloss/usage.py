"""Help and usage errors of the command line, from a table of all options: at once, and in plain words.

What the table cannot decide, such as whether two options go together, the commands check themselves.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("options.json")
_DEBUG = {"name": "debug", "positional": False, "flag": True, "required": False, "default": False, "kinds": ["bool"]}
_DEBUG |= {"choices": [], "help": "Show the traceback of an error."}
_PRINT = _DEBUG | {"name": "print_config", "help": "Print the configuration and exit."}
_NOT_EMPTY = ("data", "out", "checkpoint", "resume", "table", "split")
_WITH_RESUME = {"resume", "debug", "model"}
_WORDS = {"int": "a whole number", "float": "a number", "text": "a text", "bool": "true or false", "list": "a list"}


class UsageError(Exception):
    """The command line is invalid; exit code 2."""


@cache
def commands() -> dict[str, dict[str, Any]]:
    """Description and options of every command, by its name.

    Example:
        >>> list(commands())[:3]
        ['pretrain', 'embed', 'evaluate']
    """
    table: dict[str, dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))
    for name, command in table.items():
        added = [_DEBUG, _PRINT] if name == "pretrain" else [_DEBUG]
        command["options"] = {option["name"]: option for option in command["options"] + added}
    return table


def check_command(words: Sequence[str]) -> str:
    """The command that the first word names.

    Raises:
        UsageError: If it names none.

    Example:
        >>> check_command(["pretrian"])
        Traceback (most recent call last):
            ...
        ecgloss.usage.UsageError: there is no command 'pretrian'; did you mean pretrain?
    """
    if not words:
        raise UsageError(f"a command is needed: {', '.join(commands())}")
    if words[0].startswith("-"):
        raise UsageError(f"a command comes before options: {', '.join(commands())}; got {words[0]!r}")
    if words[0] not in commands():
        raise UsageError(f"there is no command {words[0]!r}; {nearest(words[0], commands())}")
    return words[0]


def check_words(command: str, words: Sequence[str]) -> dict[str, str]:
    """Check the words after a command against the table.

    Returns:
        The values that were given, by the name of the option.

    Raises:
        UsageError: For an unknown option, a missing or wrong value, or a missing option.

    Example:
        >>> check_words("pretrain", ["--data", "synthetic", "--loss", "clfe"])
        Traceback (most recent call last):
            ...
        ecgloss.usage.UsageError: --loss must be clef, physioclr, simclr, moco, byol, supcon, cmsc or yaware; got \
clfe, did you mean clef?
    """
    options = commands()[command]["options"]
    given: dict[str, str] = {}
    places = [name for name, option in options.items() if option["positional"]]
    for name, value in _pairs(options, words):
        if name is None:
            if not places:
                raise UsageError(f"{command} takes no further word; got {value!r}")
            given[places.pop(0)] = value
            continue
        if name in _NOT_EMPTY and value == "":
            raise UsageError(f"--{name} is empty")
        if not options[name]["flag"]:
            check_value(f"--{name}", options[name], value)
        given[name] = value
    if "resume" in given and set(given) - _WITH_RESUME:
        raise UsageError("--resume RUN takes no other options: the run continues with the ones it was started with")
    if command == "pretrain" and not given.keys() & {"data", "resume", "config", "print_config"}:
        raise UsageError("pretrain needs --data (a folder of WFDB records, or synthetic), or --resume RUN")
    missing = [f"--{name}" for name, option in options.items() if option["required"] and name not in given]
    if missing:
        *most, last = missing
        raise UsageError(f"{command} needs {', '.join(most) + ' and ' if most else ''}{last}")
    return given


def check_value(label: str, option: Mapping[str, Any], value: Any) -> None:
    """Check one value: a word of the command line, or one of a configuration file.

    Raises:
        UsageError: If it is not accepted.
    """
    text = _as_word(value)
    kinds, choices = option["kinds"], [str(choice) for choice in option["choices"]]
    if text in choices or any(_is(text, kind) for kind in kinds):
        return
    named = [*choices, *(_WORDS[kind] for kind in kinds if kind in _WORDS)]
    accepted = f"{', '.join(named[:-1])} or {named[-1]}" if named[1:] else named[0]
    close = difflib.get_close_matches(text, choices, 1)
    raise UsageError(f"{label} must be {accepted}; got {text[:80]}" + (f", did you mean {close[0]}?" if close else ""))


def nearest(name: str, names: Mapping[str, Any]) -> str:
    """What may have been meant.

    Example:
        >>> nearest("--epoch", {"epochs": 0, "clef.alpha": 0}), nearest("--alpha", {"clef.alpha": 0})
        ('did you mean --epochs?', 'did you mean --clef.alpha?')
    """
    dashes = "--" if name.startswith("-") else ""
    word = name.lstrip("-")
    known = {full: full for full in names} | {full.rpartition(".")[2]: full for full in reversed(list(names))}
    known |= {full: full for full in names}
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"did you mean {dashes}{known[close[0]]}?"
    return f"choose one of {', '.join(names)}" if len(names) < 10 else "the help lists all"


def show_help(command: str | None, description: str) -> None:
    """Print the help of a command, or that of the program."""
    program = "ecgloss" if command is None else f"ecgloss {command}"
    usage = "ecgloss COMMAND [options]" if command is None else f"{program} [options]"
    parser = argparse.ArgumentParser(prog=program, usage=usage, description=description, allow_abbrev=False)
    if command is None:
        parser.add_argument("--version", action="store_true", help="Show the version.")
        group = parser.add_argument_group("commands", "ecgloss COMMAND --help shows the options of one.")
        for name, entry in commands().items():
            group.add_argument(name, nargs="?", help=entry["description"].split(".")[0] + ".")
        parser.print_help()
        return
    parser.description = commands()[command]["description"]
    for name, option in commands()[command]["options"].items():
        label = name if option["positional"] else f"--{name}"
        if option["flag"]:
            parser.add_argument(label, action="store_true", help=_escaped(option["help"]))
            continue
        shown = "{" + ",".join(map(str, option["choices"])) + "}" if option["choices"] and not option["kinds"] else None
        metavar = shown or (name if option["positional"] else name.rpartition(".")[2].upper())
        parser.add_argument(label, metavar=metavar, help=_escaped(_help(option)))
    parser.print_help()


def _help(option: Mapping[str, Any]) -> str:
    """What the help says of an option, with its default."""
    text, default = option["help"], option["default"]
    if option["required"]:
        return f"{text} (required)"
    if default is None or "default" in text.lower():
        return str(text)
    return f"{text} (default: {','.join(map(str, default)) if isinstance(default, list) else _as_word(default)})"


def _escaped(text: str) -> str:
    """A text for argparse, which formats with per cent signs."""
    return text.replace("%", "%%")


def _pairs(options: Mapping[str, Any], words: Sequence[str]) -> Iterator[tuple[str | None, str]]:
    """Options with their values, and words that belong to none."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or _is(word, "float"):
            yield None, word
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        name = name.removesuffix("+")
        if not word.startswith("--") or name not in options or options[name]["positional"]:
            label = word.partition("=")[0]
            raise UsageError(f"there is no option {label}; {nearest(label, options)}")
        if not equals and not options[name]["flag"]:
            if not rest or (rest[0].startswith("-") and not _is(rest[0], "float")):
                raise UsageError(f"--{name} needs a value")
            value = rest.pop(0)
        yield name, value


def _as_word(value: Any) -> str:
    """A value as it is written on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _is(text: str, kind: str) -> bool:
    """Whether a word can be of a kind."""
    if kind in ("text", "list"):
        return True
    if kind == "none":
        return text.lower() in ("null", "none", "")
    if kind == "bool":
        return text.lower() in ("true", "false", "yes", "no")
    try:
        return math.isfinite(int(text) if kind == "int" else float(text))
    except (ValueError, OverflowError):
        return False
