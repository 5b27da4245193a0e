"""The end of a conversion: its parts become one cache. `ecgloss.data.cache.format` says what the files hold."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss._files import replacing, write_text
from ecgloss.data.cache.format import DESCRIPTION, INDEX, CacheInfo, columns, fingerprint, hash_of_file, stored_counts
from ecgloss.data.cache.part import Part, read_part, read_thumbnails, remove_table, shard_name
from ecgloss.data.duplicates import groups
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import Skipped
from ecgloss.data.thumbnail import SAMPLES, SLOTS

_ROWS = 10_000  # of the index, as Python objects at one time


def finish(folder: Path, n_parts: int, preprocessing: Preprocessing, *, source: str, card: str) -> CacheInfo:
    """Join the parts in a folder: find duplicates, write the index and the description, delete the parts' tables.

    Args:
        folder: With all parts.
        n_parts: How many there are.
        preprocessing: What was done to the signals.
        source: Where the recordings come from.
        card: Name of the database card that read them.

    Returns:
        What the description holds.

    Raises:
        ValueError: If no recording could be used, or a lead that is wanted is in none.
    """
    parts = [part for part in (read_part(k, folder) for k in range(n_parts)) if part is not None]
    assert len(parts) == n_parts, "a part is missing"
    _check_leads(parts, preprocessing, source)
    table, kept, skipped = _unique_names(parts)
    if not len(table):
        first = "; ".join(map(str, skipped[:3]))
        raise ValueError(f"no readable record in {source}: {len(skipped)} skipped. {first}")
    signatures = np.asarray(table["signature"].combine_chunks().flatten()).reshape(len(table), -1)
    shards = [(shard_name(k), part.samples) for k, part in enumerate(parts) if part.samples]
    table = _placed(table.drop_columns("signature"), parts)
    with tempfile.TemporaryFile(dir=folder) as file:  # they may be larger than the memory
        thumbnails = np.memmap(file, np.int8, "w+", shape=(len(table), SLOTS, SAMPLES))
        filled, seen = 0, 0
        for k, part in enumerate(parts):
            own = read_thumbnails(k, folder)[kept[seen : seen + len(part.table)]]
            thumbnails[filled : filled + len(own)] = own
            filled, seen = filled + len(own), seen + len(part.table)
        table = _with_groups(table, signatures, thumbnails, [folder / name for name, _ in shards])
        del thumbnails
    parquet = require("pyarrow.parquet", "data")
    with replacing(folder / INDEX) as temporary:
        parquet.write_table(table, temporary, write_page_checksum=True)
    info = CacheInfo(
        preprocessing,
        source,
        card,
        tuple(skipped),
        fingerprint(_rows(table), preprocessing),
        hash_of_file(folder / INDEX),
        tuple(shards),
        dict(sorted(sum((part.left_out for part in parts), Counter[str]()).items())),
    )
    write_text(folder / DESCRIPTION, json.dumps(info.to_json(), indent=1))
    for k in range(n_parts):
        remove_table(k, folder)
    return info


def _check_leads(parts: Sequence[Part], preprocessing: Preprocessing, source: str) -> None:
    """Refuse leads that no recording has."""
    available = dict.fromkeys(lead for part in parts for lead in part.leads)
    absent = [lead for lead in preprocessing.leads or () if lead not in available]
    if absent and available:
        raise ValueError(
            f"no recording in {source} has lead {', '.join(absent)}; the available leads are {', '.join(available)}"
        )


def _unique_names(parts: Sequence[Part]) -> tuple[Any, NDArray[np.bool_], list[Skipped]]:
    """The rows of all parts, the first of each name; which of all they are; and all records that are not used."""
    pa = require("pyarrow", "data")
    table = pa.concat_tables([part.table.replace_schema_metadata(None) for part in parts])
    skipped = [skip for part in parts for skip in part.skipped]
    names = table["name"].to_pylist()
    if len(set(names)) == len(names):
        return table, np.ones(len(names), np.bool_), skipped
    seen: set[str] = set()
    first = []
    for name in names:
        first.append(name not in seen)
        seen.add(name)
    again = (name for name, keep in zip(names, first) if not keep)
    return (
        table.filter(pa.array(first)),
        np.array(first),
        [
            *skipped,
            *(Skipped(name, "the name was already used by another record") for name in again),
        ],
    )


def _placed(table: Any, parts: Sequence[Part]) -> Any:
    """The rows with the number of their shard among those that hold anything."""
    pa = require("pyarrow", "data")
    position = np.cumsum([part.samples > 0 for part in parts]) - 1
    column = table.schema.get_field_index("shard")
    return table.set_column(column, "shard", pa.array(position[table["shard"].to_numpy()], pa.int64()))


def _with_groups(table: Any, signatures: np.ndarray, thumbnails: np.ndarray, shards: Sequence[Path]) -> Any:
    """The rows with the group of every recording."""
    pa = require("pyarrow", "data")
    patients = table["patient"].to_pylist()
    places = table.select(["shard", "offset", "n_samples", "leads", "gain"])

    def read(i: int) -> tuple[Sequence[str], np.ndarray]:
        [row] = places.slice(i, 1).to_pylist()
        shard = np.load(shards[row["shard"]], mmap_mode="r", allow_pickle=False)
        return json.loads(row["leads"]), stored_counts(shard, row) / np.array(row["gain"])[:, None]

    found = pa.array(groups(patients, signatures, read, thumbnails), pa.string())
    table = table.set_column(table.schema.get_field_index("group"), "group", found)
    return table.cast(columns())


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    """Rows as Python objects, some at a time."""
    for batch in table.to_batches(_ROWS):
        yield from batch.to_pylist()
