"""Kill runs with SIGKILL at random moments: what they leave goes on to the same weights, and nothing is half written.

``python tests/kills.py FOLDER [KILLS]`` kills pretraining with every method, and evaluation, KILLS times in all.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from ecgloss.cli import main
from ecgloss.models.pretrained import checkpoints, load_encoder
from ecgloss.train.methods import METHODS

SAID = Path(tempfile.gettempdir()) / f"ecgloss-kills-{os.getpid()}.txt"  # by the last command
SMALL = ["--sampling_rate", "100", "--seconds", "3", "--batch_size", "8", "--accelerator", "cpu", "--epochs", "2"]
SMALL += ["--checkpoint_steps", "1", "--queue", "32", "--validate", "false"]


def options(method: str, cache: Path) -> list[str]:
    """Options of a short run of a method."""
    labels = ["--label_column", "ectopy"] if method == "supcon" else []
    return ["pretrain", "--data", "synthetic:40", "--loss", method, "--cache", str(cache), *SMALL, *labels]


def start(words: list[str]) -> int:
    """Run a command in a forked process, which has everything imported; returns its number."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            said = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            torch.set_num_threads(1)
            code = main(words)
        finally:
            os._exit(code)
    return child


def run(words: list[str], kill_after_s: float | None = None) -> tuple[int, float]:
    """Run a command, or kill it; returns its exit code, negative for a signal, and its seconds."""
    begin = time.monotonic()
    child = start(words)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        seconds = time.monotonic() - begin
        if done:
            return os.waitstatus_to_exitcode(status), seconds
        if kill_after_s is not None and seconds > kill_after_s:
            os.kill(child, signal.SIGKILL)
            kill_after_s = None
        time.sleep(0.001)


def pretraining(method: str, kills: int, folder: Path, draw: random.Random) -> int:
    """Kill a run again and again, and let it end; returns how often it was killed in the middle."""
    words = options(method, folder / "cache")
    code, seconds = run([*words, "--out", str(folder / method / "whole")])
    assert code == 0, f"{method} fails"
    out, killed = folder / method / "killed", 0
    for k in range(kills + 1):
        goes_on = (out / "config.json").is_file()
        command = ["pretrain", "--resume", str(out)] if goes_on else [*words, "--out", str(out)]
        code, _ = run(command, None if k == kills else draw.uniform(0.2, 1.0) * seconds)
        assert code in (0, -signal.SIGKILL), f"{method} ends with {code}: {SAID.read_text()}"
        killed += code != 0
        check_whole(out)
    ours, theirs = (weights(folder / method / name) for name in ("killed", "whole"))
    assert ours == theirs, f"{method}: other weights after {killed} kills"
    return killed


def evaluating(kills: int, folder: Path, draw: random.Random) -> int:
    """Kill an evaluation; returns how often it was killed in the middle."""
    words = ["evaluate", "--checkpoint", str(folder / "simclr" / "whole"), "--data", "synthetic:40", "--task", "age"]
    words += ["--cache", str(folder / "cache"), "--out", str(folder / "report")]
    code, seconds = run(words)
    assert code == 0, "evaluation fails"
    expected, killed = (folder / "report" / "results.json").read_bytes(), 0
    for _ in range(kills):
        shutil.rmtree(folder / "report")
        killed += run(words, draw.uniform(0.2, 1.1) * seconds)[0] != 0
        for path in (folder / "report").glob("[!.]*"):
            assert path.suffix == ".html" or path.read_bytes() == expected, f"{path} is half written"
            assert path.suffix != ".html" or path.read_text(encoding="utf-8").rstrip().endswith("</html>")
        assert run(words)[0] == 0
        assert (folder / "report" / "results.json").read_bytes() == expected
    return killed


def check_whole(run_folder: Path) -> None:
    """Every file that has its final name is whole."""
    for path in run_folder.rglob("[!.]*.json"):
        if not any(part.startswith(".") for part in path.relative_to(run_folder).parts):
            json.loads(path.read_text(encoding="utf-8"))
    for checkpoint in checkpoints(run_folder):
        load_encoder(checkpoint)


def weights(run_folder: Path) -> bytes:
    """Weights of the newest checkpoint."""
    return (checkpoints(run_folder)[-1] / "encoder.safetensors").read_bytes()


def kill_all(folder: Path, kills: int, methods: list[str], seed: int = 0) -> dict[str, int]:
    """Kill runs of methods and evaluations, ``kills`` times in all; returns how many were in the middle of one."""
    draw = random.Random(seed)
    shares = [kills // (len(methods) + 1) + (i < kills % (len(methods) + 1)) for i in range(len(methods) + 1)]
    found = {method: pretraining(method, n, folder, draw) for method, n in zip(methods, shares[1:])}
    return found | {"evaluation": evaluating(shares[0], folder, draw)}


if __name__ == "__main__":
    began = time.monotonic()
    methods = ["simclr", *(method for method in METHODS if method != "simclr")]
    result = kill_all(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 25, methods)
    print(result, f"{sum(result.values())} kills, {time.monotonic() - began:.0f} s")
