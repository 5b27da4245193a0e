"""Errors of libraries that read damaged files, as one line that names the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecgloss._extras import MissingExtraError
from ecgloss.data.wfdb.headers import InvalidRecordError

#: What errors of Python say, which helps nobody who reads files.
_INTERNAL = re.compile(r"object|0x[0-9a-f]{4}|unpack|literal|argument|buffer|dtype|codec|subscript|NoneType|shape|<")


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a library that reads a damaged file into one that names the file.

    Args:
        path: The file.

    Raises:
        InvalidRecordError: In place of any other error but a missing package.

    Example:
        >>> with read_errors(Path("a.h5")):
        ...     raise RuntimeError("wrong signature")
        Traceback (most recent call last):
        ...
        ecgloss.data.wfdb.headers.InvalidRecordError: a.h5 cannot be read: wrong signature
    """
    try:
        yield
    except (InvalidRecordError, MissingExtraError):
        raise
    except Exception as error:  # h5py, scipy, edfio and numpy raise whatever zlib, struct, tokenize and zipfile raise
        told = " ".join(str(error).split())[:200]
        speaks = isinstance(error, OSError | ValueError | RuntimeError) and not _INTERNAL.search(told)
        raise InvalidRecordError(
            f"{path.name} cannot be read: {told if told and speaks else 'it is damaged'}"
        ) from error
