"""Reading of WFDB records in mV, with normalised lead names.

`ecgloss.data.wfdb.specification` parses the header before the ``wfdb`` library opens anything. The size of a signal
file is checked before memory for the announced length is allocated, and samples are compared with the header's
checksums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecgloss.data.recording import normalise_lead
from ecgloss.data.wfdb.channels import is_other_signal, millivolts
from ecgloss.data.wfdb.headers import NO_SIGNAL, InvalidRecordError, check_link
from ecgloss.data.wfdb.samples import BYTES, stored_samples
from ecgloss.data.wfdb.specification import Header, Signal, parse_header

_MOST_SAMPLES = 2**28  # limit where no file size bounds the announced length: twelve leads, 12 hours at 500 Hz
_MOST_EMPTY, _FEW_SAMPLES = 20, 2**20  # a record may be so many times as long as what is recorded, and so much longer


@dataclass(frozen=True)
class WfdbRecord:
    """Signals of one record.

    Attributes:
        signal: ``(leads, samples)`` float32 in mV, NaN where missing.
        leads: Normalised lead names.
        sampling_rate: In Hz.
        digital: ``(leads, samples)`` integers as stored, for databases whose headers state wrong gains; None for
            records of several segments or rates.
        comments: Comment lines of the header without their ``#``.
    """

    signal: np.ndarray
    leads: tuple[str, ...]
    sampling_rate: float
    digital: np.ndarray | None
    comments: tuple[str, ...] = ()


def read_record(header: Path) -> WfdbRecord:
    """Read all ECG leads of one record.

    Channels whose signal file is missing are left out as long as another channel exists, and so are channels that are
    not voltages, or no ECG leads by their name. Channels of a lower rate than the fastest are interpolated to it.
    Repeated lead names get a number.

    Args:
        header: Path of the ``.hea`` file.

    Returns:
        The record's signals.

    Raises:
        InvalidRecordError: If the header is invalid or names files outside its folder, or if the signal is
            missing, empty, shorter than announced, or does not match its checksums.

    Example:
        >>> read_record(Path("missing.hea"))
        Traceback (most recent call last):
        ...
        ecgloss.data.wfdb.headers.InvalidRecordError: missing.hea is missing
    """
    record = read_voltages(header)
    kept = [row for row, lead in enumerate(record.leads) if not is_other_signal(lead)]
    if not kept:
        raise InvalidRecordError(f"no channel is an ECG lead: the channels are {', '.join(record.leads)}")
    return replace(
        record,
        signal=record.signal[kept],
        leads=tuple(record.leads[row] for row in kept),
        digital=None if record.digital is None else record.digital[kept],
    )


def read_voltages(header: Path) -> WfdbRecord:
    """Read all channels of one record that are voltages, ECG leads or not; otherwise as :func:`read_record`.

    Args:
        header: Path of the ``.hea`` file.

    Raises:
        InvalidRecordError: As :func:`read_record`.

    Example:
        >>> read_voltages(Path("missing.hea"))
        Traceback (most recent call last):
        ...
        ecgloss.data.wfdb.headers.InvalidRecordError: missing.hea is missing
    """
    spec = parse_header(header)
    try:
        record = _read_single(header, spec) if spec.segments is None else _read_segments(header, spec)
    except InvalidRecordError:
        raise
    except Exception as error:  # wfdb raises whatever numpy, re and int() raise on damaged files
        raise InvalidRecordError(f"cannot be read: {_one_line(error)}") from error
    if record.signal.shape[1] == 0:
        raise InvalidRecordError("the record has no samples")
    if not np.isfinite(record.signal).any():
        raise InvalidRecordError("every sample is missing")
    return replace(record, comments=spec.comments)


def _read_single(header: Path, spec: Header) -> WfdbRecord:
    """Read an ordinary record; ``wfdb`` sees only channels whose files exist and are long enough."""
    if not spec.signals:
        raise InvalidRecordError("the header describes no signals")
    voltages = [signal for signal in spec.signals if millivolts(signal.unit) is not None and signal.file != NO_SIGNAL]
    if not voltages:
        found = ", ".join(sorted({signal.unit for signal in spec.signals}))
        raise InvalidRecordError(f"no channel is a voltage: the units are {found}")
    present = [signal for signal in voltages if (header.parent / signal.file).is_file()]
    if not present:
        missing = sorted({signal.file for signal in voltages})
        raise InvalidRecordError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    for name in {signal.file for signal in present}:
        check_link(header.parent / name, header.resolve().parent)  # folders of links to whole records are read
        _check_size(header.parent / name, spec)
    counts, values = stored_samples(header.parent, spec, present)
    for signal, stored in zip(present, counts):
        _check_sum(signal, stored)
    shifted = [_without_skew(x * millivolts(s.unit), s) for x, s in zip(values, present)]  # type: ignore[operator]
    plain = len({signal.per_frame for signal in present}) == 1 and not any(signal.skew for signal in present)
    return WfdbRecord(
        signal=_same_length(shifted).astype(np.float32),
        leads=_unique(signal.name for signal in present),
        sampling_rate=spec.rate * max(signal.per_frame for signal in present),
        digital=np.stack(counts) if plain else None,
    )


def _without_skew(x: np.ndarray, signal: Signal) -> np.ndarray:
    """Samples at their own time: stored late, so that the last ones are missing."""
    late = signal.skew * signal.per_frame
    if late >= len(x):
        raise InvalidRecordError(f"the skew of lead {signal.name} is {signal.skew} frames, longer than the record")
    return np.concatenate([x[late:], np.full(late, np.nan)]) if late else x


def _read_segments(header: Path, spec: Header) -> WfdbRecord:
    """Read a record of several segments, each as a record of its own; leads that a segment lacks are missing there."""
    assert spec.segments is not None
    total = sum(length for _, length in spec.segments)
    if len(spec.segments) < spec.announced and spec.length != total:
        raise InvalidRecordError(f"{len(spec.segments)} of {spec.announced} segments are listed")
    recorded = sum(length for name, length in spec.segments if name != NO_SIGNAL)
    if total > _MOST_EMPTY * recorded + _FEW_SAMPLES:
        raise InvalidRecordError(f"too long: {total} samples, of which {recorded} are in segments with a signal")
    parts: list[tuple[int, int, WfdbRecord]] = []  # first frame, frames, signals
    start = 0
    for name, length in spec.segments:
        if name != NO_SIGNAL and length > 0:  # a first segment of length 0 only describes the signals
            parts.append((start, length, _segment(header, spec, name, length)))
        start += length
    if not parts:
        raise InvalidRecordError("no segment holds a signal")
    fastest = max(round(part.sampling_rate / spec.rate) for *_, part in parts)
    leads = tuple(dict.fromkeys(lead for *_, part in parts for lead in part.leads))
    signal = np.full((len(leads), total * fastest), np.nan, np.float32)
    for first, length, part in parts:
        values = _same_length([*part.signal, np.zeros(length * fastest)])[:-1] if part.signal.size else part.signal
        rows = [leads.index(lead) for lead in part.leads]
        signal[rows, first * fastest : (first + length) * fastest] = values
    return WfdbRecord(signal=signal, leads=leads, sampling_rate=spec.rate * fastest, digital=None)


def _segment(header: Path, spec: Header, name: str, length: int) -> WfdbRecord:
    """Read one segment, of ``length`` frames."""
    path = next((p for p in (header.with_name(f"{name}{end}") for end in (".hea", ".HEA")) if p.is_file()), None)
    inner = parse_header(path or header.with_name(f"{name}.hea"))
    if inner.segments is not None:
        raise InvalidRecordError(f"{name}.hea is a segment and has segments itself")
    if not np.isclose(inner.rate, spec.rate):
        raise InvalidRecordError(f"segment {name} has {inner.rate:g} frames per second, the record {spec.rate:g}")
    try:
        part = _read_single(header.with_name(f"{name}.hea"), inner)
    except InvalidRecordError as error:
        raise InvalidRecordError(f"segment {name}: {error}") from error
    frames = part.signal.shape[1] * spec.rate / part.sampling_rate
    if round(frames) != length:
        raise InvalidRecordError(f"segment {name} has {frames:g} frames, the record says {length}")
    return part


def _check_size(path: Path, spec: Header) -> None:
    """Refuse a file shorter than announced, before memory for the announced length is allocated."""
    signals = [signal for signal in spec.signals if signal.file == path.name]
    size, length = path.stat().st_size, spec.length or 0
    if size == 0:
        raise InvalidRecordError(f"{path.name} is empty")
    kind = signals[0].format
    samples = length * sum(signal.per_frame for signal in signals)
    needed = int(samples * BYTES.get(kind, 0.0)) + signals[0].offset
    if size < needed:
        raise InvalidRecordError(f"{path.name} is truncated: {size} bytes, the header announces {needed}")
    if kind not in BYTES and samples > _MOST_SAMPLES:
        raise InvalidRecordError(f"{path.name} is too long: {samples} samples")


def _check_sum(signal: Signal, stored: np.ndarray) -> None:
    """Compare the samples as they are stored with the header's checksum, unless it has none (or 0)."""
    if not signal.checksum:
        return
    found = int(stored.astype(np.int64).sum())
    if (signal.checksum - found) % 65536:
        found = (found + 32768) % 65536 - 32768
        raise InvalidRecordError(f"the checksum of lead {signal.name} is {found}, the header says {signal.checksum}")


def _same_length(channels: list[np.ndarray]) -> np.ndarray:
    """Interpolate channels of a lower rate to the length of the fastest."""
    longest = max(len(channel) for channel in channels)
    where = np.arange(longest)
    return np.stack(
        [c if len(c) in (0, longest) else np.interp(where * len(c) / longest, np.arange(len(c)), c) for c in channels]
    )


def _unique(names: Iterable[str | None]) -> tuple[str, ...]:
    """Normalise lead names; a name that comes again gets a number, so that names identify leads."""
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        lead = normalise_lead(name or "") or "unnamed"
        seen[lead] += 1
        out.append(lead if seen[lead] == 1 else f"{lead} ({seen[lead]})")
    return tuple(out)


def _one_line(error: Exception) -> str:
    """Return an exception's message on one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
