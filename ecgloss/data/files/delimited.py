"""CSV and TSV files as recordings: one recording per file, one column per lead, one row per sample."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.data.arrays import as_recording
from ecgloss.data.cards.base import Entry
from ecgloss.data.damage import read_errors
from ecgloss.data.files.channels import Chosen, choose_channels
from ecgloss.data.files.options import (
    RATE_OPTION,
    SignalOptions,
    agreed_leads,
    agreed_rate,
    agreed_units,
    refuse_unsaid,
)
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.channels import millivolts
from ecgloss.data.wfdb.headers import InvalidRecordError, check_link

DELIMITED_SUFFIXES = (".csv", ".tsv")
_LONGEST_HEADING = 2**16  # bytes
_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "None", "-"]
_HEADING = re.compile(r"(.*?)\s*[\[(]\s*([^\[\]()]*?)\s*[\])]\s*")
_TIME = re.compile(r"(?:time|t|seconds|sec|elapsed|elapsed[ _]time|time[ _]?stamp)(?:[ _]?(s|ms|us))?", re.IGNORECASE)
_COUNT = re.compile(r"(?:|index|sample|samples|sample[ _]?(?:number|no|index)|unnamed: 0)", re.IGNORECASE)
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_WHOLE = 1e-4  # a rate so near to a whole number, relatively, is that number: times are rounded


def delimited_entries(
    path: Path, prefix: str, options: SignalOptions, fallback: Sequence[str] | None, *, alone: bool
) -> list[Entry]:
    """The recording of a CSV or TSV file, not read yet.

    Args:
        path: The file.
        prefix: Its name without extension, in its source.
        options: What the user says about it.
        fallback: Leads that are wanted; they name the columns of a file without a heading.
        alone: Whether it is the whole source.
    """
    return [Entry(prefix, partial(read_delimited, path, prefix, options, fallback))]


def read_delimited(path: Path, name: str, options: SignalOptions, fallback: Sequence[str] | None) -> list[Recording]:
    """Read one recording. Its heading names the leads, and may say their units, as in "II (uV)"; times give the rate.

    Raises:
        InvalidRecordError: If it cannot be read, or is a link that leads outside its folder.
        ValueError: If something is not said, or contradicts itself.
    """
    check_link(path)
    separator, heading = _first_line(path)
    values, words = _numbers(path, separator, heading)
    split = [_split(label) for label in heading or []]
    names, units = [name for name, _ in split], [unit for _, unit in split]
    if heading is None:
        leads = agreed_leads(options.leads, None, path.name, fallback=fallback)
        if len(leads) != values.shape[1]:
            raise ValueError(f"{path.name} has {values.shape[1]} columns without a heading, --leads names {len(leads)}")
        chosen = Chosen(tuple(range(len(leads))), leads)
    else:
        signals = [i for i, column in enumerate(names) if not _is_axis(column)]
        voltage = [units[i] is None or millivolts(units[i] or "") is not None for i in signals]
        chosen = choose_channels([names[i] for i in signals], voltage, options.leads, path.name, fallback=fallback)
        chosen = replace(chosen, positions=tuple(signals[i] for i in chosen.positions))
    for i in (*chosen.positions, *(i for i, column in enumerate(names) if _is_axis(column))):
        if i in words:
            raise InvalidRecordError(f"{path.name}: column {names[i] if heading is not None else i + 1}, {words[i]}")
    in_rate = _rate_of_times(path, names, units, values)
    said = sorted({units[i] or "" for i in chosen.positions}) if heading is not None else [""]
    rate = in_rate if in_rate is not None else options.source_rate
    refuse_unsaid(path.name, {RATE_OPTION: rate, "--units": options.units or said[0] or None})
    sampling_rate = agreed_rate(options.source_rate, in_rate, path.name)
    factors = {unit: agreed_units(options.units, unit, path.name) for unit in said}
    each = [factors[(units[i] or "") if heading is not None else ""] for i in chosen.positions]
    signal = np.stack([values[:, i] * factor for i, factor in zip(chosen.positions, each)])
    [found] = as_recording(signal, 1.0, name, name, chosen.leads, sampling_rate, Metadata())
    return [replace(found, left_out=chosen.left_out)]


def _first_line(path: Path) -> tuple[str, list[str] | None]:
    """The separator of a file, and its heading; None where the first line holds numbers."""
    with path.open("rb") as file:
        raw = file.read(_LONGEST_HEADING)
    try:
        text = raw.decode("utf-8-sig", "strict" if len(raw) < _LONGEST_HEADING else "ignore")
    except UnicodeDecodeError:
        raise InvalidRecordError(f"{path.name} is no text in UTF-8") from None
    if "\0" in text:
        raise InvalidRecordError(f"{path.name} is no text: it holds zero bytes")
    lines = text.splitlines()
    if not lines or not lines[0].strip():
        raise InvalidRecordError(f"{path.name} does not begin with a heading or with numbers")
    if len(lines) == 1 and len(raw) == _LONGEST_HEADING:
        raise InvalidRecordError(f"{path.name} begins with a line of more than {_LONGEST_HEADING} characters")
    separator = max(",;\t", key=lines[0].count)
    if ";" in lines[0]:
        separator = ";"  # commas are then decimals
    words = [word.strip().strip('"').strip() for word in lines[0].split(separator)]
    return separator, None if all(_is_number(word) for word in words) else words


def _is_number(word: str) -> bool:
    """Whether a cell holds a number, or nothing."""
    try:
        float(word.replace(",", "."))
    except ValueError:
        return word in _MISSING
    return True


def _numbers(path: Path, separator: str, heading: list[str] | None) -> tuple[NDArray[np.float64], dict[int, str]]:
    """All rows (samples, columns), NaN where a cell holds no number; and the first word of each column with words."""
    pandas = require("pandas", "data")
    with read_errors(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns that are not numbers, which are looked at below
        table = pandas.read_csv(
            path,
            sep=separator,
            header=None,
            skiprows=0 if heading is None else 1,
            index_col=False,
            decimal="," if separator == ";" else ".",
            encoding="utf-8-sig",
            na_values=_MISSING,
            keep_default_na=False,
            skipinitialspace=True,
            low_memory=False,
            skip_blank_lines=False,  # in a file of one column, they are missing samples
        )
    known = np.flatnonzero(table.notna().any(axis=1).to_numpy())
    if not len(known):
        raise InvalidRecordError(f"{path.name} has no samples")
    table = table.iloc[: known[-1] + 1]
    if heading is not None and table.shape[1] != len(heading):
        raise InvalidRecordError(f"{path.name} has {len(heading)} headings over {table.shape[1]} columns")
    columns, words = [], {}
    for i in range(table.shape[1]):
        column = table.iloc[:, i]
        if column.dtype.kind not in "fiu":
            numbers = pandas.to_numeric(column, errors="coerce")
            bad = column[numbers.isna() & column.notna()]
            if len(bad):
                words[i] = f"row {int(bad.index[0]) + 1} is no number: {str(bad.iloc[0])[:40]!r}"
            column = numbers
        columns.append(np.asarray(column, np.float64))
    return np.stack(columns, axis=1), words


def _split(label: str) -> tuple[str, str | None]:
    """Name and unit of a column.

    Example:
        >>> _split("II (uV)"), _split("V5 [mV]"), _split("time_ms"), _split("aVR")
        (('II', 'uV'), ('V5', 'mV'), ('time_ms', None), ('aVR', None))
    """
    match = _HEADING.fullmatch(label)
    return (match[1], match[2]) if match and match[1] and match[2] else (label, None)


def _is_axis(name: str) -> bool:
    """Whether a column numbers or times the samples."""
    return _TIME.fullmatch(name) is not None or _COUNT.fullmatch(name) is not None


def _rate_of_times(path: Path, names: list[str], units: list[str | None], values: NDArray[np.float64]) -> float | None:
    """The rate that a column of times says; None without one, or where its unit is not said."""
    rate = None
    for i, name in enumerate(names):
        times = values[:, i]
        match = _TIME.fullmatch(name)
        if not _is_axis(name) or len(times) < 2 or (not name and np.isnan(times).all()):
            continue
        steps = np.diff(times)
        step = (times[-1] - times[0]) / (len(times) - 1)
        if not np.isfinite(times).all() or not step > 0:
            raise InvalidRecordError(f"{path.name}: column {name or i + 1} does not grow from row to row")
        off = np.abs(times - times[0] - step * np.arange(len(times)))
        if off.max() > 0.75 * step:
            at = int(np.argmax(steps)) + 1
            raise InvalidRecordError(
                f"{path.name}: column {name or i + 1} has a gap after row {at}; cut the file there"
            )
        unit = units[i] or (match[1] if match else None) or (name if name.lower() in _SECONDS else None)
        if match and unit is not None and unit.lower() in _SECONDS:
            rate = 1 / (step * _SECONDS[unit.lower()])
            rate = float(round(rate)) if math.isclose(rate, round(rate), rel_tol=_WHOLE) else rate
    return rate
