"""Opening of a converted cache. Names, sizes, columns and checksums are verified before anything is used."""

from __future__ import annotations

import json
import re
import tokenize
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgloss._extras import require
from ecgloss.data.cache.format import DESCRIPTION, FORMAT, INDEX, CacheInfo, columns, fingerprint, stored_counts

if TYPE_CHECKING:
    import pandas as pd

_SHARD_NAME = re.compile(r"shard-\d{5}\.npy")
CHECK_ALL_BYTES = 2 * 2**30  # below this size of all shards, every checksum is compared
_SAMPLE = 2000  # recordings whose checksums are compared in a larger cache


@dataclass(frozen=True)
class OpenCache:
    """A verified cache.

    Attributes:
        info: Contents of ``cache.json``.
        index: One row per recording.
        shards: Memory-mapped samples.
    """

    info: CacheInfo
    index: pd.DataFrame
    shards: tuple[np.ndarray, ...]


def is_cache(folder: Path) -> bool:
    """Tell whether a folder is a converted cache.

    Example:
        >>> is_cache(Path("no such folder"))
        False
    """
    return (folder / DESCRIPTION).is_file()


def open_cache(folder: Path) -> OpenCache:
    """Open a cache and verify it.

    Checked are the format version, names, sizes and types of the shards, the columns of the index, that every row
    lies inside its shard, the fingerprint, and the CRC-32 of every recording. In a cache of 2 GiB or more the
    checksums of 2,000 recordings are compared, chosen with a fixed seed.

    Args:
        folder: The cache.

    Raises:
        ValueError: If anything is damaged or missing; the message names the file.

    Example:
        >>> open_cache(Path("no such folder"))
        Traceback (most recent call last):
        ...
        ValueError: no such folder/cache.json: No such file or directory; delete the folder no such folder ...
    """
    info = _read_description(folder)
    shards = tuple(map_shard(folder, name, samples) for name, samples in info.shards)
    table, rows = _read_index(folder)
    for row in rows:
        _check_row(folder, row, info)
    if fingerprint(rows, info.preprocessing) != info.fingerprint:
        raise _damaged(folder, INDEX, "its contents do not match the fingerprint in cache.json")
    _check_sums(folder, rows, info, shards)
    index = table.to_pandas()
    index["leads"] = [row["leads"] for row in rows]
    index["gain"] = [row["gain"] for row in rows]
    return OpenCache(info, index, shards)


def map_shard(folder: Path, name: str, samples: int) -> np.ndarray:
    """Memory-map one shard.

    Args:
        folder: The cache.
        name: File name of the shard, as in ``cache.json``.
        samples: Number of samples that it must hold.

    Raises:
        ValueError: If it is not a one-dimensional int16 array of that length.

    Example:
        >>> map_shard(Path("cache"), "../secret.npy", 1)
        Traceback (most recent call last):
        ...
        ValueError: cache/cache.json: '../secret.npy' is not the name of a shard; delete the folder cache ...
    """
    if not _SHARD_NAME.fullmatch(name):
        raise _damaged(folder, DESCRIPTION, f"{name!r} is not the name of a shard")
    try:
        shard = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise _damaged(folder, name, _reason(error)) from error
    if shard.dtype != np.dtype("<i2") or shard.shape != (samples,):
        raise _damaged(folder, name, f"holds {shard.dtype} {shard.shape}, expected int16 ({samples},)")
    return np.asarray(shard)


def _read_description(folder: Path) -> CacheInfo:
    """Read ``cache.json``."""
    try:
        raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, DESCRIPTION, _reason(error)) from error
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT:
        raise _damaged(folder, DESCRIPTION, f"format version is {version!r}, this ecgloss reads {FORMAT}")
    try:
        return CacheInfo.from_json(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, DESCRIPTION, f"invalid contents ({_reason(error)})") from error


def _read_index(folder: Path) -> tuple[Any, list[dict[str, Any]]]:
    """Read the index, with exactly the expected columns, as an Arrow table and as rows."""
    parquet = require("pyarrow.parquet", "data")
    if not (folder / INDEX).is_file():
        raise _damaged(folder, INDEX, "No such file or directory")
    try:
        table = parquet.read_table(folder / INDEX, page_checksum_verification=True)
        rows = table.to_pylist()
    except Exception as error:  # pyarrow raises many types on damaged files, even MemoryError and UnicodeDecodeError
        raise _damaged(folder, INDEX, _reason(error)) from error
    if not table.schema.equals(columns(), check_metadata=False):
        raise _damaged(folder, INDEX, f"its columns are {', '.join(table.schema.names)}")
    if not rows:
        raise _damaged(folder, INDEX, "it has no rows")
    return table, rows


def _check_row(folder: Path, row: dict[str, Any], info: CacheInfo) -> None:
    """Refuse a row whose samples lie outside its shard, whose gain is not positive, or whose labels are not JSON."""
    leads, gain = row["leads"] or [], row["gain"] or []
    numbers = (row["shard"], row["offset"], row["n_samples"], row["checksum"])
    valid = None not in numbers and row["name"] and row["group"] and row["patient"]
    valid = valid and 0 < len(leads) == len(gain) and all(g and np.isfinite(g) and g > 0 for g in gain)
    valid = valid and 0 <= row["shard"] < len(info.shards) and row["offset"] >= 0 and row["n_samples"] > 0
    if not valid or row["offset"] + len(leads) * row["n_samples"] > info.shards[row["shard"]][1]:
        raise _damaged(folder, INDEX, f"the row of {row['name']!r} does not fit the shards")
    try:
        valid = isinstance(json.loads(row["labels"]), dict) and isinstance(json.loads(row["values"]), dict)
    except (TypeError, ValueError, RecursionError):
        valid = False
    if not valid:
        raise _damaged(folder, INDEX, f"labels or values of {row['name']!r} are not JSON objects")


def _check_sums(folder: Path, rows: list[dict[str, Any]], info: CacheInfo, shards: tuple[np.ndarray, ...]) -> None:
    """Compare samples with checksums: of every recording, or of a fixed random choice in a large cache."""
    chosen = np.arange(len(rows))
    if sum(2 * samples for _, samples in info.shards) >= CHECK_ALL_BYTES and len(rows) > _SAMPLE:
        chosen = np.sort(np.random.default_rng(0).choice(len(rows), _SAMPLE, replace=False))
    for row in (rows[i] for i in chosen):
        if zlib.crc32(stored_counts(shards[row["shard"]], row).data) != row["checksum"]:
            raise _damaged(folder, info.shards[row["shard"]][0], f"the checksum of {row['name']!r} is wrong")


def _reason(error: Exception) -> str:
    """Return an exception's message on one line, without the path that the caller adds."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def _damaged(folder: Path, file: str, what: str) -> ValueError:
    """Return the error for a damaged file, which names the file and says what to do."""
    return ValueError(f"{folder / file}: {what}; delete the folder {folder} and open the original recordings again")
