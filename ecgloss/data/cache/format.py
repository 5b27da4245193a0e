"""What the files of a converted cache hold.

Layout of a cache folder:

- ``cache.json``: format version, preprocessing, source, card, skipped records, fingerprint, hash of the index, shard
  sizes (`CacheInfo`).
- ``index.parquet``: one row per recording (`columns`).
- ``shard-00000.npy``, ...: one-dimensional little-endian int16 arrays, one per part of the conversion, at most 4,096 of
  them. The samples of a recording are contiguous, lead after lead, *after* preprocessing, each lead scaled to a maximum
  of 32,000 counts.
- ``source.json``: what the files of the source looked like (`ecgloss.data.cache.source_files`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecgloss._extras import require
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import Skipped

#: Version of this layout.
FORMAT = 2
#: Version of what is stored. It grows whenever reading or preprocessing puts other numbers into a cache, so that caches
#: made before are not used any more (``tests/data/test_cache_contents.py`` notices).
CONTENTS = 2
DESCRIPTION, INDEX = "cache.json", "index.parquet"


@dataclass(frozen=True)
class CacheInfo:
    """Contents of ``cache.json``.

    Attributes:
        preprocessing: What was done to the signals.
        source: Where they come from.
        card: Name of the database card that read them.
        skipped: Records that could not be used.
        fingerprint: SHA-256 over preprocessing and index.
        index_hash: SHA-256 of the file of the index.
        shards: File name and number of samples of every shard.
        left_out: Channels that were left out because they are no ECG leads, and in how many records.

    Example:
        >>> CacheInfo(Preprocessing(), "db", "wfdb", (), "", "", ()).card
        'wfdb'
    """

    preprocessing: Preprocessing
    source: str
    card: str
    skipped: tuple[Skipped, ...]
    fingerprint: str
    index_hash: str
    shards: tuple[tuple[str, int], ...]
    left_out: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the JSON file, with a hash of them.

        Example:
            >>> CacheInfo(Preprocessing(), "db", "wfdb", (), "", "", ()).to_json()["format"]
            2
        """
        fields = {
            "format": FORMAT,
            "preprocessing": self.preprocessing.to_json(),
            "source": self.source,
            "card": self.card,
            "skipped": [{"name": skip.name, "reason": skip.reason} for skip in self.skipped],
            "fingerprint": self.fingerprint,
            "index_hash": self.index_hash,
            "shards": [{"name": name, "samples": samples} for name, samples in self.shards],
            "left_out": self.left_out,
        }
        return fields | {"hash": hash_of(fields)}

    @classmethod
    def from_json(cls, fields: Any) -> CacheInfo:
        """Build from what `to_json` returned, of the same format version.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: If a field was changed, is missing or of the wrong kind.

        Example:
            >>> info = CacheInfo(Preprocessing(), "db", "wfdb", (), "", "", (("shard-00000.npy", 500),))
            >>> CacheInfo.from_json(info.to_json()) == info
            True
        """
        if hash_of(fields) != fields["hash"]:
            raise ValueError("they do not match their hash")
        return cls(
            Preprocessing.from_json(fields["preprocessing"]),
            str(fields["source"]),
            str(fields["card"]),
            tuple(Skipped(str(skip["name"]), str(skip["reason"])) for skip in fields["skipped"]),
            str(fields["fingerprint"]),
            str(fields["index_hash"]),
            tuple((str(shard["name"]), int(shard["samples"])) for shard in fields["shards"]),
            {str(name): int(count) for name, count in fields["left_out"].items()},
        )


def hash_of(fields: dict[str, Any]) -> str:
    """SHA-256 of the fields of the description but their ``hash``.

    Example:
        >>> hash_of({"format": 2}) == hash_of({"format": 2, "hash": "old"})
        True
    """
    content = {key: value for key, value in fields.items() if key != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def hash_of_file(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: If it cannot be read.

    Example:
        >>> len(hash_of_file(Path(__file__)))
        64
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def columns() -> Any:
    """Return the schema of the index.

    ``leads`` is a JSON list of names, ``gain`` counts per mV, one number per lead; ``checksum`` the CRC-32 of the
    recording's int16 samples; ``labels`` (task to list of labels) and ``values`` (task to number) are JSON objects;
    ``part`` is that of the official split; ``shard`` is the number of the shard, ``offset`` the position of the
    recording's first sample in it.

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
            ("leads", text),
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
            ("gain", pa.list_(pa.float32())),
            ("checksum", integer),
            ("part", text),
            ("labels", text),
            ("values", text),
        ]
    )


def fingerprint(rows: Iterable[dict[str, Any]], preprocessing: Preprocessing) -> str:
    """Return the SHA-256 of the preprocessing and of all columns of the index but ``shard`` and ``offset``.

    Two caches with the same fingerprint hold the same dataset, even if their shards are cut differently.

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


def stored_counts(shard: np.ndarray, row: Any) -> np.ndarray:
    """Return the int16 counts of one recording as ``(leads, samples)``, a view of its shard.

    Args:
        shard: All samples of the shard.
        row: The recording's row of the index.

    Example:
        >>> stored_counts(np.arange(8), {"gain": [1.0, 1.0], "n_samples": 3, "offset": 1}).tolist()
        [[1, 2, 3], [4, 5, 6]]
    """
    shape = (len(row["gain"]), int(row["n_samples"]))
    start = int(row["offset"])
    return shard[start : start + shape[0] * shape[1]].reshape(shape)
