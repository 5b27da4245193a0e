"""Damaged checkpoints and runs: used if they still make sense, else refused in one plain sentence; no pickle loads."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import copy_with_damage

from ecgloss.cli import main
from ecgloss.commands import COMMANDS
from ecgloss.models.pretrained import checkpoints, trained_on

SMALL = ["--sampling-rate", "100", "--seconds", "3", "--batch-size", "8", "--accelerator", "cpu", "--loss", "moco"]
SMALL += ["--validate", "false"]
INTERNALS = re.compile(
    r"Traceback|typing\.|<class|object at 0x|Parser key|unexpected |\w+Error\b|NoneType|__\w+__|unhashable|"
    r"subscriptable|has no attribute|positional argument|keyword argument|indices must|not supported between|"
    r"\bdict\b|\btuple\b|'int'|codec"
)
NOT_LINES = re.compile(r"\d+%\||^moco: |^left out|^skipped|^\s")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run of MoCo, which has all kinds of files, in the middle of its second epoch; and its cache."""
    folder = tmp_path_factory.mktemp("damaged")
    options = ["--data", "synthetic:24", "--epochs", "2", "--cache", str(folder / "cache"), *SMALL, "--queue", "16"]
    assert main(["pretrain", *options, "--checkpoint-steps", "1", "--out", str(folder / "run")]) == 0
    shutil.rmtree(checkpoints(folder / "run")[-1])
    return folder / "run", ["--cache", str(folder / "cache")]


@pytest.fixture(autouse=True)
def made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsers take longer to make than most of these commands to run."""
    for name, (make, run_command) in COMMANDS.items():
        monkeypatch.setitem(COMMANDS, name, (functools.cache(make), run_command))


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
    folder, cache = run
    monkeypatch.chdir(tmp_path)
    out = str(tmp_path / "e.parquet")
    embed = ["embed", "--data", "synthetic:2", *cache, "--out", out, "--checkpoint"]
    files = ["card.json", "card.json", "encoder.safetensors"]
    refused = try_all(checkpoints(folder)[-1], files, range(450), lambda copy: [*embed, str(copy)], tmp_path, capsys)
    assert refused > 150  # the rest says something else than it did, but nothing that cannot be


@pytest.mark.exhaustive
def test_damaged_signatures_are_read_or_named(run, tmp_path):
    bomb = tmp_path / "owned"
    for seed in range(450, 500):
        copy = tmp_path / str(seed)
        copy_with_damage(checkpoints(run[0])[-1], copy, ["trained_on.safetensors"], seed, bomb)
        said = str(copy)
        try:
            trained_on(copy)
        except ValueError as error:
            said = str(error)
        assert str(copy) in said
        assert not INTERNALS.search(said)
    assert not bomb.exists()


@pytest.mark.exhaustive
def test_damaged_runs_go_on_or_are_refused_in_one_sentence(run, tmp_path, capsys, monkeypatch):
    folder, _ = run
    monkeypatch.chdir(tmp_path)
    newest = f"checkpoints/{checkpoints(folder)[-1].name}"
    files = ["config.json", "split.json", "metrics.jsonl"]
    files += [f"{newest}/{name}" for name in ("state.json", "optimizer.safetensors", "method.safetensors", "card.json")]
    refused = try_all(folder, files, range(60), lambda copy: ["pretrain", "--resume", str(copy)], tmp_path, capsys)
    assert refused > 20
