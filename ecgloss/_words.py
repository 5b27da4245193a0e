"""Words of messages."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """A number with what it counts, in the singular for one.

    Example:
        >>> counted(1, "step"), counted(1200, "step")
        ('1 step', '1200 steps')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"
