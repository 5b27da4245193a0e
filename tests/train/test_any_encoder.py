"""A user's own encoder, of several leads: pretrained, resumed, embedded, evaluated; wrong ones are refused at once."""

from __future__ import annotations

import re
import sys

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from torch import nn

from ecgloss.cli import main
from ecgloss.data import open_dataset
from ecgloss.models import load_encoder
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import METHODS
from ecgloss.train.methods.physioclr import PhysioClrConfig
from ecgloss.train.pretrain import pretrain
from ecgloss.train.views import ViewBatches

SOURCE = """
from torch import nn

def build(in_channels):
    return nn.Sequential(nn.Conv1d(in_channels, 8, 9, 4), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())

def single(in_channels):
    return build(1)

def images(in_channels):
    return nn.Conv1d(in_channels, 8, 9)

def pair(in_channels):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build(in_channels)
        def forward(self, x):
            return self.inner(x), x
    return Pair()

def nothing(in_channels):
    return nn.Flatten()

def text(in_channels):
    return "no module"

def no_argument():
    return build(1)

number = 3
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of encoders in the current folder, which is not on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [p for p in sys.path if p])
    name = f"encoders_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    return name


COMMON = ["--data", "synthetic:30", "--sampling_rate", "100", "--seconds", "3", "--batch_size", "8", "--epochs", "2"]


def test_twelve_leads_from_the_command_line(module, tmp_path, cache, capsys):
    model, where = ["--model", f"{module}:build"], ["--cache", str(cache)]
    start = ["pretrain", *COMMON, *where, *model, "--in_channels", "12", "--loss", "moco", "--queue", "16"]
    assert main([*start, "--out", "whole"]) == 0
    assert main([*start, "--out", "parts", "--checkpoint_steps", "1"]) == 0
    for newest in sorted((tmp_path / "parts" / "checkpoints").iterdir())[1:]:
        for file in newest.iterdir():
            file.unlink()
        newest.rmdir()
    assert main(["pretrain", "--resume", "parts"]) == 2
    assert f"--resume parts --model {module}:build" in capsys.readouterr().err
    assert main(["pretrain", "--resume", "parts", *model]) == 0
    (whole, card), (parts, _) = (load_encoder(run, f"{module}:build") for run in ("whole", "parts"))
    assert (card.model, card.in_channels, card.leads[:3]) == (f"{module}:build", 12, ["I", "II", "III"])
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters()))

    data = ["--checkpoint", "whole", "--data", "synthetic:30", *where]
    assert main(["embed", *data, "--out", "z.parquet"]) == 1
    assert "name it as well" in capsys.readouterr().err
    assert main(["embed", *data, *model, "--out", "z.parquet"]) == 0
    z = np.stack(parquet.read_table("z.parquet")["embedding"].to_pylist())
    assert z.shape == (30, 8)
    assert np.isfinite(z).all()
    assert main(["evaluate", *data, *model, "--task", "sex"]) == 0
    assert main(["evaluate", *data, *model, "--task", "sex", "--lead", "II"]) == 1
    assert "sees 12 leads at once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("single", r"does not take \(2, 12, 300\)"),
        ("images", r"must return \(B, D\) .* got a tensor of shape \(2, 8, 292\)"),
        ("pair", "got a tuple"),
        ("nothing", "no parameters to train"),
        ("text", "must give a torch.nn.Module; got str"),
        ("no_argument", "calling it with in_channels=12 fails"),
        ("number", "number is a int, not something to call"),
        ("absent", "has no absent"),
        ("a:b", "package.module:factory; got"),
    ],
)
def test_a_wrong_factory_gets_one_line_and_writes_nothing(module, tmp_path, capsys, factory, message):
    arguments = [*COMMON, "--model", f"{module}:{factory}", "--in_channels", "12", "--out", "run"]
    assert main(["pretrain", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert not (tmp_path / "run").exists()


def test_several_leads_must_be_named(capsys):
    assert main(["pretrain", *COMMON, "--in_channels", "3"]) == 2
    assert "in_channels 3 needs as many leads" in capsys.readouterr().err


def config(cache, tmp_path, **options):
    shared = {"data": "synthetic:24", "sampling_rate": 100.0, "seconds": 3.0, "batch_size": 8, "epochs": 1}
    return PretrainConfig(out=str(tmp_path / "run"), cache=str(cache), **shared | options)


@pytest.mark.parametrize("loss", METHODS)
def test_every_method_trains_a_module_of_two_leads(loss, cache, tmp_path):
    without_tokens = PhysioClrConfig(reconstruction=False)
    options = {"supcon": {"label_column": "sex"}, "moco": {"queue": 16}, "physioclr": {"physioclr": without_tokens}}
    encoder = nn.Sequential(nn.Conv1d(2, 8, 9, 4), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    before = [p.clone() for p in encoder.parameters()]
    run = config(cache, tmp_path, loss=loss, leads=("V2", "II"), in_channels=2, **options.get(loss, {}))
    result = pretrain(run, encoder=encoder, progress=False)
    assert np.isfinite(result.loss)
    assert not all(torch.equal(a, b) for a, b in zip(before, encoder.parameters()))
    loaded, card = load_encoder(result.run, lambda in_channels: encoder)
    assert card.leads == ["V2", "II"]
    assert loaded.out_features == 8


def test_views_show_all_leads_in_their_order(cache, tmp_path):
    run = config(cache, tmp_path, in_channels=2, leads=("V2", "II"))
    run = PretrainConfig.from_json(
        run.to_json()
        | {
            "augmentation": {
                "noises": ["mixture"],
                "noise_rms": 0.0,
                "mask_probability": 0.0,
                "mask_fraction": [0.1, 0.3],
            }
        }
    )
    dataset = open_dataset("synthetic:24", preprocessing=run.preprocessing, cache_dir=cache, progress=False)
    batch = ViewBatches(dataset, np.arange(24), run, 0)[0]
    assert batch.view1.shape == (8, 2, 300)
    assert torch.equal(batch.view1, batch.view2)  # the same window, and no noise
    for b, row in enumerate(batch.rows.tolist()):
        for c, lead in enumerate(("V2", "II")):
            x = torch.from_numpy(dataset.signal(row, lead))
            windows = x.unfold(0, 300, 1)
            z = (windows - windows.mean(1, keepdim=True)) / windows.std(1, keepdim=True, correction=0)
            assert (z - batch.view1[b, c]).abs().amax(1).min() < 1e-3
