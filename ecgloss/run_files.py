"""The files that a run keeps for itself; no command writes anything else over them."""

from __future__ import annotations

from pathlib import Path

_OWN = ("config.json", "split.json", "metrics.jsonl", "card.json", ".lock")
_SUFFIXES = (".safetensors",)


def belongs_to_a_run(path: str | Path) -> bool:
    """Whether a path names a file of a run or of a checkpoint, such as its configuration or its weights.

    Args:
        path: The file; it need not exist.

    Example:
        >>> belongs_to_a_run("embeddings.parquet")
        False
    """
    file = Path(path).expanduser().resolve()
    if (file.parent / "card.json").is_file():  # a checkpoint
        return True
    run = any((folder / "config.json").is_file() for folder in (file.parent, file.parent.parent))
    in_checkpoints = "checkpoints" in (file.name, file.parent.name)
    return run and (file.name in _OWN or file.suffix in _SUFFIXES or in_checkpoints)
