"""One part of a conversion: some records, read, prepared and stored. A part is whole, or it is not there."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import MissingExtraError, require
from ecgloss._files import replacing
from ecgloss.data.cache.format import columns
from ecgloss.data.cache.shard import ShardFile
from ecgloss.data.duplicates import signature
from ecgloss.data.preprocess import Preprocessing, prepare
from ecgloss.data.recording import Recording, Skipped, select_leads
from ecgloss.data.thumbnail import SAMPLES, SLOTS, thumbnail
from ecgloss.data.wfdb.channels import is_other_signal

if TYPE_CHECKING:
    from ecgloss.data.cards.base import Entry

FULL_SCALE = 32_000  # counts at the largest absolute value of a lead
_FLAT_MV = 1e-9  # a lead whose largest absolute value is below this is stored with gain 1
_ABOUT = b"ecgloss"
_THUMBNAIL = "thumbnail"


@dataclass(frozen=True)
class Part:
    """What a part holds.

    Attributes:
        table: Its rows of the index, with a signature of every recording.
        samples: Number of samples in its shard; 0 where it has none.
        skipped: Records that could not be used.
        leads: Names of all channels that were seen.
        left_out: Channels that are no ECG leads, and in how many recordings.
    """

    table: Any
    samples: int
    skipped: tuple[Skipped, ...]
    leads: tuple[str, ...]
    left_out: Counter[str]


def write_part(
    number: int, entries: Sequence[Entry], folder: Path, preprocessing: Preprocessing, leads_said: bool = False
) -> int:
    """Read, prepare and store some records.

    Args:
        number: Of the part.
        entries: The records.
        folder: Where its two files go: ``shard-NNNNN.npy`` and, when that is complete, ``part-NNNNN.parquet``.
        preprocessing: What is done to every signal.
        leads_said: Whether the user has named the channels; otherwise those that are no ECG leads by their name are
            left out, unless they are among the leads of the preprocessing.

    Returns:
        The number of records.

    Raises:
        MissingExtraError: If a package that the records need is not installed.
        OSError: If a file cannot be written.
    """
    rows: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    seen: dict[str, None] = {}
    left_out: Counter[str] = Counter()
    with replacing(folder / shard_name(number)) as temporary, ShardFile(temporary) as shard:
        for entry in entries:
            try:
                recordings = list(entry.read())
                seen |= dict.fromkeys(lead for recording in recordings for lead in recording.leads)
                if preprocessing.leads is None and not leads_said:
                    recordings = [_ecg_leads(recording, left_out) for recording in recordings]
                left_out.update(channel for recording in recordings for channel in recording.left_out)
                prepared = [_prepared(recording, preprocessing) for recording in recordings]
            except MissingExtraError:
                raise
            except Exception as error:  # damaged files raise many types; the message is kept as the reason
                skipped.append(Skipped(entry.name, _reason(error)))
                continue
            for recording, signal in prepared:
                counts, gain = _quantise(signal)
                place = {"shard": number, "offset": shard.append(counts)}
                rows.append(_row(recording, counts, gain, preprocessing) | place)
    if not rows:
        (folder / shard_name(number)).unlink()
    about = {
        "samples": shard.samples,
        "skipped": [[skip.name, skip.reason] for skip in skipped],
        "leads": list(seen),
        "left_out": left_out,
    }
    _write_table(folder / _table_name(number), rows, about)
    return len(entries)


def read_part(number: int, folder: Path) -> Part | None:
    """What a part holds; None where it is not there or not whole.

    Args:
        number: Of the part.
        folder: Where its files are.

    Example:
        >>> read_part(0, Path("no such folder")) is None
        True
    """
    parquet = require("pyarrow.parquet", "data")
    path = folder / _table_name(number)
    if not path.is_file():
        return None
    table = parquet.read_table(path, columns=[name for name in _schema().names if name != _THUMBNAIL])
    about = json.loads(table.schema.metadata[_ABOUT])
    skipped = tuple(Skipped(name, reason) for name, reason in about["skipped"])
    return Part(table, about["samples"], skipped, tuple(about["leads"]), Counter(about["left_out"]))


def read_thumbnails(number: int, folder: Path) -> NDArray[np.int8]:
    """Thumbnails of the recordings of a part, (n, 8, 320).

    Args:
        number: Of the part.
        folder: Where its files are.
    """
    parquet = require("pyarrow.parquet", "data")
    column = parquet.read_table(folder / _table_name(number), columns=[_THUMBNAIL])[_THUMBNAIL]
    return np.frombuffer(b"".join(column.to_pylist()), np.int8).reshape(-1, SLOTS, SAMPLES)


def is_whole(number: int, folder: Path) -> bool:
    """Tell whether a part was written to its end.

    Example:
        >>> is_whole(0, Path("no such folder"))
        False
    """
    return (folder / _table_name(number)).is_file()


def remove_table(number: int, folder: Path) -> None:
    """Delete the rows of a part, once the index has them; its shard stays."""
    (folder / _table_name(number)).unlink()


def shard_name(number: int) -> str:
    """File name of a shard.

    Example:
        >>> shard_name(7)
        'shard-00007.npy'
    """
    return f"shard-{number:05d}.npy"


def _table_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _ecg_leads(recording: Recording, left_out: Counter[str]) -> Recording:
    """A recording without the channels that are no ECG leads, which are counted."""
    others = [lead for lead in recording.leads if is_other_signal(lead)]
    if not others:
        return recording
    left_out.update(others)
    kept = tuple(lead for lead in recording.leads if lead not in others)
    if not kept:
        raise ValueError(f"no channel is an ECG lead: the channels are {', '.join(others)}")
    return select_leads(recording, kept)


def _prepared(recording: Recording, preprocessing: Preprocessing) -> tuple[Recording, np.ndarray]:
    """A recording with the leads that are wanted, and its signal after preprocessing."""
    chosen = select_leads(recording, preprocessing.leads)
    return chosen, prepare(chosen.signal, chosen.sampling_rate, preprocessing)


def _row(recording: Recording, counts: np.ndarray, gain: np.ndarray, preprocessing: Preprocessing) -> dict[str, Any]:
    """The row of a recording in the index, without its place."""
    metadata = recording.metadata
    rate = preprocessing.sampling_rate
    return {
        "name": recording.name,
        "patient": recording.patient,
        "group": recording.patient,
        "leads": json.dumps(recording.leads),
        "n_samples": counts.shape[1],
        "source_rate": float(recording.sampling_rate),
        "age": float(metadata.age),
        "sex": metadata.sex,
        "smoker": metadata.smoker,
        "diabetes": metadata.diabetes,
        "sbp": float(metadata.sbp),
        "total_chol": float(metadata.total_chol),
        "hdl_chol": float(metadata.hdl_chol),
        "gain": gain.tolist(),
        "checksum": zlib.crc32(counts.data),
        "part": metadata.part,
        "labels": json.dumps({k: list(v) for k, v in metadata.labels.items()}, sort_keys=True),
        "values": json.dumps({k: float(v) for k, v in metadata.values.items()}, sort_keys=True),
        "signature": signature(recording.leads, counts, rate).tolist(),
        _THUMBNAIL: thumbnail(recording.leads, counts, rate).tobytes(),
    }


def _write_table(path: Path, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Write the rows of a part in one step."""
    pa, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    table = pa.Table.from_pylist(rows, schema=_schema().with_metadata({_ABOUT: json.dumps(about)}))
    with replacing(path) as temporary:
        parquet.write_table(table, temporary, write_page_checksum=True)


def _schema() -> Any:
    """Columns of the rows of a part: those of the index, and by what copies are found."""
    pa = require("pyarrow", "data")
    schema = columns().append(pa.field("signature", pa.list_(pa.float32())))
    return schema.append(pa.field(_THUMBNAIL, pa.binary(SLOTS * SAMPLES)))


def _quantise(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale every lead to the full range, so that a lead of 0.1 mV keeps as much detail as one of 11 mV.

    Returns:
        ``(leads, samples)`` int16 counts, and ``(leads,)`` float32 counts per mV.
    """
    peak = np.maximum(signal.max(axis=1), -signal.min(axis=1)).astype(np.float64)
    gain = np.where(peak > _FLAT_MV, FULL_SCALE / np.maximum(peak, _FLAT_MV), 1.0).astype(np.float32)
    scaled = signal * gain[:, None]
    return np.rint(scaled, out=scaled).astype("<i2"), gain


def _reason(error: Exception) -> str:
    """Return an exception's message on one line, or its type where it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__
