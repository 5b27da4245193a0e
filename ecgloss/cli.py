"""The command line: ``ecgloss COMMAND``. Errors are one line on stderr; exit code 0, 1 (failed), 2 (bad usage)
or 130 (interrupted).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ecgloss._extras import MissingExtraError, require
from ecgloss.commands import (
    COMMANDS,
    UsageError,
    apply_recipe,
    refuse_empty,
    refuse_options_of_a_resumed_run,
    show_info,
)

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

DESCRIPTION = "Pretrain and evaluate ECG encoders with contrastive losses."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Arguments after ``ecgloss``; default: those of this process.

    Returns:
        Exit code: 0 (success), 1 (failed), 2 (bad usage) or 130 (interrupted).

    Example:
        >>> main(["info"])  # doctest: +ELLIPSIS
        ecgloss ...
        0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        return _run([_underscores(word) for word in words if word != "--debug"])
    except KeyboardInterrupt:
        return _fail("interrupted (a training run continues with: ecgloss pretrain --resume RUN)", 130)
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except UsageError as error:
        return _fail(f"{error} (see ecgloss --help)", 2)
    except (ValueError, TypeError, OSError, MissingExtraError, ArithmeticError) as error:
        if debug:
            raise
        return _fail(str(error), 1)
    except Exception as error:
        if debug:
            raise
        return _fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", 1)


def _run(words: list[str]) -> int:
    """Parse the arguments and run the command."""
    if words == ["info"]:  # needs no extra, so that it can say which are missing
        return show_info(None)
    jsonargparse = require("jsonargparse", "train")
    parser, commands = _parser(jsonargparse)
    try:
        config = parser.parse_args(words)
    except jsonargparse.ArgumentError as error:
        raise UsageError(_one_line(str(error))) from error
    options = config[config.command]
    refuse_empty(options)
    if options.get("resume") is not None:
        refuse_options_of_a_resumed_run(parser.parse_args(words, defaults=False)[config.command])
    elif options.get("recipe") is not None:
        apply_recipe(options, parser.parse_args(words, defaults=False)[config.command])
    return commands[config.command](options)


def _parser(jsonargparse: Any) -> tuple[ArgumentParser, dict[str, Callable[[Any], int]]]:
    """The parser of all commands, and the function that runs each command."""
    import ecgloss

    parser = jsonargparse.ArgumentParser(
        prog="ecgloss", description=DESCRIPTION, version=ecgloss.__version__, exit_on_error=False, allow_abbrev=False
    )
    subcommands = parser.add_subcommands(required=True, dest="command")
    for name, (make, _) in COMMANDS.items():
        sub = make(jsonargparse)
        sub.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
        subcommands.add_subcommand(name, sub, help=(sub.description or "").split(".")[0])
    return parser, {name: run for name, (_, run) in COMMANDS.items()}


def _fail(message: str, code: int) -> int:
    """Print an error as one line on stderr; returns the exit code."""
    print(f"ecgloss: error: {_one_line(message)}", file=sys.stderr)
    return code


def _underscores(word: str) -> str:
    """Options may be written with dashes: ``--batch-size`` is ``--batch_size``."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return "--" + name.replace("-", "_") + equals + value


def _one_line(message: str) -> str:
    """The message without line breaks."""
    return " ".join(message.split())


if __name__ == "__main__":
    sys.exit(main())
