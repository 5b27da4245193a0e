"""Samples as stored, decoded by the ``wfdb`` package from a header that it cannot misunderstand.

A canonical header, and links to the signal files, are written to a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecgloss._extras import require
from ecgloss.data.wfdb.headers import InvalidRecordError
from ecgloss.data.wfdb.specification import Header, Signal

#: Bytes per sample by storage format, where they are fixed.
BYTES = {"8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 1.5}
_BIG_ENDIAN = "61"  # wfdb cannot read it as integers


def stored_samples(folder: Path, spec: Header, wanted: Sequence[Signal]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Samples of some signals of a record.

    Args:
        folder: Where the signal files are.
        spec: The header.
        wanted: Some of its signals, whose files exist.

    Returns:
        Counts as stored and values in the signals' units, one array per signal at its own rate; NaN where a sample is
        marked as missing.
    """
    wfdb = require("wfdb", "data")
    files = {signal.file for signal in wanted}
    signals = [signal for signal in spec.signals if signal.file in files]  # a file's other signals lie between
    with tempfile.TemporaryDirectory() as scratch:
        renamed = {file: f"s{k}.dat" for k, file in enumerate(dict.fromkeys(s.file for s in signals))}
        for file, name in renamed.items():
            formats = {signal.format for signal in signals if signal.file == file}
            _provide(folder / file, Path(scratch, name), swap=formats == {_BIG_ENDIAN}, signals=signals)
        lines = [_line(signal, renamed[signal.file], k) for k, signal in enumerate(signals)]
        length = "" if spec.length is None else f" {spec.length}"
        Path(scratch, "r.hea").write_text("\n".join([f"r {len(signals)} {spec.rate:.10g}{length}", *lines]) + "\n")
        channels = [k for k, signal in enumerate(signals) if any(signal is w for w in wanted)]
        record = wfdb.rdrecord(str(Path(scratch, "r")), channels=channels, physical=False, smooth_frames=False)
    chosen = [signals[k] for k in channels]
    record.adc_gain, record.baseline = [s.gain for s in chosen], [s.baseline for s in chosen]
    return list(record.e_d_signal), [np.asarray(x, np.float64) for x in record.dac(expanded=True)]


def _provide(source: Path, target: Path, *, swap: bool, signals: Sequence[Signal]) -> None:
    """A signal file under another name: a link, a copy where there are none, or its samples with bytes swapped."""
    if swap:
        offset = next(signal.offset for signal in signals if signal.file == source.name)
        np.fromfile(source, ">i2", offset=offset).astype("<i2").tofile(target)
        return
    try:
        os.symlink(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _line(signal: Signal, file: str, k: int) -> str:
    """A signal line with every field, and a name that holds no blank."""
    big_endian = signal.format == _BIG_ENDIAN
    kind, offset = ("16", 0) if big_endian else (signal.format, signal.offset)
    if kind not in (*BYTES, "310", "311", "508", "516", "524"):
        raise InvalidRecordError(f"cannot be read: format {kind} of {signal.file}")
    stored = f"{kind}x{signal.per_frame}+{offset}"
    return f"{file} {stored} 200(0)/mV {signal.resolution} {signal.zero} {signal.initial} 0 {signal.block} c{k}"
