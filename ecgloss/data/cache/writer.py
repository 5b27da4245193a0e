"""Writing of a converted cache, file by file; `ecgloss.data.cache.format` says what the files hold."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgloss._extras import require
from ecgloss.data.cache.format import DESCRIPTION, INDEX, CacheInfo, columns, fingerprint, stored_counts
from ecgloss.data.duplicates import groups, signature
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import Recording, Skipped

FULL_SCALE = 32_000  # counts at the largest absolute value of a lead
SHARD_SAMPLES = 2**27  # 256 MiB of int16
_FLAT_MV = 1e-9  # a lead whose largest absolute value is below this is stored with gain 1


class CacheWriter:
    """Writes a cache into an empty folder: `add` every recording, then `finish`.

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
        """Write the last shard, find duplicates, write the index and the description.

        Args:
            source: Where the recordings come from.
            card: Name of the database card that read them.
            skipped: Records that could not be used.

        Returns:
            What the description holds.
        """
        self._flush()
        shards = [np.load(self._folder / name, mmap_mode="r", allow_pickle=False) for name, _ in self._shards]

        def read(i: int) -> tuple[Sequence[str], np.ndarray]:
            row = self._rows[i]
            return row["leads"], stored_counts(shards[row["shard"]], row) / np.array(row["gain"])[:, None]

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
        (self._folder / DESCRIPTION).write_text(json.dumps(info.to_json(), indent=1), encoding="utf-8")
        return info

    def _flush(self) -> None:
        """Write the buffer as a shard, if it holds anything."""
        if self._used:
            self._save(self._buffer[: self._used])
            self._used = 0

    def _save(self, samples: np.ndarray) -> None:
        """Write one shard and note its name and size."""
        name = f"shard-{len(self._shards):05d}.npy"
        np.save(self._folder / name, samples, allow_pickle=False)
        self._shards.append((name, samples.size))


def _quantise(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale every lead to the full range, so that a lead of 0.1 mV keeps as much detail as one of 11 mV.

    Returns:
        ``(leads, samples)`` int16 counts, and ``(leads,)`` counts per mV.
    """
    peak = np.abs(signal).max(axis=1).astype(np.float64)
    gain = np.where(peak > _FLAT_MV, FULL_SCALE / np.maximum(peak, _FLAT_MV), 1.0)
    return np.rint(signal * gain[:, None]).astype("<i2"), gain
