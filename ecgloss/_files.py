"""Files that are either whole or not there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ecgloss._file_errors import naming


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name in the same folder; it takes its place when the block ends well.

    Args:
        path: The file to write or replace.

    Yields:
        The temporary path to write to.

    Raises:
        FileError: If it cannot be written, naming the file and the way out.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "a.txt") as temporary:
        ...         _ = temporary.write_text("whole")
        ...     (Path(folder) / "a.txt").read_text()
        'whole'
    """
    target = Path(path)
    with naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:80]}-", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            os.chmod(temporary, 0o666 & ~umask())  # mkstemp makes private files; the result is an ordinary one
            os.replace(temporary, target)
        finally:
            with suppress(OSError):  # its folder is gone, or cannot be written to any more
                temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write text in one step, as UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON in one step.

    Raises:
        ValueError: for NaN and infinities, which JSON does not know.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON, or raise a ``ValueError`` that names the file.

    Example:
        >>> read_json("/does/not/exist.json")
        Traceback (most recent call last):
            ...
        ValueError: cannot read /does/not/exist.json: No such file or directory
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is not valid JSON: it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: it is no text in UTF-8") from error
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    r"""Objects of a file with one JSON object per line; a last line cut short by a killed process is left out.

    Raises:
        ValueError: If the file cannot be read, or another line is no JSON object, naming both.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "metrics.jsonl"
        ...     _ = path.write_text('{"step": 1}\n{"st')
        ...     read_json_lines(path)
        [{'step': 1}]
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    return [_object(line, number, path) for number, line in enumerate(lines[:-1], start=1) if line]


def _object(line: bytes, number: int, path: str | Path) -> dict[str, Any]:
    """The JSON object of a line."""
    try:
        content = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"line {number} of {path} is damaged; delete the line to go on without it")
    return content


def umask() -> int:
    """The process's file mode mask (it can only be read by setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
