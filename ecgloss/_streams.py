"""Standard output and standard error that take any text and may be closed."""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import suppress

_PLAIN = {
    "²": "2",
    "³": "3",
    "·": "*",
    "×": "x",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
}
_PLAIN |= {"ρ": "rho", "τ": "tau", "α": "alpha", "β": "beta", "µ": "u", "μ": "u", "ω": "omega", "│": "|", "█": "#"}


def prepare_streams() -> None:
    """Open what is closed, and let every character be written: those an encoding lacks as similar plain ones."""
    for number in range(3):  # a file that is opened later must not become standard output
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    codecs.register_error("ecgloss.plain", _plain)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  it stays open
        elif hasattr(stream, "reconfigure"):
            with suppress(OSError):
                stream.reconfigure(errors="ecgloss.plain")


def drop_output() -> None:
    """Write nothing more: the reader of standard output has gone, or its disk is full."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError, AttributeError):  # it is no file, as in a test
        pass
    with suppress(OSError, ValueError):
        sys.stdout.flush()


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Similar characters in ASCII for those an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in found), error.end
