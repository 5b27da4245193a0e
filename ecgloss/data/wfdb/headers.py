"""WFDB headers as text, and the search for them.

A WFDB record is a text file (``.hea``) that names its signal files. Recordings come from other people: a header could
name any file of the machine. File names, segments and units are therefore read here, and checked, before the ``wfdb``
library opens anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_PLAIN_NAME = re.compile(r"~?[-\w.]*", re.ASCII)
_SEGMENTS = re.compile(r"[-\w]+/\d+")
#: WFDB's name for "no signal here".
NO_SIGNAL = "~"


class InvalidRecordError(ValueError):
    """A record that cannot be used; the message is one line that says why."""


def find_headers(folder: Path) -> Iterator[Path]:
    """Yield the headers below a folder in a fixed order, each record once.

    Hidden files and folders are left out, links to folders are not followed, and the segments of a
    multi-segment record are not listed beside the record itself.

    Args:
        folder: Where to look.

    Example:
        >>> list(find_headers(Path("no such folder")))
        []
    """
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from headers_in(Path(root), files)


def headers_in(folder: Path, files: list[str] | None = None) -> list[Path]:
    """Return the headers of the records directly in a folder (see `find_headers`).

    Args:
        folder: The folder.
        files: Names of its files, where the caller knows them already.

    Example:
        >>> headers_in(Path("no such folder"))
        []
    """
    if files is None:
        files = os.listdir(folder) if folder.is_dir() else []
    headers = [folder / name for name in sorted(files) if name.endswith(".hea") and name[0] != "."]
    segments = {name for header in headers for name in _segments_or_none(header)}
    return [header for header in headers if header.stem not in segments]


def record_name(header: Path, folder: Path) -> str:
    """Return the name of a record: its path below ``folder`` without extension, with forward slashes.

    Example:
        >>> record_name(Path("db/00/7_lr.hea"), Path("db"))
        '00/7_lr'
    """
    return header.relative_to(folder).with_suffix("").as_posix()


def inside(folder: Path, relative: str) -> Path:
    """Return ``folder / relative``, refusing names that lead out of the folder.

    Args:
        folder: Folder of the dataset.
        relative: A path as written in a table.

    Raises:
        InvalidRecordError: If the path is empty, absolute or contains ``..``.

    Example:
        >>> inside(Path("db"), "records100/1_lr").as_posix()
        'db/records100/1_lr'
    """
    parts = relative.replace("\\", "/").split("/")
    absolute = parts[0] == "" or parts[0].startswith("~") or ":" in relative
    if absolute or ".." in parts or "\0" in relative:
        raise InvalidRecordError(f"file name {relative!r} leads outside the folder of the dataset")
    return folder / relative


def read_comments(header: Path) -> tuple[str, ...]:
    """Return the comment lines of a header without their ``#``; an unreadable header has none.

    Example:
        >>> read_comments(Path("missing.hea"))
        ()
    """
    try:
        text = header.read_bytes().decode("latin-1")
    except OSError:
        return ()
    return tuple(line.strip(" \t#") for line in text.splitlines() if line.lstrip().startswith("#"))


def specification_lines(header: Path) -> list[str]:
    """Return the lines of a header that are not comments, with every file name checked.

    Args:
        header: Path of the ``.hea`` file.

    Returns:
        The record line, and one line per signal (or per segment).

    Raises:
        InvalidRecordError: If the file is missing, unreadable or empty, or names a file outside its folder.

    Example:
        >>> specification_lines(Path("missing.hea"))
        Traceback (most recent call last):
        ...
        ecgloss.data.wfdb.headers.InvalidRecordError: missing.hea is missing
    """
    lines = _plain_lines(header)
    for line in lines[1:]:
        name = line.split()[0]
        if not _PLAIN_NAME.fullmatch(name) or ".." in name:
            raise InvalidRecordError(f"{header.name} names {name!r}, which is not a file in its own folder")
    return lines


def segments(lines: list[str]) -> list[str] | None:
    """Return the segment names of a multi-segment header, None for an ordinary one.

    Args:
        lines: As returned by `specification_lines`.

    Example:
        >>> segments(["m/2 1 500 1000", "m_1 500", "~ 500"]), segments(["r 1 500 1000", "r.dat 16 1000/mV"])
        (['m_1'], None)
    """
    if not _SEGMENTS.fullmatch(lines[0].split()[0]):
        return None
    names = [line.split()[0] for line in lines[1:]]
    return [name for name in names if name != NO_SIGNAL]


def units(lines: list[str]) -> list[str]:
    """Return the unit of every signal in lower case; mV where none is written, as the format defines.

    The unit is taken from the text because ``wfdb`` drops characters outside ASCII: it reads µV as V.

    Args:
        lines: As returned by `specification_lines`.

    Example:
        >>> units(["r 2 500 10", "r.dat 16 1000.0(0)/mv 16 0", "r.dat 16 200"])
        ['mv', 'mv']
    """
    gains = [[*line.split(), "", ""][2] for line in lines[1:]]
    return [gain.partition("/")[2].lower().replace("μ", "µ") or "mv" for gain in gains]


def _plain_lines(header: Path) -> list[str]:
    """Read the lines that are not comments."""
    try:
        raw = header.read_bytes()
    except FileNotFoundError:
        raise InvalidRecordError(f"{header.name} is missing") from None
    except OSError as error:
        raise InvalidRecordError(f"{header.name} cannot be read: {error.strerror}") from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise InvalidRecordError(f"{header.name} is empty")
    return lines


def _segments_or_none(header: Path) -> list[str]:
    """Return the segments that a header lists; a broken header lists none, and is reported when it is read."""
    try:
        return segments(_plain_lines(header)) or []
    except InvalidRecordError:
        return []
