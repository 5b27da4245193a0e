"""Errors of files in words: which file, why, and the way out."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WAYS_OUT = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space of your quota",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder that you may write to, or change its permissions",
    errno.EPERM: "choose a folder that you may write to, or change its permissions",
    errno.ENOENT: "its folder is gone; make or mount it again",
    errno.ESTALE: "its folder is gone; make or mount it again",
    errno.ENOTDIR: "a part of the path is a file; choose another name",
    errno.EEXIST: "a file is in the way; choose another name",
    errno.EISDIR: "a folder is in the way; choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "close other programs: the system has too many open files",
    errno.EIO: "check the disk",
}


class FileError(OSError):
    """A file cannot be written; the message names the file, the reason and the way out.

    Example:
        >>> str(FileError(errno.ENOSPC, "cannot write a.txt: the disk is full"))
        'cannot write a.txt: the disk is full'
    """

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong while a file or folder is written into a :class:`FileError` that names it.

    Args:
        path: What is written; an error about a file outside of its folder names that one.

    Example:
        >>> with naming("runs/a/metrics.jsonl"):
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
            ...
        ecgloss._file_errors.FileError: cannot write runs/a/metrics.jsonl: No space left on device; free some space
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        other = error.filename if isinstance(error.filename, str) else None
        if other is not None and Path(other).parent != Path(path).parent and not Path(other).is_relative_to(path):
            raise FileError(error.errno, sentence(other, error.errno, error, doing="use")) from error
        raise FileError(error.errno, sentence(path, error.errno, error)) from error
    except Exception as error:
        code = _code_of_safetensors(error)
        if code is None:
            raise
        raise FileError(code, sentence(path, code, error)) from error


def sentence(path: str | Path, code: int | None, error: BaseException, doing: str = "write") -> str:
    """Which file, why, and the way out if one is known.

    Example:
        >>> sentence("a.txt", errno.EROFS, OSError())
        'cannot write a.txt: Read-only file system; choose a folder that can be written to'
    """
    reason = " ".join(str(error).split()) if code is None else os.strerror(code)
    way_out = _WAYS_OUT.get(code or 0) if doing != "read" or code != errno.ENOENT else None
    return f"cannot {doing} {path}: {reason}" + (f"; {way_out}" if way_out else "")


def _code_of_safetensors(error: Exception) -> int | None:
    """The error number in an error of safetensors, which are of a class of their own."""
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else None
