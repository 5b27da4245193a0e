"""The converted cache: flat int16 shards that are memory-mapped, a Parquet index and a JSON description.

Layout of a cache folder:

- ``cache.json``: format version, preprocessing, source, card, skipped records, fingerprint, shard sizes.
- ``index.parquet``: one row per recording (see `columns`).
- ``shard-00000.npy``, ...: one-dimensional little-endian int16. A recording is one run, lead after lead, at most
  about 256 MiB per shard. Signals are stored *after* preprocessing, each lead scaled to 32,000 counts.

The files are only ever written to a new folder by `CacheWriter`, and renamed by the caller when complete.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgloss._extras import require
from ecgloss.data.duplicates import groups, signature
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import Recording, Skipped

FORMAT = 1
DESCRIPTION, INDEX = "cache.json", "index.parquet"
FULL_SCALE = 32_000
SHARD_SAMPLES = 2**27  # 256 MiB of int16
_FLAT_MV = 1e-9  # below this a lead is zero, and a gain would be infinite


@dataclass(frozen=True)
class CacheInfo:
    """Contents of ``cache.json``.

    Attributes:
        preprocessing: What was done to the signals.
        source: Where they come from.
        card: Name of the card that read them.
        skipped: Records that could not be used.
        fingerprint: SHA-256 over preprocessing and index.
        shards: File name and number of samples of every shard.

    Example:
        >>> CacheInfo(Preprocessing(), "db", "wfdb", (), "", ()).card
        'wfdb'
    """

    preprocessing: Preprocessing
    source: str
    card: str
    skipped: tuple[Skipped, ...]
    fingerprint: str
    shards: tuple[tuple[str, int], ...]


def columns() -> Any:
    """Return the schema of the index.

    ``gain`` is counts per mV for every lead; ``checksum`` the CRC-32 of the recording's int16 samples; ``labels``
    (task to list of labels) and ``values`` (task to number) are JSON objects; ``shard`` and ``offset`` say where
    the recording begins.

    Example:
        >>> columns().names[:4]
        ['name', 'patient', 'group', 'leads']
    """
    pa = require("pyarrow", "data")
    text, number, integer = pa.string(), pa.float64(), pa.int64()
    return pa.schema(
        [
            ("name", text),
            ("patient", text),
            ("group", text),
            ("leads", pa.list_(text)),
            ("n_samples", integer),
            ("source_rate", number),
            ("age", number),
            ("sex", text),
            ("smoker", pa.bool_()),
            ("diabetes", pa.bool_()),
            ("sbp", number),
            ("total_chol", number),
            ("hdl_chol", number),
            ("shard", integer),
            ("offset", integer),
            ("gain", pa.list_(number)),
            ("checksum", integer),
            ("labels", text),
            ("values", text),
        ]
    )


def fingerprint(rows: Sequence[dict[str, Any]], preprocessing: Preprocessing) -> str:
    """Hash everything that makes a dataset what it is; where the samples lie in the shards does not count.

    Args:
        rows: Rows of the index.
        preprocessing: What was done to the signals.

    Example:
        >>> len(fingerprint([], Preprocessing()))
        64
    """
    digest = hashlib.sha256(json.dumps(preprocessing.to_json(), sort_keys=True).encode())
    for row in rows:
        content = {key: value for key, value in row.items() if key not in ("shard", "offset")}
        digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()


class CacheWriter:
    """Writes a cache into an empty folder.

    Args:
        folder: An existing, empty folder.
        preprocessing: What was done to the signals that will be added.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = CacheWriter(Path(folder), Preprocessing())
        ...     writer.add(Recording("a", "a", np.ones((1, 500), np.float32), ("I",), 500.0), 500.0)
        ...     info = writer.finish(source="memory", card="wfdb", skipped=())
        >>> info.shards
        (('shard-00000.npy', 500),)
    """

    def __init__(self, folder: Path, preprocessing: Preprocessing) -> None:
        self._folder = folder
        self._preprocessing = preprocessing
        self._rows: list[dict[str, Any]] = []
        self._signatures: list[np.ndarray] = []
        self._shards: list[tuple[str, int]] = []
        self._buffer = np.empty(SHARD_SAMPLES, "<i2")  # pages that are never written cost no memory
        self._used = 0

    def add(self, recording: Recording, source_rate: float) -> None:
        """Append one prepared recording.

        Args:
            recording: With a finite signal at the cache's rate.
            source_rate: Rate before resampling in Hz.
        """
        counts, gain = _quantise(recording.signal)
        if self._used + counts.size > SHARD_SAMPLES:
            self._flush()
        shard, offset = len(self._shards), self._used
        if counts.size > SHARD_SAMPLES:
            self._save(counts.ravel())
        else:
            self._buffer[offset : offset + counts.size] = counts.ravel()
            self._used += counts.size
        metadata = recording.metadata
        self._rows.append(
            {
                "name": recording.name,
                "patient": recording.patient,
                "group": recording.patient,
                "leads": list(recording.leads),
                "n_samples": counts.shape[1],
                "source_rate": float(source_rate),
                "age": float(metadata.age),
                "sex": metadata.sex,
                "smoker": metadata.smoker,
                "diabetes": metadata.diabetes,
                "sbp": float(metadata.sbp),
                "total_chol": float(metadata.total_chol),
                "hdl_chol": float(metadata.hdl_chol),
                "shard": shard,
                "offset": offset,
                "gain": gain.tolist(),
                "checksum": zlib.crc32(counts.tobytes()),
                "labels": json.dumps({k: list(v) for k, v in metadata.labels.items()}, sort_keys=True),
                "values": json.dumps({k: float(v) for k, v in metadata.values.items()}, sort_keys=True),
            }
        )
        self._signatures.append(signature(recording.leads, recording.signal, self._preprocessing.sampling_rate))

    def finish(self, *, source: str, card: str, skipped: Sequence[Skipped]) -> CacheInfo:
        """Find duplicates and write what is left: the last shard, the index and the description."""
        self._flush()
        shards = [np.load(self._folder / name, mmap_mode="r", allow_pickle=False) for name, _ in self._shards]

        def read(i: int) -> tuple[Sequence[str], np.ndarray]:
            row = self._rows[i]
            return row["leads"], run(shards[row["shard"]], row) / np.array(row["gain"])[:, None]

        patients = [row["patient"] for row in self._rows]
        for row, group in zip(self._rows, groups(patients, np.array(self._signatures), read)):
            row["group"] = group
        pa, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        table = pa.Table.from_pylist(self._rows, schema=columns())
        parquet.write_table(table, self._folder / INDEX, write_page_checksum=True)
        info = CacheInfo(
            self._preprocessing,
            source,
            card,
            tuple(skipped),
            fingerprint(self._rows, self._preprocessing),
            tuple(self._shards),
        )
        description = {
            "format": FORMAT,
            "preprocessing": info.preprocessing.to_json(),
            "source": info.source,
            "card": info.card,
            "skipped": [{"name": skip.name, "reason": skip.reason} for skip in info.skipped],
            "fingerprint": info.fingerprint,
            "shards": [{"name": name, "samples": samples} for name, samples in info.shards],
        }
        (self._folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
        return info

    def _flush(self) -> None:
        """Write the buffer as a shard, if it holds anything."""
        if self._used:
            self._save(self._buffer[: self._used])
            self._used = 0

    def _save(self, samples: np.ndarray) -> None:
        """Write one shard."""
        name = f"shard-{len(self._shards):05d}.npy"
        np.save(self._folder / name, samples, allow_pickle=False)
        self._shards.append((name, samples.size))


def run(shard: np.ndarray, row: Any) -> np.ndarray:
    """Return the counts of one recording as ``(leads, samples)``.

    Example:
        >>> run(np.arange(8), {"leads": ["I", "II"], "n_samples": 3, "offset": 1}).tolist()
        [[1, 2, 3], [4, 5, 6]]
    """
    shape = (len(row["leads"]), int(row["n_samples"]))
    start = int(row["offset"])
    return shard[start : start + shape[0] * shape[1]].reshape(shape)


def _quantise(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale every lead to the full range: an amplitude-blind step, so 11 mV and 0.1 mV keep the same detail."""
    peak = np.abs(signal).max(axis=1).astype(np.float64)
    gain = np.where(peak > _FLAT_MV, FULL_SCALE / np.maximum(peak, _FLAT_MV), 1.0)
    return np.rint(signal * gain[:, None]).astype("<i2"), gain
