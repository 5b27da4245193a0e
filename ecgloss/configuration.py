"""Configuration files: read safely, checked against the options of a command, before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecgloss._extras import require
from ecgloss._file_errors import sentence
from ecgloss.usage import UsageError, check_value, commands, nearest

_LARGEST, _DEEPEST = 1_000_000, 20


def check_configuration(path: str | Path, command: str) -> None:
    """Check a YAML file of options.

    Args:
        path: The file.
        command: Whose options it may set.

    Raises:
        UsageError: If it cannot be read, refers to itself, is nested deeply, names a type, or sets what is no option
            or what an option does not accept.
    """
    try:
        if Path(path).stat().st_size > _LARGEST:
            raise UsageError(f"{path} has more than {_LARGEST:,} bytes: it is no configuration")
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(sentence(path, error.errno, error, doing="read")) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8") from error
    options = commands()[command]["options"]
    for name, value in _leaves(_loaded(path, text), options):
        if name not in options or name == "config":
            raise UsageError(f"{path}: there is no option {name}; {nearest(name, options)}")
        check_value(f"{path}: {name}", options[name], value)


def _loaded(path: str | Path, text: str) -> dict[str, Any]:
    """The content of a file, if it is plain."""
    yaml = require("yaml", "train")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise UsageError(f"{path} uses an alias, *{event.anchor}; write its values out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise UsageError(f"{path} is nested more than {_DEEPEST} deep")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is no valid YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise UsageError(f"{path} must hold options, one a line, as epochs: 10")
    return content


def _leaves(content: Mapping[str, Any], options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values; those of a group, such as clef, with its name in front."""
    for name, value in content.items():
        full = f"{prefix}{name}"
        if isinstance(value, dict) and any(known.startswith(f"{full}.") for known in options):
            yield from _leaves(value, options, f"{full}.")
        else:
            yield full, value
