"""Parsing of ages, sexes, header comments and tables in the spellings that databases use."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_AGE = re.compile(r"^<?age>?\s*[:=]?\s*([^<#]*[^<#\s])", re.IGNORECASE)
_AGE_TEXT = re.compile(r"(>?)\s*(\d+(?:[.,]\d+)?)\s*\+?\s*([a-z]*)\.?", re.IGNORECASE)
_YEARS = {"": 1.0, "y": 1.0, "yr": 1.0, "yrs": 1.0, "year": 1.0, "years": 1.0, "m": 1 / 12, "mo": 1 / 12, "mon": 1 / 12}
_YEARS |= {"month": 1 / 12, "months": 1 / 12, "w": 7 / 365.25, "week": 7 / 365.25, "weeks": 7 / 365.25}
_YEARS |= {"d": 1 / 365.25, "day": 1 / 365.25, "days": 1 / 365.25}
_SEX = re.compile(r"(?:^|[\s<])(?:sex|gender)>?(?:\s*[:=]\s*|\s+)(\S+)", re.IGNORECASE)
_MIT = re.compile(r"^(\d+|-1|\?)\s+([MF])\b")
_DECIMAL = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
_OLDEST = 120.0
_SEXES = dict.fromkeys(("m", "male", "man"), "male") | dict.fromkeys(("f", "female", "woman", "w"), "female")


def parse_age(text: str) -> float:
    """Return an age in years, NaN where none is given.

    Ages above 89 are de-identified in most databases: ``>89`` and the 300 of PTB-XL (from version 1.0.2 on)
    become 90.

    Args:
        text: As written in a table or header.

    Example:
        >>> [parse_age(text) for text in ("61", "> 89", "300.0", "061Y", "6 months", "45,5", "NaN", "-1", "Unknown")]
        [61.0, 90.0, 90.0, 61.0, 0.5, 45.5, nan, nan, nan]
    """
    match = _AGE_TEXT.fullmatch(text.strip())
    if match is None or match[3].lower() not in _YEARS:
        return math.nan
    age = float(match[2].replace(",", ".")) * _YEARS[match[3].lower()] + (1.0 if match[1] else 0.0)
    if age == 300.0:
        return 90.0
    return age if 0.0 <= age <= _OLDEST else math.nan


def parse_sex(text: str) -> str | None:
    """Return ``"male"``, ``"female"``, or None where it is not given.

    Example:
        >>> [parse_sex(text) for text in ("M", "Female", "f", "Unknown")]
        ['male', 'female', 'female', None]
    """
    return _SEXES.get(text.strip().lower())


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
    """Read a table, with commas, semicolons or tabs between cells; cells may hold line breaks inside quotes.

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
    return list(table_rows(path))


def table_rows(path: Path) -> Iterator[dict[str, str]]:
    r"""Yield the rows of a table one by one, as `read_table` returns them, for tables that fill the memory.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.csv").write_text("id;age\n1;61\n")
        ...     list(table_rows(Path(folder, "a.csv")))
        [{'id': '1', 'age': '61'}]
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = max(",;\t", key=file.readline().count)
            file.seek(0)
            for row in csv.DictReader(file, delimiter=separator):
                yield {k.strip(): (v or "").strip() for k, v in row.items() if isinstance(k, str)}
    except OSError as error:
        raise ValueError(f"cannot read the table {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read the table {path}: {error}") from error


def rows_with(path: Path, names: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a table one by one, after checking that it has some columns.

    Raises:
        ValueError: If the table cannot be read or lacks a column, naming both.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.csv").write_text("id,age")
        ...     list(rows_with(Path(folder, "a.csv"), ["id"]))
        []
    """
    for k, row in enumerate(table_rows(path)):
        if k == 0:
            require_columns(path, [row], names)
        yield row


def parse_number(text: str) -> float:
    """Return a number, with a dot or a comma before the decimals; NaN where there is none.

    Example:
        >>> [parse_number(text) for text in ("4,73", "120.5", "1,458,333,333", "", "n/a", "inf")]
        [4.73, 120.5, nan, nan, nan, nan]
    """
    match = _DECIMAL.fullmatch(text.strip())
    return float(match[0].replace(",", ".")) if match else math.nan


def read_labels(cell: str) -> tuple[str, ...]:
    r"""Split a cell with one label per line into labels, each once, in order, without a closing dot.

    Example:
        >>> read_labels("Sinus rhythm.\n\nSinus rhythm")
        ('Sinus rhythm',)
    """
    labels = (line.strip().rstrip(".") for line in cell.splitlines())
    return tuple(dict.fromkeys(label for label in labels if label))


def require_columns(path: Path, rows: list[dict[str, str]], names: Iterable[str]) -> None:
    """Check that a table has some columns.

    Raises:
        ValueError: If it has no rows, or lacks one, naming table and column.

    Example:
        >>> require_columns(Path("a.csv"), [{"age": "61"}], ["age", "sex"])
        Traceback (most recent call last):
        ...
        ValueError: the table a.csv has no column sex; its columns are age
    """
    if not rows:
        raise ValueError(f"the table {path} has no rows")
    absent = [name for name in names if name not in rows[0]]
    if absent:
        found = ", ".join(name for name in rows[0] if name)
        raise ValueError(f"the table {path} has no column {absent[0]}; its columns are {found[:200]}")
