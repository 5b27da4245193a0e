"""Conversion of a source into a cache in a folder of the caller's choice."""

from __future__ import annotations

from pathlib import Path

from ecgloss.data.cache import build_cache
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.sources import ArrayOptions, resolve


def convert(
    source: str | Path,
    out: str | Path,
    *,
    preprocessing: Preprocessing,
    progress: bool = True,
    units: str | None = None,
    source_rate: float | None = None,
) -> Path:
    """Convert a source into a cache in a folder of your choice.

    Args:
        source: As for `ecgloss.data.open_dataset`.
        out: The folder to create. It must not exist yet, or it must be empty.
        preprocessing: What is done to every signal.
        progress: Show a progress bar.
        units: Of an array: mV, uV or V; its rows are ``preprocessing.leads``.
        source_rate: Sampling rate of an array in Hz.

    Returns:
        ``out``, which `ecgloss.data.open_dataset` opens.

    Raises:
        ValueError: If ``out`` is a file or a folder that is not empty, or the source has no readable recording.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     out = convert("synthetic:2", Path(folder, "cache"), preprocessing=Preprocessing(), progress=False)
        ...     sorted(path.name for path in out.iterdir())
        ['cache.json', 'index.parquet', 'shard-00000.npy', 'shard-00001.npy', 'source.json']
    """
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder; give another folder, or empty this one")
    arrays = ArrayOptions(units, source_rate)
    build_cache(resolve(source, preprocessing, arrays, skip=out), out, preprocessing, progress=progress)
    return out
