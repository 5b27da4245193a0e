"""Damage of one file of a run, drawn from a seed: as a disk, a careless editor or somebody malicious might do it."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

VALUES: list[Any] = [None, True, -1, 0, 7, 10**30, 1e308, -0.5, float("nan"), float("inf"), "", "x", "a.b:c", [], {}]
VALUES += [[[]], {"x": 1}, "\ud800", "ü" * 300, [1, "x"], "../../x", "nan", "synthetic:lots"]


class Bomb:
    """Makes a file if anybody unpickles it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def damage(path: Path, seed: int, bomb: Path) -> str:
    """Damage one file; returns in words how.

    Args:
        path: The file, of JSON, lines of JSON or safetensors.
        seed: Decides how.
        bomb: A file that exists afterwards if a pickle was loaded.
    """
    draw = random.Random(seed)
    kinds = [_bytes, _bytes, _structure] if path.suffix == ".jsonl" else [_bytes, _structure, _structure, _structure]
    return f"{path.name}: {draw.choice(kinds)(path, draw, bomb)}"


def _bytes(path: Path, draw: random.Random, bomb: Path) -> str:
    """Damage of the bytes of any file."""
    content = path.read_bytes()
    kind = draw.choice(
        ["gone", "folder", "loop", "empty", "cut", "bits", "noise", "pickle", "torch", "deep", "huge size"]
    )
    place = draw.randrange(max(len(content), 1))
    if kind in ("gone", "folder", "loop"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(path.name)
        return kind
    if kind == "torch":
        torch.save({"x": Bomb(bomb)}, path)
        return kind
    changed = bytearray(content)
    if kind == "bits":
        for _ in range(draw.choice([1, 1, 20])):
            changed[draw.randrange(min(len(content), draw.choice([20, 2000, len(content)])))] ^= 1 << draw.randrange(8)
    result = {
        "empty": b"",
        "cut": content[:place],
        "bits": bytes(changed),
        "noise": draw.randbytes(200),
        "pickle": pickle.dumps(Bomb(bomb)),
        "deep": b"[" * 100_000 + b"]" * 100_000,
        "huge size": b"\xff" * 6 + b"\x00\x7f" + content[8:],
    }[kind]
    path.write_bytes(result)
    return f"{kind} at {place}" if kind == "cut" else kind


def _structure(path: Path, draw: random.Random, bomb: Path) -> str:
    """Damage that leaves a valid file."""
    if path.suffix == ".safetensors":
        return _tensors(path, draw)
    if path.suffix == ".jsonl":
        lines = path.read_text().splitlines()
        place = draw.randrange(len(lines))
        lines[place], said = _changed_json(lines[place], draw)
        path.write_text("\n".join(lines) + "\n")
        return f"line {place}: {said}"
    text, said = _changed_json(path.read_text(), draw)
    path.write_text(text)
    return said


def _changed_json(text: str, draw: random.Random) -> tuple[str, str]:
    """JSON with one entry changed, removed or added."""
    content = json.loads(text)
    place = content
    way: list[Any] = []
    while isinstance(place, dict | list) and len(place):
        parent = place
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        way.append(key)
        place = parent[key]
        if draw.random() < 0.25:
            break
    kind = draw.choice(["changed", "changed", "changed", "removed", "added", "all"])
    value = draw.choice(VALUES)
    if kind == "removed":
        del parent[key]
    elif kind == "added" and isinstance(parent, dict):
        parent["x"] = value
    elif kind == "all":
        content = value
    else:
        parent[key] = value
    return json.dumps(content), f"{kind} {way} {json.dumps(value)[:40]}"


def _tensors(path: Path, draw: random.Random) -> str:
    """Tensors of another kind, shape, name or value."""
    tensors = load_file(path)
    name = draw.choice(sorted(tensors))
    kind = draw.choice(["removed", "added", "renamed", "shape", "nan", "integer", "empty", "none"])
    x = tensors[name]
    if kind in ("removed", "renamed"):
        tensors.pop(name)
    if kind in ("added", "renamed"):
        tensors[draw.choice(["x", "999999.exp_avg", "-1.step", "²", "0.x"])] = x.clone()
    if kind in ("shape", "empty"):
        tensors[name] = torch.cat([x.reshape(-1), x.reshape(-1)]) if kind == "shape" else x.reshape(-1)[:0].clone()
    if kind == "nan":
        tensors[name] = torch.full_like(x.float(), draw.choice([float("nan"), float("inf")]))
    if kind == "integer":
        tensors[name] = x.to(draw.choice([torch.int64, torch.bool, torch.float16, torch.complex64]))
    save_file({} if kind == "none" else tensors, path)
    return f"{kind} {name}"


def copy_with_damage(original: Path, copy: Path, files: list[str], seed: int, bomb: Path) -> str:
    """Copy a folder and damage one of its files; returns how."""
    shutil.copytree(original, copy, copy_function=_copy_or_link)
    path = copy / random.Random(seed).choice(files)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    return damage(path, seed, bomb)


def _copy_or_link(source: str, target: str) -> None:
    """A hard link, which is faster than a copy; the file that is damaged becomes a copy first."""
    Path(target).hardlink_to(source)
