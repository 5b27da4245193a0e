"""Cells of a user's table: numbers, ages, sexes, yes and no, labels, names of recordings."""

from __future__ import annotations

import math

from ecgloss.data.splits import part_of_fold
from ecgloss.data.wfdb.fields import parse_age, parse_sex

UNKNOWN = frozenset({"", "na", "n/a", "nan", "none", "null", "unknown", "?", "-"})
TRUE, FALSE = frozenset({"1", "1.0", "true", "yes", "y"}), frozenset({"0", "0.0", "false", "no", "n"})
_PARTS = dict.fromkeys(("train", "training"), "train") | dict.fromkeys(("test", "testing"), "test")
_PARTS |= dict.fromkeys(("validation", "val", "valid", "dev"), "validation")
_EXTENSIONS = frozenset({".hea", ".dat", ".mat", ".npy", ".csv", ".tsv", ".edf", ".h5"})


def clean_cell(value: object, decimal_comma: bool = False) -> str:
    """A cell without surrounding blanks; empty where it says that nothing is known.

    Example:
        >>> clean_cell(" n/a "), clean_cell("1,5", decimal_comma=True), clean_cell(" 61")
        ('', '1.5', '61')
    """
    text = str(value).strip()
    if text.lower() in UNKNOWN:
        return ""
    point = text.replace(",", ".")
    return point if decimal_comma and text.count(",") == 1 and is_number(point) else text


def record_key(cell: str) -> str:
    """A name of a recording without extension, in the spelling of a relative path."""
    name = number_key(str(cell).strip().replace("\\", "/")).removeprefix("./")
    stem, dot, extension = name.rpartition(".")
    return stem if dot and f".{extension.lower()}" in _EXTENSIONS else name


def number_key(cell: str) -> str:
    """A whole number as pandas writes it with missing cells beside it, 17.0, as 17."""
    text = str(cell).strip()
    return text[:-2] if text.endswith(".0") and text[:-2].isdigit() else text


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def number_cell(cell: str, where: str) -> float:
    """A number, NaN for an empty cell; ``where`` names table and column in the ``ValueError`` for anything else."""
    if not cell:
        return math.nan
    if not is_number(cell):
        raise ValueError(f"{where}: {_shown(cell)} is not a number")
    return float(cell)


def age_cell(cell: str, where: str) -> float:
    """An age in years; as :func:`number_cell`."""
    age = parse_age(cell)
    if math.isnan(age):
        raise ValueError(f"{where}: {_shown(cell)} is not an age in years; leave unknown ages empty")
    return age


def sex_cell(cell: str, where: str) -> str:
    """``"male"`` or ``"female"``; as :func:`number_cell`."""
    sex = parse_sex(cell)
    if sex is None:
        raise ValueError(f"{where}: {_shown(cell)} is not a sex; write male or female, m or f, or leave it empty")
    return sex


def truth_cell(cell: str, where: str) -> bool:
    """Yes or no; as :func:`number_cell`."""
    if cell.lower() not in TRUE | FALSE:
        raise ValueError(f"{where}: {_shown(cell)} is neither yes nor no; write 1 or 0, yes or no, or leave it empty")
    return cell.lower() in TRUE


def part_cell(cell: str, where: str) -> str | None:
    """``"train"``, ``"validation"``, ``"test"``, None for an empty cell; of folds, 9 validates and 10 tests.

    Example:
        >>> [part_cell(cell, "") for cell in ("Training", "dev", "10", "9.0", "3", "")]
        ['train', 'validation', 'test', 'validation', 'train', None]
    """
    if not cell:
        return None
    word = number_key(cell.lower())
    if word in {str(fold) for fold in range(1, 11)}:
        return part_of_fold(float(word))
    if word not in _PARTS:
        raise ValueError(f"{where}: {_shown(cell)} is no part of a split; write train, validation or test, or 1 to 10")
    return _PARTS[word]


def label_cell(cell: str, task: str) -> list[str]:
    """Labels of a cell: the task itself for 1, none for 0, else names separated by semicolons or bars."""
    if cell.lower() in TRUE | FALSE:
        return [task] if cell.lower() in TRUE else []
    return list(dict.fromkeys(word.strip() for word in cell.replace("|", ";").split(";") if word.strip()))


def _shown(cell: str) -> str:
    """A cell in a message: its beginning."""
    return repr(cell if len(cell) <= 40 else cell[:40] + "...")
