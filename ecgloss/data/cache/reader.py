"""Opening of a converted cache. Names, sizes, columns and checksums are verified before anything is used."""

from __future__ import annotations

import json
import re
import tokenize
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgloss._extras import require
from ecgloss.data.cache.format import DESCRIPTION, FORMAT, INDEX, CacheInfo, columns, hash_of_file

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
        index: One row per recording, without its gains.
        shards: Memory-mapped samples.
        leads: Names of the leads of every recording; equal ones are one object.
        first_gain: (recordings + 1,) position of the first gain of every recording.
        gains: Gains of all leads of all recordings, in counts per mV.
    """

    info: CacheInfo
    index: pd.DataFrame
    shards: tuple[np.ndarray, ...]
    leads: list[tuple[str, ...]]
    first_gain: np.ndarray
    gains: np.ndarray


def is_cache(folder: Path) -> bool:
    """Tell whether a folder is a converted cache.

    Example:
        >>> is_cache(Path("no such folder"))
        False
    """
    return (folder / DESCRIPTION).is_file()


def open_cache(folder: Path) -> OpenCache:
    """Open a cache and verify it.

    Checked are the format version, names, sizes and types of the shards, the hash of the index and its columns, that
    every row lies inside its shard, and the CRC-32 of every recording. In a cache of 2 GiB or more the checksums of
    2,000 recordings are compared, chosen with a fixed seed.

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
    table = _read_index(folder, info)
    kinds, which = _leads(folder, table)
    n_leads = np.array([len(kind) for kind in kinds], np.int64)[which]
    first_gain = np.concatenate([[0], np.cumsum(n_leads)])
    _check_rows(folder, table, n_leads, info)
    gains = np.asarray(table["gain"].combine_chunks().flatten(), np.float32)
    table = table.drop_columns(["leads", "gain"])
    index = table.to_pandas(self_destruct=True)
    del table
    index.insert(3, "leads", _objects([list(kind) for kind in kinds])[which])
    _check_sums(folder, index, n_leads, info, shards)
    return OpenCache(info, index, shards, _objects(kinds)[which].tolist(), first_gain, gains)


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


def _read_index(folder: Path, info: CacheInfo) -> Any:
    """Read the index, unchanged and with exactly the expected columns, as an Arrow table."""
    parquet = require("pyarrow.parquet", "data")
    try:
        found = hash_of_file(folder / INDEX)
    except OSError as error:
        raise _damaged(folder, INDEX, _reason(error)) from error
    if found != info.index_hash:
        raise _damaged(folder, INDEX, "its contents do not match the hash in cache.json")
    try:
        table = parquet.read_table(folder / INDEX, memory_map=True)
    except Exception as error:  # pyarrow raises many types
        raise _damaged(folder, INDEX, _reason(error)) from error
    if not table.schema.equals(columns(), check_metadata=False):
        raise _damaged(folder, INDEX, f"its columns are {', '.join(table.schema.names)}")
    if not len(table):
        raise _damaged(folder, INDEX, "it has no rows")
    return table


def _leads(folder: Path, table: Any) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """The different sets of leads, of which a database has few, and which of them each recording has."""
    found = table["leads"].combine_chunks().dictionary_encode()
    texts = found.dictionary.to_pylist()
    if found.null_count or not all(_is(list, text) for text in texts):
        raise _damaged(folder, INDEX, "the leads of a recording are missing")
    return [tuple(map(str, json.loads(text))) for text in texts], found.indices.to_numpy()


def _objects(values: Sequence[Any]) -> np.ndarray:
    """A one-dimensional array of Python objects, which may be sequences themselves."""
    found = np.empty(len(values), object)
    found[:] = values
    return found


def _check_rows(folder: Path, table: Any, n_leads: np.ndarray, info: CacheInfo) -> None:
    """Refuse rows without a name, whose samples lie outside their shard, or whose gain is not positive."""
    compute = require("pyarrow.compute", "data")
    n_gains = np.asarray(compute.fill_null(compute.list_value_length(table["gain"]), 0).combine_chunks(), np.int64)
    valid = (n_leads > 0) & (n_gains == n_leads)
    for name in ("name", "patient", "group", "labels", "values"):
        valid &= np.asarray(compute.fill_null(compute.not_equal(table[name], ""), False))
    for name in ("shard", "offset", "n_samples", "checksum"):
        valid &= np.asarray(table[name].is_valid())
    if valid.all():
        shard, offset, samples = (np.asarray(table[name]) for name in ("shard", "offset", "n_samples"))
        sizes = np.array([size for _, size in info.shards], np.int64)
        valid = (shard >= 0) & (shard < len(sizes)) & (offset >= 0) & (samples > 0)
        room = sizes[np.where(valid, shard, 0)] - offset if len(sizes) else np.zeros(len(table))
        valid &= n_leads <= room // np.maximum(samples, 1)
        gains = table["gain"].combine_chunks().flatten()
        good = np.asarray(compute.fill_null(compute.and_(compute.is_finite(gains), compute.greater(gains, 0)), False))
        valid &= np.logical_and.reduceat(good, np.cumsum(n_gains) - n_gains)
    if not valid.all():
        name = table["name"][int(np.flatnonzero(~valid)[0])].as_py()
        raise _damaged(folder, INDEX, f"the row of {name!r} does not fit the shards")
    for column in ("labels", "values"):
        for text in table[column].unique().to_pylist():
            if not _is(dict, text):
                name = table["name"][table[column].index(text).as_py()].as_py()
                raise _damaged(folder, INDEX, f"{column} of {name!r} are not JSON objects")


def _is(kind: type, text: str) -> bool:
    """Tell whether a text is JSON of a kind, list or dict."""
    try:
        return isinstance(json.loads(text), kind)
    except (ValueError, RecursionError):
        return False


def _check_sums(
    folder: Path, index: pd.DataFrame, n_leads: np.ndarray, info: CacheInfo, shards: tuple[np.ndarray, ...]
) -> None:
    """Compare samples with checksums: of every recording, or of a fixed random choice in a large cache."""
    chosen = np.arange(len(index))
    if 2 * int((n_leads * index["n_samples"].to_numpy()).sum()) >= CHECK_ALL_BYTES and len(index) > _SAMPLE:
        chosen = np.sort(np.random.default_rng(0).choice(len(index), _SAMPLE, replace=False))
    rows = index.iloc[chosen][["shard", "offset", "n_samples", "checksum"]].to_numpy(np.int64).tolist()
    for i, (shard, offset, samples, checksum) in zip(chosen.tolist(), rows):
        if zlib.crc32(shards[shard][offset : offset + int(n_leads[i]) * samples].data) != checksum:
            name = index["name"].iloc[i]
            raise _damaged(folder, info.shards[shard][0], f"the checksum of {name!r} is wrong")


def _reason(error: Exception) -> str:
    """Return an exception's message on one line, without the path that the caller adds."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def _damaged(folder: Path, file: str, what: str) -> ValueError:
    """Return the error for a damaged file, which names the file and says what to do."""
    return ValueError(f"{folder / file}: {what}; delete the folder {folder} and open the original recordings again")
