"""WFDB headers as text, and the search for them.

A WFDB record is a text file (``.hea``) that names its signal files. Recordings come from other people: a header could
name any file of the machine. File names, segments and units are therefore read here, and checked, before the ``wfdb``
library opens anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_SEGMENTS = re.compile(r"[-\w]+/\d+")
#: WFDB's name for "no signal here".
NO_SIGNAL = "~"
_LONGEST_NAME = 255  # of a file, in bytes: a longer one is an error of the system's


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
    found = [folder / name for name in sorted(files) if name.lower().endswith(".hea") and name[0] != "."]
    headers = [header for header in found if header.is_file()]  # no pipes and devices, which would never end
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
        InvalidRecordError: If the path is empty, absolute, contains ``..``, or a name is too long for a file.

    Example:
        >>> inside(Path("db"), "records100/1_lr").as_posix()
        'db/records100/1_lr'
    """
    parts = relative.replace("\\", "/").split("/")
    absolute = parts[0] == "" or parts[0].startswith("~") or ":" in relative
    if absolute or ".." in parts or "\0" in relative:
        raise InvalidRecordError(f"file name {relative!r} leads outside the folder of the dataset")
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise InvalidRecordError(f"file name {relative[:40]!r}... is longer than {_LONGEST_NAME} bytes")
    return folder / relative


def check_link(path: Path, *near: Path) -> None:
    """Refuse a file that is a link to somewhere else: it must be beside the link, or in the same repository.

    A downloaded folder could otherwise link to any file of the machine. Datasets kept by git-annex are read.

    Args:
        path: The file, whether it exists or not.
        near: Other folders in which it may be.

    Raises:
        InvalidRecordError: If it leads outside.

    Example:
        >>> check_link(Path(__file__))
    """
    folder, target = path.parent.resolve(), path.resolve()
    repository = next((p for p in (folder, *folder.parents) if (p / ".git").exists()), folder)
    if not any(target.is_relative_to(place) for place in (folder, *near, repository)):
        raise InvalidRecordError(f"{path.name} is a link that leads outside the folder of the record")


def read_comments(header: Path) -> tuple[str, ...]:
    """Return the comment lines of a header without their ``#``; an unreadable header has none.

    Example:
        >>> read_comments(Path("missing.hea"))
        ()
    """
    try:
        lines = decoded_lines(header)
    except InvalidRecordError:
        return ()
    return comments_of(lines)


def comments_of(lines: Iterable[str]) -> tuple[str, ...]:
    """The comments among the lines of a header, without their ``#``.

    Example:
        >>> comments_of(["a 1 500", "a.dat 16", "# Age: 61", "#Dx: 1"])
        ('Age: 61', 'Dx: 1')
    """
    return tuple(line.strip(" \t#") for line in lines if line.lstrip().startswith("#"))


def decoded_lines(header: Path) -> list[str]:
    """The lines of a header, whatever its encoding and line ends; a byte order mark is left out.

    Raises:
        InvalidRecordError: If the file is missing or unreadable.
    """
    try:
        raw = header.read_bytes()
    except FileNotFoundError:
        raise InvalidRecordError(f"{header.name} is missing") from None
    except OSError as error:
        raise InvalidRecordError(f"{header.name} cannot be read: {error.strerror}") from None
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = raw.decode("latin-1")
    return re.split(r"\r\n|\n|\r", text)  # splitlines would also break at other characters of old encodings


def _segments_or_none(header: Path) -> list[str]:
    """Return the segments that a header lists; a broken header lists none, and is reported when it is read."""
    try:
        lines = [line.partition("#")[0].split() for line in decoded_lines(header)]
    except InvalidRecordError:
        return []
    lines = [words for words in lines if words]
    if not lines or not _SEGMENTS.fullmatch(lines[0][0]):
        return []
    return [words[0] for words in lines[1:] if words[0] != NO_SIGNAL]
