"""Samples as stored. Words of 16 bits are read here; the ``wfdb`` package decodes all other formats.

``wfdb`` gets a canonical header, which it cannot misunderstand, and links to the signal files, in a temporary folder.
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
_WORDS = {"16": "<i2", "61": ">i2"}  # formats of most databases
_MISSING = -32768  # the word that marks a missing sample


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
    files = dict.fromkeys(signal.file for signal in wanted)
    content = {file: [signal for signal in spec.signals if signal.file == file] for file in files}
    in_words = {file for file in files if {s.format for s in content[file]} in ({"16"}, {"61"})}
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for file in files:
        if file in in_words:
            found |= _words(folder / file, content[file], spec.length)
    others = [signal for signal in spec.signals if signal.file in files and signal.file not in in_words]
    found |= _decoded(folder, spec, others, wanted) if others else {}
    return [found[id(signal)][0] for signal in wanted], [found[id(signal)][1] for signal in wanted]


def _words(path: Path, signals: Sequence[Signal], length: int | None) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Counts and values of every signal of a file of words, frame after frame, by the identity of the signal."""
    kind, offset = _WORDS[signals[0].format], signals[0].offset
    width = sum(signal.per_frame for signal in signals)
    stored = np.fromfile(path, kind, -1 if length is None else length * width, offset=offset)
    frames = stored[: len(stored) // width * width].reshape(-1, width)
    found, column = {}, 0
    for signal in signals:
        counts = frames[:, column : column + signal.per_frame].ravel()
        column += signal.per_frame
        values = (counts - float(signal.baseline)) / signal.gain
        values[counts == _MISSING] = np.nan
        found[id(signal)] = counts, values
    return found


def _decoded(
    folder: Path, spec: Header, signals: Sequence[Signal], wanted: Sequence[Signal]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Counts and values of the wanted among all signals of some files, as ``wfdb`` decodes them."""
    wfdb = require("wfdb", "data")
    with tempfile.TemporaryDirectory() as scratch:
        renamed = {file: f"s{k}.dat" for k, file in enumerate(dict.fromkeys(s.file for s in signals))}
        for file, name in renamed.items():
            _provide(folder / file, Path(scratch, name))
        lines = [_line(signal, renamed[signal.file], k) for k, signal in enumerate(signals)]
        length = "" if spec.length is None else f" {spec.length}"
        Path(scratch, "r.hea").write_text("\n".join([f"r {len(signals)} {spec.rate:.10g}{length}", *lines]) + "\n")
        channels = [k for k, signal in enumerate(signals) if any(signal is w for w in wanted)]
        record = wfdb.rdrecord(str(Path(scratch, "r")), channels=channels, physical=False, smooth_frames=False)
    chosen = [signals[k] for k in channels]
    record.adc_gain, record.baseline = [s.gain for s in chosen], [s.baseline for s in chosen]
    values = [np.asarray(x, np.float64) for x in record.dac(expanded=True)]
    return {id(signal): found for signal, *found in zip(chosen, record.e_d_signal, values)}  # type: ignore[misc]


def _provide(source: Path, target: Path) -> None:
    """A signal file under another name: a link, or a copy where there are none."""
    try:
        os.symlink(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _line(signal: Signal, file: str, k: int) -> str:
    """A signal line with every field, and a name that holds no blank."""
    if signal.format not in (*BYTES, "310", "311", "508", "516", "524"):
        raise InvalidRecordError(f"cannot be read: format {signal.format} of {signal.file}")
    stored = f"{signal.format}x{signal.per_frame}+{signal.offset}"
    return f"{file} {stored} 200(0)/mV {signal.resolution} {signal.zero} {signal.initial} 0 {signal.block} c{k}"
