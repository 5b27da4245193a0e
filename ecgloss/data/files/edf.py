"""EDF and BDF files (EDF+, BDF+ as well) as recordings, read by edfio.

edfio reads files that contradict themselves with a warning; what the header announces is therefore compared with the
file before.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.data.cards.base import Entry
from ecgloss.data.damage import read_errors
from ecgloss.data.files.channels import choose_channels
from ecgloss.data.files.options import SignalOptions, agreed_rate, agreed_units
from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.channels import millivolts
from ecgloss.data.wfdb.fields import parse_age, parse_sex
from ecgloss.data.wfdb.headers import InvalidRecordError, check_link

EDF_SUFFIXES = (".edf", ".bdf")
_FIXED = 256  # bytes of the header, and of what it says of each signal
_BLOCK = 2**22  # bytes of BDF that are read at once
_MOST_EMPTY, _FEW_SAMPLES = 20, 2**20  # gaps may make a recording so many times as long, and so much longer
_NOBODY = {"", "x", "0", "-", "unknown", "anonymous", "anonymized", "anonymised", "none", "na", "n/a"}
_ONSET = re.compile(rb"^([+-]\d+(?:\.\d*)?)\x14")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def edf_entries(
    path: Path, prefix: str, options: SignalOptions, fallback: Sequence[str] | None, *, alone: bool
) -> list[Entry]:
    """The recording of an EDF or BDF file, not read yet.

    Args:
        path: The file.
        prefix: Its name without extension, in its source.
        options: What the user says about it; the file says units, rate and names of its channels itself.
        fallback: Leads that are wanted.
        alone: Whether it is the whole source.

    Raises:
        MissingExtraError: If edfio is not installed.
    """
    require("edfio", "edf")
    return [Entry(prefix, partial(read_edf, path, prefix, options, fallback))]


def read_edf(path: Path, name: str, options: SignalOptions, fallback: Sequence[str] | None) -> list[Recording]:
    """Read the ECG leads of an EDF or BDF file, which must have one sampling rate; gaps of EDF+D are missing samples.

    Raises:
        InvalidRecordError: If it is damaged, contradicts itself, or is a link that leads outside its folder.
        ValueError: If it has no ECG lead, or contradicts what was said.
    """
    check_link(path)
    plus = _check_header(path)
    blocks = _blocks(path, plus)
    with read_errors(path):
        file = next(blocks)
        signals = file.signals
        labels = [signal.label for signal in signals]
        units = [signal.physical_dimension.replace("Âµ", "µ") for signal in signals]  # of UTF-8
    chosen = choose_channels(
        labels,
        [not unit or millivolts(unit) is not None for unit in units],
        options.leads,
        path.name,
        fallback=fallback,
    )
    taken = [signals[i] for i in chosen.positions]
    rate = agreed_rate(options.source_rate, _one_rate(path, taken, chosen.leads), path.name)
    factors = [agreed_units(options.units, units[i], path.name) for i in chosen.positions]
    for signal in taken:
        _check_scale(path, signal)
    with read_errors(path):
        parts = [_millivolts(file, chosen.positions, factors)]
        parts += [_millivolts(block, chosen.positions, factors) for block in blocks]
        values = np.concatenate(parts, axis=1)
        if plus == "D":
            values = _with_gaps(path, file, values, rate)
    patient, metadata = _about(file) if plus else (None, Metadata())
    found = Recording(name, patient or name, values, chosen.leads, rate, metadata)
    return [replace(found, left_out=chosen.left_out)]


def _blocks(path: Path, plus: str) -> Iterator[Any]:
    """The file as edfio reads it: EDF is mapped to memory; BDF is not, and comes in blocks of some data records."""
    edfio = require("edfio", "edf")
    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # what they say has been checked
        if path.suffix.lower() != ".bdf":
            yield edfio.read_edf(path, header_encoding="latin-1")
            return
        header = file.read(_FIXED)
        number = int(header[252:256])
        header += file.read(_FIXED * number)
        lengths = header[_FIXED + 216 * number : _FIXED + 224 * number]
        record = 3 * sum(int(lengths[at : at + 8]) for at in range(0, 8 * number, 8))
        size = -1 if plus == "D" else record * max(1, _BLOCK // record)  # the times of gaps are read at once
        while block := file.read(size):
            yield edfio.read_bdf(header + block, header_encoding="latin-1")


def _millivolts(file: Any, positions: Sequence[int], factors: Sequence[float]) -> NDArray[np.float32]:
    """Some signals of a file or block, (signals, samples)."""
    signals = file.signals
    return np.stack([np.asarray(signals[i].data * factor, np.float32) for i, factor in zip(positions, factors)])


def _check_header(path: Path) -> str:
    """Compare what the fixed part of a header announces with the file; return "C", "D" (EDF+) or "" (EDF)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_FIXED)
        number = _integer(path, head[252:256], "number of signals")
        about = file.read(_FIXED * max(0, min(number, 10_000)))
    kind = "BDF" if path.suffix.lower() == ".bdf" else "EDF"
    magic = b"\xffBIOSEMI" if kind == "BDF" else b"0       "
    if head[:8] != magic:
        raise InvalidRecordError(f"{path.name} is no {kind} file: it does not begin like one")
    if number < 1 or len(about) < _FIXED * number:
        raise InvalidRecordError(f"{path.name} announces {number} signals, which its header does not describe")
    length = _integer(path, head[184:192], "length of the header")
    if length != _FIXED * (number + 1):
        raise InvalidRecordError(
            f"{path.name}: its header of {number} signals should have {_FIXED * (number + 1)} bytes"
        )
    records = _integer(path, head[236:244], "number of data records")
    at = 216 * number
    samples = [_integer(path, about[at + 8 * i : at + 8 * i + 8], "samples of a signal") for i in range(number)]
    if min(samples) < 0 or not sum(samples):
        raise InvalidRecordError(f"{path.name} has data records without samples")
    record = sum(samples) * (3 if kind == "BDF" else 2)
    if records != -1 and size != length + records * record:
        what = "truncated" if size < length + records * record else "longer than it says"
        raise InvalidRecordError(
            f"{path.name} is {what}: {size} bytes, the header announces {length + max(records, 0) * record}"
        )
    if records < -1 or size < length + record:
        raise InvalidRecordError(f"{path.name} holds no data record")
    try:
        duration = float(head[244:252])
    except ValueError:
        duration = math.nan
    if not 0 <= duration < math.inf:
        raise InvalidRecordError(f"{path.name}: the duration of a data record is {head[244:252]!r}")
    reserved = head[192:197].decode("latin-1")
    return reserved[4] if reserved in (f"{kind}+C", f"{kind}+D") else ""


def _integer(path: Path, raw: bytes, what: str) -> int:
    """A field of the header."""
    if not re.fullmatch(rb" *[+-]?\d+ *", raw):
        raise InvalidRecordError(f"{path.name}: the {what} is {raw.decode('latin-1').strip()!r}")
    return int(raw)


def _one_rate(path: Path, signals: Sequence[Any], leads: Sequence[str]) -> float:
    """The sampling rate that the ECG leads have in common."""
    rates = [float(signal.sampling_frequency) for signal in signals]
    if max(rates) != min(rates):
        found = ", ".join(f"{lead} {rate:g} Hz" for lead, rate in zip(leads, rates))
        raise ValueError(f"{path.name}: its leads have different rates: {found[:200]}; take those of one by --leads")
    return rates[0]


def _check_scale(path: Path, signal: Any) -> None:
    """Refuse a signal whose numbers cannot be turned into its units."""
    try:
        digital = signal.digital_max - signal.digital_min
        physical = signal.physical_max - signal.physical_min
    except ValueError:
        digital = 0
        physical = math.nan
    if digital <= 0 or not math.isfinite(physical) or physical == 0:
        raise InvalidRecordError(f"{path.name}: the ranges of {signal.label} make no scale")


def _with_gaps(path: Path, file: Any, values: NDArray[np.float32], rate: float) -> NDArray[np.float32]:
    """Data records at their own times, with missing samples between them."""
    clock = next((signal for signal in file._signals if signal._is_annotation_signal), None)
    if clock is None:
        raise InvalidRecordError(f"{path.name} is EDF+D without annotations, which say when its data records begin")
    rows = clock.digital.reshape(file.num_data_records, -1)
    found = [_ONSET.match(row.tobytes()) for row in rows]
    if not all(found):
        raise InvalidRecordError(f"{path.name}: a data record does not say when it begins")
    onsets = [Decimal(match[1].decode()) for match in found if match]
    per_record = values.shape[1] // len(onsets)
    starts = np.array([round(float(onset - onsets[0]) * rate) for onset in onsets])
    if (np.diff(starts) < per_record).any():
        raise InvalidRecordError(f"{path.name}: its data records overlap or are out of order")
    total = int(starts[-1]) + per_record
    if total > _MOST_EMPTY * values.shape[1] + _FEW_SAMPLES:
        raise InvalidRecordError(f"{path.name} has gaps of {total / rate:.0f} s in all; cut it at the gaps")
    out = np.full((len(values), total), np.nan, np.float32)
    for k, start in enumerate(starts):
        out[:, start : start + per_record] = values[:, k * per_record : (k + 1) * per_record]
    return out


def _about(file: Any) -> tuple[str | None, Metadata]:
    """Patient, sex and age of an EDF+ file. The patient is the code of the hospital, never the name."""
    said: list[str] = file.local_patient_identification.split()
    code, sex, born, *_ = [*said, "", "", ""]
    words = file.local_recording_identification.split()
    began = _year(words[1]) if len(words) > 1 and words[0].lower() == "startdate" else math.nan
    age = began - _year(born)
    known = parse_age(str(math.floor(age))) if age >= 0 else math.nan
    return None if code.lower() in _NOBODY else code, Metadata(age=known, sex=parse_sex(sex))


def _year(date: str) -> float:
    """A date of EDF+, such as 02-MAY-1951, in years; NaN for another text."""
    match = re.fullmatch(r"(\d{1,2})-([A-Z]{3})-(\d{4})", date.upper())
    if match is None or match[2] not in _MONTHS:
        return math.nan
    return int(match[3]) + _MONTHS.index(match[2]) / 12 + (int(match[1]) - 1) / 372
