"""The command line: ``ecgloss COMMAND``. Errors are one line on stderr; exit code 0, 1 (failed), 2 (bad usage), 130
(interrupted), 143 and 129 (asked to end by SIGTERM or SIGHUP) or 141 (nobody reads the output any more).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

from ecgloss._extras import MissingExtraError, require
from ecgloss._signals import Stopped, stop_at_once
from ecgloss._streams import drop_output, prepare_streams
from ecgloss.commands import COMMANDS, apply_recipe, refuse_empty, show_info
from ecgloss.configuration import check_configuration
from ecgloss.usage import UsageError, check_command, check_words, show_help

DESCRIPTION = "Pretrain and evaluate ECG encoders with contrastive losses."
_PIPE_CLOSED = 141  # 128 + SIGPIPE
_NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Arguments after ``ecgloss``; default: those of this process.

    Returns:
        Exit code: 0 (success), 1 (failed), 2 (bad usage), 130 (interrupted), 143 and 129 (asked to end by SIGTERM or
        SIGHUP) or 141 (the reader of standard output has gone).

    Example:
        >>> main(["info"])  # doctest: +ELLIPSIS
        ecgloss ...
        0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [_underscores(word) for word in words if word != "--debug"]
    prepare_streams()
    try:
        with stop_at_once():
            code = _run(words)
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        return _fail("interrupted (a training run continues with: ecgloss pretrain --resume RUN)", 130)
    except Stopped as stop:
        return _fail(str(stop), 128 + stop.number)
    except SystemExit as stop:  # of a library
        return int(stop.code or 0)
    except BrokenPipeError:
        drop_output()
        return _PIPE_CLOSED
    except UsageError as error:
        return _fail(f"{error} (see {_help_of(words)})", 2)
    except (ValueError, TypeError, OSError, MissingExtraError, ArithmeticError) as error:
        if debug:
            raise
        if isinstance(error, OSError) and not _can_print():
            drop_output()
        return _fail(str(error), 1)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            return _fail(f"not enough memory; try a smaller --batch_size, or shorter windows ({error})", 1)
        return _fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", 1)


def _run(words: list[str]) -> int:
    """Check the arguments, parse them and run the command."""
    if words and words[0] in ("--help", "-h"):
        show_help(None, DESCRIPTION)
        return 0
    if words and words[0] == "--version":
        import ecgloss

        print(f"ecgloss {ecgloss.__version__}")
        return 0
    command = check_command(words)
    if {"--help", "-h"} & set(words[1:]):
        show_help(command, DESCRIPTION)
        return 0
    given = check_words(command, words[1:])
    if "config" in given:
        check_configuration(given["config"], command)
    if command == "info":  # needs no extra, so that it can say which are missing
        return show_info(None)
    jsonargparse = require("jsonargparse", "train")
    make, run = COMMANDS[command]
    parser = make(jsonargparse)
    try:
        options = parser.parse_args(words[1:])
    except jsonargparse.ArgumentError as error:
        raise UsageError(_one_line(str(error))) from error
    refuse_empty(options)
    if options.get("recipe") is not None:
        apply_recipe(options, parser.parse_args(words[1:], defaults=False))
    return run(options)


def _fail(message: str, code: int) -> int:
    """Print an error as one line on stderr; returns the exit code."""
    with suppress(OSError, ValueError):  # nobody reads it
        print(f"ecgloss: error: {_one_line(message)}", file=sys.stderr, flush=True)
    return code


def _can_print() -> bool:
    """Whether standard output takes what was printed; a full disk behind it would raise again at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def _help_of(words: list[str]) -> str:
    """The command that shows what is accepted."""
    return f"ecgloss {words[0]} --help" if words and words[0] in COMMANDS else "ecgloss --help"


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
