"""Conversion of a source into a cache: in parts, over processes, and on from where a killed one stopped.

The records are cut into parts. Each is written by one process and is whole or not there (`ecgloss.data.cache.part`);
what the parts hold does not depend on how many processes there are. Records that cannot be read are skipped, and listed
with their reasons.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ecgloss._extras import require
from ecgloss._processes import FORKED, over_processes, usable_cores
from ecgloss.data.cache.part import is_whole, write_part
from ecgloss.data.cache.reader import is_cache
from ecgloss.data.cache.source_files import keep
from ecgloss.data.cache.writer import finish
from ecgloss.data.preprocess import Preprocessing

if TYPE_CHECKING:
    from ecgloss.data.cards.base import Entry
    from ecgloss.data.sources import Source

_UNFINISHED = ".unfinished-"
_ABANDONED_S = 24 * 3600.0  # until then the conversion of a process that was killed can go on
_LARGEST_PART, _MOST_PARTS = 64, 4096  # records per part, and parts unless there are more records than fit
_FEWEST_PARTS = 64  # so that a few long records are spread over processes as well
_WORTH_S = 2.0 if FORKED else 8.0  # processes are started when more than this is left to do


def build_cache(
    source: Source, target: Path, preprocessing: Preprocessing, *, progress: bool, processes: int | None = None
) -> None:
    """Write a cache in an unfinished folder beside its target, and rename the folder when it is complete.

    One process at a time builds a cache; others wait for it and take what it has made. Where one was killed, the next
    goes on with the parts that are there.

    Args:
        source: What to convert.
        target: Folder of the cache.
        preprocessing: What is done to every signal.
        progress: Show a progress bar.
        processes: How many work at once; None: as many as there are cores, if the work is worth their start.

    Raises:
        ValueError: If no recording can be used, or a requested lead is in none of them.
    """
    folder = target.parent / f"{_UNFINISHED}{target.name}-{source.listing.key[:12]}"
    with _alone(folder, say=progress):
        if is_cache(target):
            return
        folder.mkdir(exist_ok=True)
        parts = _cut(source.listing.entries)
        try:
            _write_parts(parts, folder, preprocessing, source.listing.leads_said, progress, processes)
            finish(folder, len(parts), preprocessing, source=source.label, card=source.listing.card)
            keep(source.listing.files, folder)
            for temporary in folder.glob(".*.tmp"):  # of a process that was killed
                _quietly(temporary.unlink)
            folder.rename(target)
        except ValueError:  # nothing of it can be used
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _cut(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """Cut records into parts; how depends on their number alone."""
    n = len(entries)
    size = max(1, min(_LARGEST_PART, n // _FEWEST_PARTS), -(-n // _MOST_PARTS))
    return [entries[start : start + size] for start in range(0, n, size)]


def _write_parts(
    parts: Sequence[Sequence[Entry]],
    folder: Path,
    preprocessing: Preprocessing,
    leads_said: bool,
    progress: bool,
    processes: int | None,
) -> None:
    """Write the parts that are not there: some in this process, the rest by several if that is worth it."""
    todo = [k for k in range(len(parts)) if not is_whole(k, folder)]
    total = sum(map(len, parts))
    bar = require("tqdm", "data").tqdm(
        total=total,
        initial=total - sum(len(parts[k]) for k in todo),
        unit="record",
        desc="converting",
        disable=not progress,
    )
    cores = usable_cores()
    with bar:
        start, done = time.monotonic(), -1  # the first part loads what is needed to read, and says nothing of the rest
        while todo:
            left_s = (time.monotonic() - start) / done * len(todo) if done > 0 else 0.0
            if processes or (cores > 1 and len(todo) > 1 and left_s > _WORTH_S):
                jobs = [(k, parts[k], folder, preprocessing, leads_said) for k in todo]
                for n in over_processes(write_part, jobs, min(processes or cores, len(todo))):
                    bar.update(n)
                return
            k = todo.pop(0)
            bar.update(write_part(k, parts[k], folder, preprocessing, leads_said))
            done += 1
            start = time.monotonic() if done == 0 else start


@contextmanager
def _alone(folder: Path, *, say: bool) -> Iterator[None]:
    """Hold the lock of an unfinished folder, which ends with the process; delete what others have abandoned."""
    filelock = require("filelock", "data")
    parent = folder.parent
    path = Path(f"{folder}.lock")
    lock = filelock.FileLock(path, mode=0o666)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent, folder.name)
        try:
            lock.acquire(timeout=1)
        except filelock.Timeout:
            if say:
                print("waiting for another process, which converts the same recordings", file=sys.stderr)
            lock.acquire()
    except OSError as error:
        raise ValueError(f"cannot write a cache to {parent}: {error.strerror or error}") from error
    try:
        yield
    finally:
        _quietly(path.unlink)
        lock.release()


def _sweep(parent: Path, own: str) -> None:
    """Delete unfinished folders of dead processes: of the same source as it was before, or a day old."""
    source = own.rsplit("-", 2)[0]  # the rest of the name changes with its files
    for old in parent.glob(f"{_UNFINISHED}*"):
        name = old.name.removesuffix(".lock")
        if name == own or not old.exists():
            continue
        aged = time.time() - old.stat().st_mtime > _ABANDONED_S
        if (aged or name.rsplit("-", 2)[0] == source) and not _alive(parent / f"{name}.lock"):
            shutil.rmtree(old, ignore_errors=True) if old.is_dir() else _quietly(old.unlink)


def _alive(lock: Path) -> bool:
    """Whether a process holds the lock of an unfinished folder."""
    if not lock.exists():
        return False
    filelock = require("filelock", "data")
    try:
        with filelock.FileLock(lock, mode=0o666, timeout=0):
            return False
    except (filelock.Timeout, OSError):
        return True


def _quietly(action: Callable[[], None]) -> None:
    """Do something to a file that another process may be using."""
    with suppress(OSError):
        action()
