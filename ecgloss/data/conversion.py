"""Conversion of a source into a cache: every broken record is reported, none stops the rest."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ecgloss._extras import MissingExtraError, require
from ecgloss._files import umask
from ecgloss.data.cache import CacheWriter
from ecgloss.data.cache_reader import is_cache
from ecgloss.data.preprocess import Preprocessing, prepare
from ecgloss.data.recording import Recording, Skipped
from ecgloss.data.sources import Source, resolve

_UNFINISHED = ".unfinished-"
_ABANDONED_S = 24 * 3600.0  # an unfinished folder of this age belongs to a process that was killed


def convert(source: str | Path, out: str | Path, *, preprocessing: Preprocessing, progress: bool = True) -> Path:
    """Convert a source into a cache at a place of one's own.

    Args:
        source: As for `ecgloss.data.open_dataset`.
        out: The folder to create; it must not exist or be empty.
        preprocessing: What is done to every signal.
        progress: Show a progress bar.

    Returns:
        ``out``, which `ecgloss.data.open_dataset` opens.

    Raises:
        ValueError: If ``out`` is not empty, or the source has no readable recording.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     out = convert("synthetic:2", Path(folder, "cache"), preprocessing=Preprocessing(), progress=False)
        ...     sorted(path.name for path in out.iterdir())
        ['cache.json', 'index.parquet', 'shard-00000.npy']
    """
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder")
    build(resolve(source, preprocessing), out, preprocessing, progress=progress)
    return out


def build(source: Source, target: Path, preprocessing: Preprocessing, *, progress: bool) -> None:
    """Write a cache beside its target and rename it when it is complete.

    Two processes that build the same cache do not meet: each has a folder of its own, and the second to finish
    finds the target taken and drops its copy.

    Args:
        source: What to convert.
        target: Folder of the cache.
        preprocessing: What is done to every signal.
        progress: Show a progress bar.

    Raises:
        ValueError: If no recording can be used, or a requested lead is in none of them.
    """
    with _unfinished_folder(target) as folder:
        _write(source, folder, preprocessing, progress=progress)
        try:
            folder.rename(target)
        except OSError:
            if not is_cache(target):
                raise


def _write(source: Source, folder: Path, preprocessing: Preprocessing, *, progress: bool) -> None:
    """Read, prepare and store every record."""
    tqdm = require("tqdm", "data").tqdm
    writer = CacheWriter(folder, preprocessing)
    skipped: list[Skipped] = []
    names: set[str] = set()
    available: dict[str, None] = {}
    bar = tqdm(source.entries, total=source.total, unit="record", desc="converting", disable=not progress)
    for entry in bar:
        try:
            recordings = list(entry.read())
            available |= dict.fromkeys(lead for recording in recordings for lead in recording.leads)
            recordings = [select_leads(recording, preprocessing.leads) for recording in recordings]
            prepared = [replace(r, signal=prepare(r.signal, r.sampling_rate, preprocessing)) for r in recordings]
        except MissingExtraError:
            raise
        except Exception as error:  # whatever a damaged file provokes: reported with its reason, never fatal
            skipped.append(Skipped(entry.name, _reason(error)))
            continue
        for recording in prepared:
            if recording.name in names:
                skipped.append(Skipped(recording.name, "the name was already used by another record"))
                continue
            names.add(recording.name)
            writer.add(recording, recording.sampling_rate)
    absent = [lead for lead in preprocessing.leads or () if lead not in available]
    if absent and available:
        raise ValueError(
            f"no recording in {source.label} has lead {', '.join(absent)}; "
            f"the available leads are {', '.join(available)}"
        )
    if not names:
        first = "; ".join(map(str, skipped[:3]))
        raise ValueError(f"no readable record in {source.label}: {len(skipped)} skipped. {first}")
    writer.finish(source=source.label, card=source.card, skipped=skipped)


def select_leads(recording: Recording, leads: tuple[str, ...] | None) -> Recording:
    """Keep those of the requested leads that a recording has, in the requested order.

    Args:
        recording: Any recording.
        leads: Normalised names; None keeps all.

    Raises:
        ValueError: If it has none of them.

    Example:
        >>> import numpy as np
        >>> recording = Recording("a", "a", np.zeros((2, 5), np.float32), ("V5", "MLII"), 360.0)
        >>> select_leads(recording, ("MLII", "I")).leads
        ('MLII',)
    """
    if leads is None:
        return recording
    kept = tuple(lead for lead in leads if lead in recording.leads)
    if not kept:
        raise ValueError(f"has none of the leads {', '.join(leads)}, only {', '.join(recording.leads)}")
    rows = [recording.leads.index(lead) for lead in kept]
    return replace(recording, signal=recording.signal[rows], leads=kept)


@contextmanager
def _unfinished_folder(target: Path) -> Iterator[Path]:
    """Provide a folder beside the target that is gone afterwards, unless it was renamed."""
    parent = target.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for old in parent.glob(f"{_UNFINISHED}*"):
            if time.time() - old.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(old, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=parent))
    except OSError as error:
        raise ValueError(f"cannot write a cache to {parent}: {error.strerror or error}") from error
    try:
        os.chmod(folder, 0o777 & ~umask())  # mkdtemp's 0700 would lock others out of a shared cache
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reason(error: Exception) -> str:
    """Return one line that says what was wrong with a record."""
    return " ".join(str(error).split())[:300] or type(error).__name__
