"""A WFDB header, parsed to the letter of its specification (header(5), WFDB Applications Guide).

The ``wfdb`` package matches prefixes: a gain of ``2.0E2`` is 2 for it, and the rest becomes part of the lead's name.
Here every field must be understood as a whole; one that is not is named in the error. Numbers may have any form that
C's scanf takes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from ecgloss.data.wfdb.headers import NO_SIGNAL, InvalidRecordError, comments_of, decoded_lines

DEFAULT_RATE, DEFAULT_GAIN = 250.0, 200.0
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_PLAIN_NAME = re.compile(r"~?[-\w.]*", re.ASCII)
_RECORD = re.compile(r"([-\w.]+)(?:/(\S+))?", re.ASCII)
_RATE = re.compile(rf"({_NUMBER})(?:/{_NUMBER}(?:\({_NUMBER}\))?)?")
_FORMAT = re.compile(rf"(\d+)(?:x({_NUMBER}))?(?::({_NUMBER}))?(?:\+({_NUMBER}))?", re.ASCII)
_GAIN = re.compile(rf"({_NUMBER})(?:\(({_NUMBER})\))?(?:/(\S+))?")


@dataclass(frozen=True)
class Signal:
    """One signal line: what it says, with the specification's values for what it leaves out.

    Attributes:
        file: Name of the signal file, "~" for none.
        format: Storage format, such as 16 or 212.
        per_frame: Samples per frame.
        skew: Frames by which it is stored late.
        offset: Bytes before its first sample.
        gain: Counts per unit.
        calibrated: Whether the header gives the gain; where it says 0 or nothing, WFDB assumes 200.
        baseline: Count that stands for 0.
        unit: As written; mV where none is.
        resolution: Bits of the converter; 0 where none are written.
        zero: Count in the middle of the converter's range.
        initial: First value, for difference formats.
        checksum: Of the samples as stored; None where none is written.
        block: Size of blocks of the file.
        name: Description, the lead.
    """

    file: str
    format: str
    per_frame: int = 1
    skew: int = 0
    offset: int = 0
    gain: float = DEFAULT_GAIN
    calibrated: bool = False
    baseline: int = 0
    unit: str = "mV"
    resolution: int = 0
    zero: int = 0
    initial: int = 0
    checksum: int | None = None
    block: int = 0
    name: str = ""


@dataclass(frozen=True)
class Header:
    """A header.

    Attributes:
        name: Of the record.
        rate: Frames per second.
        length: Frames; None where the header does not say.
        signals: Its signals; empty for a record of several segments.
        segments: Names and lengths in frames; None for an ordinary record.
        announced: Number of signals or segments in the record line.
        comments: Its comment lines without their ``#``.
    """

    name: str
    rate: float
    length: int | None
    signals: tuple[Signal, ...]
    segments: tuple[tuple[str, int], ...] | None
    announced: int
    comments: tuple[str, ...] = ()


def parse_header(path: Path) -> Header:
    """Parse a header file.

    Dates and times, which databases write in many forms, are not looked at. Lines beyond those announced are left out,
    as the specification says.

    Raises:
        InvalidRecordError: If it cannot be read, a field is not understood (it is named), or it names a file outside of
            its folder.

    Example:
        >>> parse_header(Path("missing.hea"))
        Traceback (most recent call last):
        ...
        ecgloss.data.wfdb.headers.InvalidRecordError: missing.hea is missing
    """
    text = decoded_lines(path)
    lines = [line.partition("#")[0].strip() for line in text]
    lines = [line for line in lines if line]
    if not lines:
        raise InvalidRecordError(f"{path.name} is empty")
    try:
        return replace(_parsed(lines), comments=comments_of(text))
    except InvalidRecordError as error:
        raise InvalidRecordError(f"{path.name}: {error}") from None


def _parsed(lines: list[str]) -> Header:
    """The header of lines without comments, at least one."""
    fields = lines[0].split()
    match = _RECORD.fullmatch(fields[0])
    if match is None:
        raise InvalidRecordError(f"invalid header: record name {fields[0][:40]!r}")
    if len(fields) < 2:
        raise InvalidRecordError(f"invalid header: the record line {lines[0][:80]!r} has no number of signals")
    signals = _whole("number of signals", fields[1], low=0)
    rate, length = DEFAULT_RATE, None
    if len(fields) > 2:
        found = _RATE.fullmatch(fields[2])
        if found is None:
            raise InvalidRecordError(f"invalid header: sampling frequency {fields[2][:40]!r}")
        rate = _real("sampling frequency", found[1])
        if not rate > 0:
            raise InvalidRecordError(f"invalid header: sampling frequency {fields[2][:40]!r} is not positive")
    if len(fields) > 3:
        length = _whole("number of samples", fields[3], low=0) or None
    if match[2] is None:
        if len(lines) - 1 < signals:
            raise InvalidRecordError(f"invalid header: {signals} signals announced, {len(lines) - 1} described")
        described = tuple(_signal(line) for line in lines[1 : signals + 1])
        return Header(match[1], rate, length, described, None, signals)
    announced = _whole("number of segments", match[2], low=1)
    return Header(match[1], rate, length, (), tuple(_segment(line) for line in lines[1 : announced + 1]), announced)


def _segment(line: str) -> tuple[str, int]:
    name, *fields = line.split()
    check_file(name)
    if len(fields) != 1:
        raise InvalidRecordError(f"invalid header: segment line {line[:80]!r}")
    return name, _whole("length of a segment", fields[0], low=0)


def _signal(line: str) -> Signal:
    """Parse one signal line; every field but the first two may be absent, and then all that follow are."""
    file, *fields = line.split(None, 8)
    check_file(file)
    if not fields:
        raise InvalidRecordError(f"invalid header: signal line {line[:80]!r} has no format")
    stored = _FORMAT.fullmatch(fields[0])
    if stored is None:
        raise InvalidRecordError(f"invalid header: format {fields[0][:40]!r}")
    values: dict[str, object] = {
        "per_frame": _whole("samples per frame", stored[2] or "1", low=1),
        "skew": _whole("skew", stored[3] or "0", low=0),
        "offset": _whole("byte offset", stored[4] or "0", low=0),
    }
    baseline = None
    if len(fields) > 1:
        gain = _GAIN.fullmatch(fields[1])
        if gain is None:
            raise InvalidRecordError(f"invalid header: gain {fields[1][:40]!r}")
        values["calibrated"] = _real("gain", gain[1]) != 0
        values["gain"] = _real("gain", gain[1]) or DEFAULT_GAIN
        baseline = None if gain[2] is None else _whole("baseline", gain[2])
        values["unit"] = gain[3] or "mV"
    names = ("resolution", "zero", "initial", "checksum", "block")
    for name, text in zip(names, fields[2:7]):
        values[name] = _whole(name, text)
    if len(fields) > 7:
        values["name"] = fields[7]
    values["baseline"] = values.get("zero", 0) if baseline is None else baseline
    return Signal(file, stored[1], **values)  # type: ignore[arg-type]


def check_file(name: str) -> None:
    """Refuse a name that is no file in the header's own folder."""
    if not _PLAIN_NAME.fullmatch(name) or ".." in name or (name.startswith("~") and name != NO_SIGNAL):
        raise InvalidRecordError(f"the header names {name!r}, which is not a file in its own folder")


def _real(what: str, text: str) -> float:
    number = float(text)  # the pattern has matched
    if not math.isfinite(number):
        raise InvalidRecordError(f"invalid header: {what} {text[:40]!r}")
    return number


def _whole(what: str, text: str, low: int | None = None) -> int:
    """A whole number in any of scanf's forms: 16, 1.6e1, 100.0."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits.isascii() and digits.isdigit() and len(digits) < 16:  # nearly always
        number = int(text)
    elif not re.fullmatch(_NUMBER, text) or not float(text).is_integer() or abs(float(text)) > 2**53:
        raise InvalidRecordError(f"invalid header: {what} {text[:40]!r} is not a whole number")
    else:
        number = int(text) if re.fullmatch(r"[+-]?\d+", text) else int(float(text))
    if low is not None and number < low:
        raise InvalidRecordError(f"invalid header: {what} {text[:40]!r} is below {low}")
    return number
