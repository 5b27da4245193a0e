"""Reading of WFDB records in mV, with normalised lead names.

`ecgloss.data.wfdb.headers` checks the header before the ``wfdb`` library opens anything. The size of a signal file is
checked before memory for the announced length is allocated, and the samples are compared with the header's checksums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgloss._extras import require
from ecgloss.data.recording import normalise_lead
from ecgloss.data.wfdb.headers import NO_SIGNAL, InvalidRecordError, segments, specification_lines, units

#: Millivolt per unit, by the unit's lower-case name; channels in any other unit are not ECG leads.
MILLIVOLTS = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "nv": 1e-6}
_BYTES = {"8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 1.5}
_MOST_SAMPLES = 2**28  # limit where no file size bounds the announced length: twelve leads, 12 hours at 500 Hz


@dataclass(frozen=True)
class WfdbRecord:
    """Signals of one record.

    Attributes:
        signal: ``(leads, samples)`` float32 in mV, NaN where missing.
        leads: Normalised lead names.
        sampling_rate: In Hz.
        digital: ``(leads, samples)`` integers as stored, for databases whose headers state wrong gains; None for
            records of several segments or rates.
    """

    signal: np.ndarray
    leads: tuple[str, ...]
    sampling_rate: float
    digital: np.ndarray | None


def read_record(header: Path) -> WfdbRecord:
    """Read all ECG leads of one record.

    Channels whose signal file is missing are left out as long as another channel exists, and so are channels
    that are not voltages. Channels of a lower rate than the fastest are interpolated to it. Repeated lead names
    get a number.

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
    wfdb = require("wfdb", "data")
    lines = specification_lines(header)
    try:
        if segments(lines) is None:
            record = _read_single(wfdb, header, lines)
        else:
            record = _read_segments(wfdb, header, lines)
    except InvalidRecordError:
        raise
    except Exception as error:  # wfdb raises whatever numpy, re and int() raise on damaged files
        raise InvalidRecordError(f"cannot be read: {_one_line(error)}") from error
    if record.signal.shape[1] == 0:
        raise InvalidRecordError("the record has no samples")
    if not np.isfinite(record.signal).any():
        raise InvalidRecordError("every sample is missing")
    return record


def _read_single(wfdb: Any, header: Path, lines: list[str]) -> WfdbRecord:
    """Read an ordinary record; ``wfdb`` sees only channels whose files exist and are long enough."""
    parsed = _parse(wfdb, header, lines[0])
    names, unit = parsed.file_name or [], units(lines)
    if not names or not len(names) == len(unit) == parsed.n_sig:
        raise InvalidRecordError(f"invalid header: {parsed.n_sig} signals announced, {len(names)} described")
    voltages = [i for i in range(len(names)) if unit[i] in MILLIVOLTS and names[i] != NO_SIGNAL]
    if not voltages:
        raise InvalidRecordError(f"no channel is a voltage: the units are {', '.join(sorted(set(unit)))}")
    present = [i for i in voltages if (header.parent / names[i]).is_file()]
    if not present:
        missing = sorted({names[i] for i in voltages})
        raise InvalidRecordError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    for name in {names[i] for i in present}:
        _check_size(header.parent / name, parsed)
    record = wfdb.rdrecord(str(header.with_suffix("")), channels=present, physical=False, smooth_frames=False)
    _check_sums(record)
    scale = np.array([MILLIVOLTS[unit[i]] for i in present])
    signal = _same_length(record.dac(expanded=True)) * scale[:, None]
    one_rate = len(set(record.samps_per_frame)) == 1
    return WfdbRecord(
        signal=signal.astype(np.float32),
        leads=_unique(record.sig_name),
        sampling_rate=float(record.fs) * max(record.samps_per_frame),
        digital=np.stack(record.e_d_signal) if one_rate else None,
    )


def _read_segments(wfdb: Any, header: Path, lines: list[str]) -> WfdbRecord:
    """Read a record of several segments; each is checked as a record of its own first."""
    parsed = _parse(wfdb, header, lines[0])
    if parsed.n_sig * sum(parsed.seg_len) > _MOST_SAMPLES:
        raise InvalidRecordError(f"too long: {sum(parsed.seg_len)} samples of {parsed.n_sig} leads")
    for i, name in enumerate(parsed.seg_name):
        if name == NO_SIGNAL:
            continue
        segment = header.with_name(f"{name}.hea")
        inner = specification_lines(segment)
        if segments(inner) is not None:
            raise InvalidRecordError(f"{segment.name} is a segment and has segments itself")
        if not "".join(units(inner)).isascii():
            raise InvalidRecordError(f"{segment.name}: unit µV in a record of several segments")
        if parsed.seg_len[i] > 0:  # a first segment of length 0 only describes the signals
            _read_single(wfdb, segment, inner)
    record = wfdb.rdrecord(str(header.with_suffix("")), physical=True, m2s=True)
    keep = [i for i, unit in enumerate(record.units) if str(unit).lower() in MILLIVOLTS]
    if not keep:
        raise InvalidRecordError(f"no channel is a voltage: the units are {', '.join(set(record.units))}")
    scale = np.array([MILLIVOLTS[record.units[i].lower()] for i in keep])
    return WfdbRecord(
        signal=(record.p_signal.T[keep] * scale[:, None]).astype(np.float32),
        leads=_unique([record.sig_name[i] for i in keep]),
        sampling_rate=float(record.fs),
        digital=None,
    )


def _parse(wfdb: Any, header: Path, record_line: str) -> Any:
    """Parse a header whose file names have been checked."""
    try:
        return wfdb.rdheader(str(header.with_suffix("")))
    except Exception as error:  # regular expressions, int() and strptime of wfdb, each with its own exception
        message = f"invalid header: {_one_line(error)}; its record line is {record_line[:80]!r}"
        raise InvalidRecordError(message) from error


def _check_size(path: Path, parsed: Any) -> None:
    """Refuse a file shorter than announced, before memory for the announced length is allocated."""
    channels = [i for i, name in enumerate(parsed.file_name) if name == path.name]
    size, length = path.stat().st_size, parsed.sig_len or 0
    if size == 0:
        raise InvalidRecordError(f"{path.name} is empty")
    kind = parsed.fmt[channels[0]]
    samples = length * sum(parsed.samps_per_frame[i] or 1 for i in channels)
    needed = int(samples * _BYTES.get(kind, 0.0)) + (parsed.byte_offset[channels[0]] or 0)
    if size < needed:
        raise InvalidRecordError(f"{path.name} is truncated: {size} bytes, the header announces {needed}")
    if kind not in _BYTES and samples > _MOST_SAMPLES:
        raise InvalidRecordError(f"{path.name} is too long: {samples} samples")


def _check_sums(record: Any) -> None:
    """Compare the samples with the header's checksums, unless the header has none (or zeros only)."""
    if not any(record.checksum):
        return
    for name, written, found in zip(record.sig_name, record.checksum, record.calc_checksum(expanded=True)):
        if written is not None and (written - found) % 65536:
            raise InvalidRecordError(f"the checksum of lead {name} is {found}, the header says {written}")


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
