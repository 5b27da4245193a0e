"""Conversion of a source into a cache in a folder of the caller's choice."""

from __future__ import annotations

from pathlib import Path

from ecgloss.data.cache import build_cache
from ecgloss.data.files import SignalOptions
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.sources import resolve


def convert(
    source: str | Path,
    out: str | Path,
    *,
    preprocessing: Preprocessing,
    progress: bool = True,
    signals: SignalOptions | None = None,
) -> Path:
    """Convert a source into a cache in a folder of your choice.

    Args:
        source: As for `ecgloss.data.open_dataset`.
        out: The folder to create. It must not exist yet, or it must be empty.
        preprocessing: What is done to every signal.
        progress: Show a progress bar.
        signals: What is said about own files: units, rate, the array's name; leads default to
            ``preprocessing.leads``.

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
    found = resolve(source, preprocessing, signals, skip=out)
    build_cache(found, out, preprocessing.stored(), progress=progress)
    return out
