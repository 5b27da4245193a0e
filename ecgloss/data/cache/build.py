"""Conversion of a source into a cache. Records that cannot be read are skipped, and listed with their reasons."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ecgloss._extras import MissingExtraError, require
from ecgloss._files import umask
from ecgloss.data.cache.reader import is_cache
from ecgloss.data.cache.writer import CacheWriter
from ecgloss.data.preprocess import Preprocessing, prepare
from ecgloss.data.recording import Skipped, select_leads

if TYPE_CHECKING:
    from ecgloss.data.sources import Source

_UNFINISHED = ".unfinished-"
_ABANDONED_S = 24 * 3600.0  # an unfinished folder of this age belongs to a process that was killed


def build_cache(source: Source, target: Path, preprocessing: Preprocessing, *, progress: bool) -> None:
    """Write a cache in a temporary folder beside its target, and rename the folder when it is complete.

    Two processes may build the same cache at once: each writes a folder of its own, and the one that finishes last
    deletes its copy.

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
        except Exception as error:  # damaged files raise many types; the message is kept as the reason
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


@contextmanager
def _unfinished_folder(target: Path) -> Iterator[Path]:
    """Make a folder beside the target; it is deleted at the end unless the caller has renamed it."""
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
    """Return an exception's message on one line, or its type where it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__
