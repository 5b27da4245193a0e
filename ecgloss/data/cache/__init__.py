"""The converted cache: preprocessed recordings as memory-mapped int16 shards, a Parquet index and a JSON description.

`build_cache` converts a source into a cache, part by part; `open_cache` opens and verifies one. The files are described
in `ecgloss.data.cache.format`.
"""

from __future__ import annotations

from ecgloss.data.cache.build import build_cache
from ecgloss.data.cache.format import CacheInfo
from ecgloss.data.cache.reader import OpenCache, is_cache, map_shard, open_cache

__all__ = ["CacheInfo", "OpenCache", "build_cache", "is_cache", "map_shard", "open_cache"]
