"""The lock of a run: two processes never train in one folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ecgloss._extras import require
from ecgloss._file_errors import naming

LOCK = ".lock"
_held: set[int] = set()  # open locks, which worker processes must not inherit


@contextmanager
def only_one(run: Path) -> Iterator[None]:
    """Hold the lock of a run, or refuse at once.

    The system releases it when the process ends, however that comes about; the empty file stays. A folder that was
    made for it goes again if nothing else was written.

    Args:
        run: Folder of the run; made if it is not there.

    Raises:
        ValueError: If another process holds it.
        FileError: If the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with only_one(folder), only_one(folder):
        ...     pass  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: ... is being written by another process; wait until it ends, or choose another --out
    """
    with naming(run):
        made = [folder for folder in (run, *run.parents) if not folder.exists()]
        run.mkdir(parents=True, exist_ok=True)
    path = run / LOCK
    try:
        with naming(path):
            release = _acquired(path)
        try:
            yield
        finally:
            if all(entry.name == LOCK for entry in _entries(run)):  # it failed before the first file
                with suppress(OSError):
                    path.unlink()
            release()
    finally:
        for folder in made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _entries(folder: Path) -> list[Path]:
    """What a folder holds; nothing if it is gone."""
    return list(folder.iterdir()) if folder.is_dir() else []


def _acquired(path: Path) -> Callable[[], None]:
    """Take the lock of a file; returns what releases it."""
    refusal = f"{path.parent} is being written by another process; wait until it ends, or choose another --out"
    try:
        import fcntl
    except ImportError:  # Windows
        filelock = require("filelock", "data")
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise ValueError(refusal) from error
        return lambda: lock.release()
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.path.samestat(os.fstat(file), os.stat(path)):
                break
            os.close(file)  # of a process that failed, and removed it just now
        except OSError as error:
            os.close(file)
            if isinstance(error, BlockingIOError):
                raise ValueError(refusal) from error
            raise
    _held.add(file)

    def release() -> None:
        _held.discard(file)
        os.close(file)

    return release


def _forget() -> None:
    """Close inherited locks: a worker may outlive a killed process by seconds."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
