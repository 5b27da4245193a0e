"""A recipe sets what is not given, and says what it leaves open; databases without lead I get a lead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgloss._words import counted
from ecgloss.cli import main
from ecgloss.data import Preprocessing, open_dataset
from ecgloss.evaluate.embed import lead_to_embed
from ecgloss.train.pretrain import Result


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list:
    """The configurations with which runs would begin."""
    found: list = []

    def noted(config, **_):
        found.append(config)
        dataset = type("Dataset", (), {"left_out": {}, "skipped": []})
        return Result(tmp_path, tmp_path, 1, 0.0, dataset)

    monkeypatch.setattr("ecgloss.train.pretrain.pretrain", noted)
    return found


def test_options_that_are_given_replace_those_of_the_recipe(begun, tmp_path, capsys):
    file = tmp_path / "options.yaml"
    file.write_text("epochs: 3\naugmentation:\n  noise_rms: 0.02\n")
    words = ["--data", "synthetic", "--out", str(tmp_path / "run"), "--recipe", "small-data", "--lr", "1e-4"]
    assert main(["pretrain", "--config", str(file), *words]) == 0
    (config,) = begun
    assert (config.lr, config.epochs, config.augmentation.noise_rms) == (1e-4, 3, 0.02)  # 1e-4 is the default as well
    assert (config.schedule, config.windows, config.seconds) == ("cosine", "independent", 5.0)
    assert capsys.readouterr().out.startswith("1 step; checkpoint ")


def test_the_recipe_of_the_authors_says_what_differs(begun, tmp_path, capsys):
    assert main(["pretrain", "--data", "synthetic", "--out", str(tmp_path / "run"), "--recipe", "clef-paper"]) == 0
    assert (begun[0].clef.preset, begun[0].patience) == ("official", 20)
    said = capsys.readouterr().err
    assert "clef-paper: noise is simulated, theirs is recorded" in said


def test_an_unknown_recipe_is_refused_with_those_there_are(capsys):
    assert main(["pretrain", "--data", "synthetic", "--recipe", "demo"]) == 2
    assert "--recipe must be one of clef-paper, small-data; got demo" in capsys.readouterr().err


def test_a_resumed_run_takes_no_recipe(capsys):
    assert main(["pretrain", "--resume", "runs/first", "--recipe", "small-data"]) == 2
    assert "--resume RUN takes no other options" in capsys.readouterr().err


def test_one_is_singular():
    assert [counted(n, "step") for n in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]


def test_a_database_without_lead_i_gets_the_lead_that_most_recordings_have(tmp_path):
    rng = np.random.default_rng(3)
    for name, leads in (("two", ["MLII", "V1"]), ("standard", ["II", "I"])):
        path = tmp_path / f"{name}.npy"
        np.save(path, rng.standard_normal((3, 2, 1000)).astype(np.float32))
        dataset = open_dataset(
            str(path),
            preprocessing=Preprocessing(100.0, leads=tuple(leads)),
            leads=leads,
            units="mV",
            source_rate=100.0,
            cache_dir=tmp_path / "cache",
            progress=False,
        )
        lead, said = lead_to_embed(dataset, None)
        assert lead == ("MLII" if name == "two" else "I")
        assert ("MLII is embedded, which 3 of 3 have (--lead takes another)" in said) == (name == "two")
        assert lead_to_embed(dataset, "all") == ("all", "")
