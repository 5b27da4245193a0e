"""Values from files and command lines against the annotations of a dataclass."""

from __future__ import annotations

import math
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WORDS = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false", NoneType: "nothing"}


def check_values(group: type, content: dict[str, Any], prefix: str = "") -> None:
    """Check that values are of the kinds a dataclass announces; entries it does not know are left to others.

    Args:
        group: The dataclass.
        content: Values by the names of its fields; lists stand for tuples.
        prefix: Of the names in errors.

    Raises:
        ValueError: Naming the first value that is of another kind, and what is accepted.

    Example:
        >>> from ecgloss.data.preprocess import Preprocessing
        >>> check_values(Preprocessing, {"sampling_rate": "fast"})
        Traceback (most recent call last):
            ...
        ValueError: sampling_rate must be a finite number; got 'fast'
    """
    for name, kind in get_type_hints(group).items():
        if name not in content:
            continue
        value = content[name]
        if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
            check_values(kind, value, f"{prefix}{name}.")
            unknown = sorted(set(map(str, value)) - set(get_type_hints(kind)))
            if unknown:
                raise ValueError(f"{prefix}{name} has no option {unknown[0]}; it has {', '.join(get_type_hints(kind))}")
        elif not _is(value, kind):
            raise ValueError(f"{prefix}{name} must be {words_of(kind)}; got {shortened(value)}")


def shortened(value: Any) -> str:
    """A value as it would be written, in at most 80 characters.

    Example:
        >>> shortened("x" * 100)[-5:]
        'xx...'
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits, or lists in lists in lists
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= 80 else text[:77] + "..."


def words_of(kind: Any) -> str:
    """What is accepted, in words.

    Example:
        >>> words_of(float | Literal["preset"]), words_of(tuple[str, ...] | None)
        ("a finite number or 'preset'", 'a list or nothing')
    """
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(words_of(part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        *most, last = map(repr, get_args(kind))
        return f"{', '.join(most)} or {last}" if most else last
    if get_origin(kind) is tuple:
        return "a list"
    return _WORDS.get(kind, "a group of options")


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_is(value, part) for part in arguments)
    if origin is Literal:
        return any(type(value) is type(word) and value == word for word in arguments)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        if arguments[1:] == (...,):
            return all(_is(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_is, value, arguments))
    if origin is dict:
        return isinstance(value, dict)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _finite(value: float) -> bool:
    """Whether a number is finite as a float."""
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
