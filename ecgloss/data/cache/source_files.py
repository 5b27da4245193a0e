"""Whether the files of a source are still those that were converted, without looking at a million of them.

A conversion lists all files of its source. It keeps name, size and time of up to 2,000 of them and the times of up to
2,000 folders, evenly chosen; as long as these have not changed, the folder is not walked again. A file that is added or
removed changes the time of its folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgloss._files import write_text
from ecgloss.data.cache.format import DESCRIPTION

LOOKED_AT = 2000
_FILE = "source.json"  # in the folder of a cache


@dataclass(frozen=True)
class FileState:
    """A file or folder as it was.

    Attributes:
        path: Absolute.
        size: In bytes; -1 for a folder.
        time: Of its last change, in ns.
    """

    path: str
    size: int
    time: int

    @classmethod
    def of(cls, path: str | Path) -> FileState | None:
        """As it is now; None where it does not exist or is a broken link.

        Example:
            >>> FileState.of("no such file") is None
            True
        """
        try:
            found = os.stat(path)
        except OSError:
            return None
        return cls(str(path), -1 if stat.S_ISDIR(found.st_mode) else found.st_size, found.st_mtime_ns)


def walk(folder: Path, skip: Path | None = None) -> Iterator[FileState]:
    """Every visible file and folder below (and including) a folder, in a fixed order; converted caches are left out.

    Args:
        folder: Where to begin.
        skip: A folder that is left out, too.

    Example:
        >>> list(walk(Path("no such folder")))
        []
    """
    for root, folders, files in os.walk(folder):
        if DESCRIPTION in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith(".") and Path(root, name) != skip)
        for path in (root, *(os.path.join(root, name) for name in sorted(files))):
            state = FileState.of(path)
            if state is not None:
                yield state


def digest(states: Iterable[FileState]) -> str:
    """Hash of all files; folders do not count, their times also change when a cache is put beside the data.

    Example:
        >>> digest([FileState("a", -1, 5)]) == digest([])
        True
    """
    found = hashlib.sha256()
    for state in states:
        if state.size >= 0:
            found.update(json.dumps([state.path, state.size, state.time]).encode())
    return found.hexdigest()


def keep(states: Sequence[FileState], cache: Path) -> None:
    """Note in a cache what its source looked like.

    Args:
        states: All files and folders of the source.
        cache: Folder of the cache.
    """
    folders = [state for state in states if state.size < 0]
    files = [state for state in states if state.size >= 0]
    chosen = [*_evenly(folders), *_evenly(files)]
    write_text(cache / _FILE, json.dumps([[state.path, state.size, state.time] for state in chosen]))


def unchanged(cache: Path) -> bool:
    """Tell whether what was noted about the source of a cache is still so; False where nothing can be read.

    Example:
        >>> unchanged(Path("no such cache"))
        False
    """
    try:
        noted = [FileState(*row) for row in json.loads((cache / _FILE).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError):
        return False
    return all(FileState.of(state.path) == state for state in noted)


def _evenly(states: Sequence[FileState]) -> list[FileState]:
    """At most :data:`LOOKED_AT` of some states."""
    step = max(1, -(-len(states) // LOOKED_AT))
    return list(states[::step])
