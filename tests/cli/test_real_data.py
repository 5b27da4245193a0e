"""From a folder of real recordings to a table with intervals, through the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ecgloss._files import read_json
from ecgloss.cli import main
from ecgloss.data.dataset import EcgDataset

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

# One signal under two names in PTB-XL 1.0.1; the last pair also has two patient numbers.
DUPLICATES = [("00137", "00138"), ("00143", "00144"), ("00456", "00457"), ("00145", "00463")]


@pytest.fixture(scope="module")
def run(real_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder after one epoch of PTB-XL."""
    folder = tmp_path_factory.mktemp("real")
    words = ["--data", str(real_data("ptbxl")), "--sampling-rate", "100", "--epochs", "1", "--accelerator", "cpu"]
    assert main(["pretrain", *words, "--cache", str(folder / "cache"), "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.mark.parametrize(
    ("name", "task", "split"),
    [
        ("ptbxl", "superdiagnostic", "that of pretraining"),
        pytest.param("ludb", "rhythm", "new, by patient", marks=pytest.mark.exhaustive),
        pytest.param("challenge2021/georgia", "diagnosis", "new, by patient", marks=pytest.mark.exhaustive),
    ],
)
def test_a_database_is_evaluated_with_intervals(name, task, split, run, real_data, capsys, tmp_path):
    words = ["--checkpoint", str(run), "--data", str(real_data(name)), "--task", task]
    files = ["--cache", str(run.parent / "cache"), "--out", str(tmp_path)]
    assert main(["evaluate", *words, *files]) == 0
    text = capsys.readouterr().out
    number = r"-?\d\.\d+"
    for method in ("random encoder", "checkpoint"):
        assert re.search(rf"^{method} +{number} \[{number}, {number}\]", text, flags=re.MULTILINE)
    assert re.search(rf"checkpoint minus random encoder, AUROC: {number} \[{number}, {number}\]", text)
    results = read_json(tmp_path / "results.json")
    assert results["split"].startswith(split)
    assert results["skipped"] == []
    for result in results["results"].values():
        estimate = result["metrics"]["auroc"]
        assert 0 <= estimate["low"] <= estimate["value"] <= estimate["high"] <= 1
    assert task in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_one_signal_under_two_names_is_never_on_both_sides_of_the_split(run):
    part = {Path(name).name[:5]: side for name, side in read_json(run / "split.json")["recordings"].items()}
    assert len(part) == 358
    assert set(part.values()) == {"train", "validation", "test"}
    for one, other in DUPLICATES:
        assert part[one] == part[other], (one, other)


def test_no_patient_is_on_two_sides_of_the_split(run):
    part = read_json(run / "split.json")["recordings"]
    (cache,) = (path for path in (run.parent / "cache").glob("ptb*") if path.is_dir())
    index = EcgDataset(cache).index
    sides: dict[str, set[str]] = {}
    for name, patient in zip(index["name"], index["patient"], strict=True):
        sides.setdefault(patient, set()).add(part[name])
    assert len(sides) == 331
    assert all(len(found) == 1 for found in sides.values())
