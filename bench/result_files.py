"""What a benchmark leaves behind: its figures as JSON, and the same to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ecgloss._files import replacing, write_json


def write_results(stem: Path, content: Any, text: str) -> None:
    """The files stem.json and stem.md, each whole or not at all."""
    write_json(stem.with_suffix(".json"), content)
    with replacing(stem.with_suffix(".md")) as path:
        path.write_text(text, encoding="utf-8")
