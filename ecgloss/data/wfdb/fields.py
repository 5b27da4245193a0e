"""Parsing of ages, sexes, header comments and tables in the spellings that databases use."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from pathlib import Path

_AGE = re.compile(r"^<?age>?\s*[:=]\s*(\S+)", re.IGNORECASE)
_SEX = re.compile(r"(?:^|[\s<])(?:sex|gender)>?\s*[:=]\s*(\S+)", re.IGNORECASE)
_MIT = re.compile(r"^(\d+|-1|\?)\s+([MF])\b")
_OLDEST = 120.0


def parse_age(text: str) -> float:
    """Return an age in years, NaN where none is given.

    Ages above 89 are de-identified in most databases: ``>89`` and the 300 of PTB-XL (from version 1.0.2 on)
    become 90.

    Args:
        text: As written in a table or header.

    Example:
        >>> [parse_age(text) for text in ("61", ">89", "300.0", "NaN", "-1", "Unknown")]
        [61.0, 90.0, 90.0, nan, nan, nan]
    """
    cleaned = text.strip()
    above = cleaned.startswith(">")
    try:
        age = float(cleaned.lstrip("> ").rstrip("+"))
    except ValueError:
        return math.nan
    if above:
        age += 1.0
    if age == 300.0:
        return 90.0
    return age if 0.0 <= age <= _OLDEST else math.nan


def parse_sex(text: str) -> str | None:
    """Return ``"male"``, ``"female"``, or None where it is not given.

    Example:
        >>> [parse_sex(text) for text in ("M", "Female", "f", "Unknown")]
        ['male', 'female', 'female', None]
    """
    return {"m": "male", "male": "male", "f": "female", "female": "female"}.get(text.strip().lower())


def age_and_sex(comments: Iterable[str]) -> tuple[float, str | None]:
    """Find age and sex in header comments, in the forms that PhysioNet's databases use.

    Args:
        comments: Comment lines without ``#``: ``Age: 61``, ``<age>: 61 <sex>: F``, or ``61 F 1085 1629 x1``.

    Returns:
        Age in years (NaN unknown) and sex (None unknown).

    Example:
        >>> age_and_sex(["<age>: 65  <sex>: F  <diagnoses> none"]), age_and_sex(["69 M 1085 1629 x1"])
        ((65.0, 'female'), (69.0, 'male'))
    """
    age, sex = math.nan, None
    for line in comments:
        if math.isnan(age) and (match := _AGE.search(line)):
            age = parse_age(match.group(1))
        if sex is None and (match := _SEX.search(line)):
            sex = parse_sex(match.group(1))
        if match := _MIT.match(line):
            age, sex = parse_age(match.group(1)), parse_sex(match.group(2))
    return age, sex


def comment_value(comments: Iterable[str], key: str) -> str | None:
    """Return what follows ``key:`` in the comments, None where the key is absent.

    Example:
        >>> comment_value(["Dx: 426783006,164889003"], "dx")
        '426783006,164889003'
    """
    for line in comments:
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() == key.lower():
            return value.strip()
    return None


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a comma-separated table; cells may hold line breaks inside quotes.

    Args:
        path: The table.

    Returns:
        One dictionary per row, without surrounding blanks; cells that are absent are empty.

    Raises:
        ValueError: If the table cannot be read.

    Example:
        >>> read_table(Path("no such table.csv"))
        Traceback (most recent call last):
        ...
        ValueError: cannot read the table no such table.csv: No such file or directory
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ValueError(f"cannot read the table {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read the table {path}: {error}") from error
    return [{k.strip(): (v or "").strip() for k, v in row.items() if isinstance(k, str)} for row in rows]


def read_labels(cell: str) -> tuple[str, ...]:
    r"""Split a cell with one label per line into labels, each once, in order, without a closing dot.

    Example:
        >>> read_labels("Sinus rhythm.\n\nSinus rhythm")
        ('Sinus rhythm',)
    """
    labels = (line.strip().rstrip(".") for line in cell.splitlines())
    return tuple(dict.fromkeys(label for label in labels if label))
