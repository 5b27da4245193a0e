"""Damaged checkpoints and runs: used if they still make sense, else refused in one plain sentence; no pickle loads."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import copy_with_damage

from ecgloss.cli import main
from ecgloss.models.pretrained import checkpoints

SMALL = ["--sampling-rate", "100", "--seconds", "1", "--batch-size", "8", "--accelerator", "cpu", "--loss", "moco"]
INTERNALS = re.compile(
    r"Traceback|typing\.|<class|object at 0x|Parser key|unexpected |\w+Error\b|NoneType|__\w+__|unhashable|subscriptable"
    r"|has no attribute|positional argument|keyword argument|indices must|not supported between|\bdict\b|\btuple\b|'int'"
)
NOT_LINES = re.compile(r"\d+%\||^moco: |^left out|^skipped|^\s")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run of MoCo, which has all kinds of files, with a checkpoint in the middle of its second epoch."""
    folder = tmp_path_factory.mktemp("damaged")
    options = ["--data", "synthetic:24", "--epochs", "2", "--cache", str(folder / "cache"), *SMALL, "--queue", "16"]
    assert main(["pretrain", *options, "--checkpoint-steps", "1", "--out", str(folder / "run")]) == 0
    shutil.rmtree(checkpoints(folder / "run")[-1])
    return folder / "run", ["--data", "synthetic:24", "--cache", str(folder / "cache")]


def check(words: list[str], how: str, capsys: pytest.CaptureFixture[str]) -> int:
    """Run a command; what it says must be fit for users."""
    capsys.readouterr()
    code = main(words)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip() and not NOT_LINES.search(line)]
    assert code in (0, 1, 2), how
    assert len(lines) == (code != 0), (how, lines)
    for line in lines:
        assert line.startswith("ecgloss: error: "), (how, line)
        assert not INTERNALS.search(line), (how, line)
        assert len(line) < 700, (how, line)
    return code


def try_all(
    original: Path, files: list[str], seeds: range, command: Callable[[Path], list[str]], tmp_path: Path, capsys
) -> int:
    """Run a command on damaged copies; returns how many it refused."""
    bomb, refused = tmp_path / "owned", 0
    for seed in seeds:
        copy = tmp_path / str(seed)
        how = copy_with_damage(original, copy, files, seed, bomb)
        refused += check(command(copy), f"seed {seed}, {how}", capsys) != 0
        assert not bomb.exists(), how
        shutil.rmtree(copy)
    return refused


@pytest.mark.exhaustive
def test_damaged_checkpoints_are_used_or_refused_in_one_sentence(run, tmp_path, capsys, monkeypatch):
    folder, data = run
    monkeypatch.chdir(tmp_path)
    files = ["card.json", "card.json", "card.json", "encoder.safetensors", "trained_on.safetensors"]
    embed = ["embed", *data, "--out", str(tmp_path / "e.parquet"), "--checkpoint"]
    refused = try_all(checkpoints(folder)[-1], files, range(500), lambda copy: [*embed, str(copy)], tmp_path, capsys)
    assert refused > 150  # the rest says something else than it did, but nothing that cannot be


@pytest.mark.exhaustive
def test_damaged_runs_go_on_or_are_refused_in_one_sentence(run, tmp_path, capsys, monkeypatch):
    folder, _ = run
    monkeypatch.chdir(tmp_path)
    newest = f"checkpoints/{checkpoints(folder)[-1].name}"
    files = ["config.json", "split.json", "metrics.jsonl"]
    files += [f"{newest}/{name}" for name in ("state.json", "optimizer.safetensors", "method.safetensors", "card.json")]
    refused = try_all(folder, files, range(60), lambda copy: ["pretrain", "--resume", str(copy)], tmp_path, capsys)
    assert refused > 20
