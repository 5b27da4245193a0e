"""Methods of pretraining: each trains, minimises what it says, and keeps its state in the checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import ecgloss.functional as F
from ecgloss._files import read_json_lines
from ecgloss.cli import main
from ecgloss.models import load_encoder, random_encoder
from ecgloss.models.pretrained import checkpoints
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import METHODS, Training, build_method
from ecgloss.train.pretrain import pretrain
from ecgloss.train.side_information import SideInformation, class_numbers, side_information
from ecgloss.train.views import ViewBatches


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def config(tmp_path: Path, cache: str) -> Callable[..., PretrainConfig]:
    """A run of one epoch of 3 steps."""

    def make(loss: str, **options) -> PretrainConfig:
        defaults = {
            "data": "synthetic:40",
            "out": str(tmp_path / "run"),
            "label_column": "ectopy" if loss == "supcon" else None,
            "epochs": 1,
            "batch_size": 8,
            "queue": 12,
            "sampling_rate": 100.0,
            "seconds": 3.0,
            "lr": 1e-3,
            "cache": cache,
            "accelerator": "cpu",
        }
        return PretrainConfig(loss=loss, **{**defaults, **options})

    return make


class Tiny(nn.Linear):
    """An encoder of short signals."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(2)
            super().__init__(6, 5, dtype=torch.float64)


def batch(n: int = 7) -> tuple[Tensor, Tensor, SideInformation]:
    """Two views in fp64 and what is known about the recordings."""
    g = torch.Generator().manual_seed(4)
    view1, view2 = torch.randn(2, n, 6, generator=g, dtype=torch.float64)
    integers = torch.randint(3, (2, n), generator=g)
    metadata = torch.randn(n, 2, generator=g)
    return view1, view2, SideInformation(torch.rand(n, generator=g), torch.zeros(n), *integers, metadata)


def tiny(config: PretrainConfig) -> Training:
    encoder = Tiny()
    return Training(encoder, build_method(config, encoder).double(), batch()[2])


def test_every_method_can_be_named_on_the_command_line_and_nothing_else(capsys, config):
    assert main(["pretrain", "--help"]) == 0
    assert f"--loss {{{','.join(METHODS)}}}" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"loss must be one of clef, physioclr, .*; got magic"):
        config("magic")


def test_every_option_of_a_run_is_read_with_its_type_from_the_command_line(capsys, config):
    assert main(["pretrain", "--help"]) == 0
    text = capsys.readouterr().out
    assert "Unvalidated" not in text  # what jsonargparse says of a type that it cannot find
    assert all(f"--{option.name} " in text for option in fields(PretrainConfig))


# Training


@pytest.mark.parametrize("loss", METHODS)
def test_every_method_trains_and_moves_all_it_should(config, loss):
    settings = config(loss, queue=20)
    result = pretrain(settings, progress=False)
    losses = [line["loss"] for line in read_json_lines(result.run / "metrics.jsonl")]
    assert len(losses) == result.steps == 3
    assert np.isfinite(losses).all()
    model, card = load_encoder(result.run)
    assert card.loss["name"] == loss
    fresh = random_encoder("small", 1, settings.seed)
    method = build_method(settings, fresh)
    before = {**fresh.state_dict(), **method.state_dict()}
    path = result.checkpoint / "method.safetensors"
    after = {**model.state_dict(), **(load_file(path) if path.exists() else {})}
    still = [name for name in before if torch.equal(before[name], after[name]) and not name.endswith("queue_risk")]
    assert still == []


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "where"), [("moco", "momentum_encoder.module."), ("byol", "target.module.0.")])
@pytest.mark.parametrize("momentum", ["preset", 0.5])
def test_the_momentum_encoder_is_the_average_of_the_encoders_so_far(config, loss, where, momentum):
    run = pretrain(config(loss, momentum=momentum, checkpoint_steps=1, keep_checkpoints=9), progress=False).run
    m = {"preset": {"moco": 0.999, "byol": 0.996}[loss]}.get(momentum, momentum)
    assert load_encoder(run)[1].loss["momentum"] == m
    average = {name: x.double() for name, x in random_encoder("small", 1, 42).state_dict().items()}
    for folder in checkpoints(run):
        encoder, state = load_file(folder / "encoder.safetensors"), load_file(folder / "method.safetensors")
        for name, x in encoder.items():
            average[name] = m * average[name] + (1 - m) * x.double()
            torch.testing.assert_close(state[where + name].double(), average[name], rtol=1e-5, atol=1e-7)  # fp32


def test_the_queue_holds_the_newest_keys_of_the_momentum_encoder(config):
    settings = config("moco", checkpoint_steps=1, keep_checkpoints=9)
    result = pretrain(settings, progress=False)
    first, second, third = (load_file(folder / "method.safetensors") for folder in checkpoints(result.run))
    assert [int(state["criterion.position"]) for state in (first, second, third)] == [8, 4, 0]  # 12 entries
    views = ViewBatches(result.dataset, _train_rows(result.run), settings, epoch=0)[0]
    with torch.no_grad():
        keys = nn.functional.normalize(random_encoder("small", 1, settings.seed)(views.view2))
    torch.testing.assert_close(first["criterion.queue"][:8], keys, rtol=1e-4, atol=1e-6)  # fp32
    assert torch.equal(first["criterion.queue"][4:8], second["criterion.queue"][4:8])  # not yet the oldest
    assert torch.equal(second["criterion.queue"][:4], third["criterion.queue"][:4])


@pytest.mark.parametrize("loss", ["moco", "byol"])
def test_no_gradient_reaches_the_momentum_encoder(config, loss):
    training = tiny(config(loss))
    view1, view2, _ = batch()
    training(view1, view2, torch.arange(7)).loss.backward()
    frozen = [name for name, p in training.method.named_parameters() if not p.requires_grad]
    assert frozen
    assert all(name.startswith(("momentum_encoder.", "target.")) for name in frozen)
    assert all(p.grad is not None for p in training.parameters() if p.requires_grad)


# What is minimised


def test_cmsc_and_supcon_attract_recordings_of_a_patient_and_of_a_class(config):
    view1, view2, side = batch()
    z = Tiny()(torch.cat([view1, view2]))
    for loss, classes in (("cmsc", side.patient), ("supcon", side.label)):
        terms = tiny(config(loss, temperature=0.3))(view1, view2, torch.arange(7))
        assert terms.loss == F.supcon(z, torch.cat([classes, classes]), temperature=0.3)


def test_a_batch_has_the_side_information_of_its_own_recordings(config):
    view1, view2, side = batch()
    rows = torch.tensor([5, 0, 3])
    encoder = Tiny()
    z1, z2 = encoder(view1[rows]), encoder(view2[rows])
    for loss, expected in (
        ("yaware", F.y_aware(z1, z2, side.metadata[rows], bandwidth=0.7)),
        ("clef", F.clef(z1, z2, side.risk[rows], side.missing[rows])),
        ("cmsc", F.supcon(torch.cat([z1, z2]), side.patient[rows].repeat(2))),
    ):
        terms = tiny(config(loss, bandwidth=0.7))(view1[rows], view2[rows], rows)
        torch.testing.assert_close(terms.loss, expected, rtol=1e-12, atol=0)  # fp64, one or two products


def test_moco_compares_first_views_with_keys_of_second_views_and_the_queue(config):
    training, (view1, view2, _) = tiny(config("moco", temperature=0.2)), batch()
    queue = training.method.criterion.queue.clone()
    terms = training(view1, view2, torch.arange(7))
    expected = F.moco(Tiny()(view1), Tiny()(view2), queue, temperature=0.2)
    torch.testing.assert_close(terms.loss, expected, rtol=1e-12, atol=0)


def test_byol_predicts_the_target_of_the_other_view(config):
    training, (view1, view2, _) = tiny(config("byol")), batch()
    method = training.method
    h = training.encoder(torch.cat([view1, view2]))
    z = method.projector(h)
    (z1, z2), (p1, p2) = z.chunk(2), method.predictor(z).chunk(2)
    expected = (F.byol(p1, z2) + F.byol(p2, z1)) / 2
    # fp64; the target begins as a copy, and batch statistics do not depend on running ones
    torch.testing.assert_close(training(view1, view2, torch.arange(7)).loss, expected, rtol=1e-9, atol=0)
    assert training(view1[:1], view2[:1], torch.arange(1)).loss.isfinite()  # one recording per device is enough


# Side information


def test_side_information_says_what_the_recordings_say(config):
    settings = config("supcon", data="synthetic:60", label_column="ectopy")
    dataset = _open(settings)
    train = np.arange(5, 55)
    side, gaps = side_information(settings, dataset, train)
    patients, labels = dataset.index["patient"].tolist(), dataset.labels("ectopy")
    for i in range(60):
        for j in range(60):
            assert (side.patient[i] == side.patient[j]) == (patients[i] == patients[j])
            assert (side.label[i] == side.label[j]) == (labels[i] == labels[j])
    assert len(set(side.label.tolist())) >= 2
    torch.testing.assert_close(side.metadata[train].mean(0), torch.zeros(2), atol=1e-6, rtol=0)  # fp32
    torch.testing.assert_close(side.metadata[train].std(0, correction=0), torch.ones(2))
    assert np.corrcoef(side.metadata[:, 0], dataset.index["age"])[0, 1] == pytest.approx(1)
    assert "age" not in gaps


def test_unknown_ages_sexes_and_labels_are_counted_and_count_as_the_mean(config):
    dataset = _open(config("yaware"))
    dataset.index.loc[[3, 4], "age"] = np.nan
    dataset.index.loc[[4, 5, 6], "sex"] = None
    train = np.arange(1, 31)
    side, gaps = side_information(config("supcon", label_column="sex"), dataset, train)
    assert side.metadata[[3, 4], 0].tolist() == [0, 0]
    assert side.metadata[[4, 5, 6], 1].tolist() == [0, 0, 0]
    assert side.metadata.isfinite().all()
    assert gaps["age"] == "2 of 30 training recordings have no known age"
    assert gaps["sex"] == "3 of 30 training recordings have no known sex"
    assert gaps["label"] == "3 of 30 training recordings have no known label"
    assert gaps["risk"] == "4 of 30 training recordings have no known risk"
    own = side.label[[4, 5, 6]].tolist()
    assert len(set(own)) == 3
    assert not set(own) & set(side.label[[0, 1, 2, 3]].tolist())


def test_gaps_are_said_before_training(config, capsys, tmp_path, cache):
    words = ["pretrain", "--data", "synthetic:40", "--loss", "cmsc", "--epochs", "1", "--sampling-rate", "100"]
    words += ["--seconds", "3", "--accelerator", "cpu", "--cache", cache, "--out", str(tmp_path / "run")]
    assert main(words) == 0
    assert re.search(r"cmsc: \d+ of \d+ training patients have more than one recording", capsys.readouterr().err)


def test_the_order_of_labels_does_not_make_a_class():
    assert class_numbers([("a", "b"), ("b", "a"), ("a",), None, ()]).tolist() == [2, 2, 1, 3, 0]


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "moco", "queue": 7}, "queue is 7, batch_size 8"),
        ({"loss": "moco", "precision": "bf16-true"}, "loss moco needs another precision.*got bf16-true"),
        ({"loss": "byol", "momentum": 1.0}, r"momentum must lie in \[0, 1\); got 1.0"),
        ({"loss": "byol", "momentum": float("nan")}, r"momentum must lie in \[0, 1\); got nan"),
        ({"loss": "yaware", "bandwidth": 0.0}, "bandwidth must be positive; got 0.0"),
        ({"loss": "supcon", "label_column": None}, "loss supcon needs label_column"),
        ({"loss": "simclr", "label_column": "sex"}, "label_column is for loss supcon; got sex with loss simclr"),
        ({"loss": "clef", "queue": 0}, "queue must be at least 1; got 0"),
    ],
)
def test_options_of_methods_are_checked(config, options, message):
    with pytest.raises(ValueError, match=message):
        config(**options)


def test_labels_that_cannot_be_classes_are_refused_before_anything_is_written(config, monkeypatch):
    for task in ("age", "nonsense"):
        with pytest.raises(ValueError, match=rf"label_column: .*'{task}'; its classification tasks are ectopy, .*sex"):
            pretrain(config("supcon", label_column=task), progress=False)
    settings = config("supcon")
    monkeypatch.setattr("ecgloss.data.dataset.EcgDataset.labels", lambda self, task: [("same",)] * len(self))
    with pytest.raises(ValueError, match=r"labels that differ; in label_column ectopy those of all \d+ training"):
        pretrain(settings, progress=False)
    assert not Path(settings.out).exists()


def test_ages_and_sexes_that_are_all_unknown_are_refused(config):
    settings = config("yaware")
    dataset = _open(settings)
    dataset.index["age"], dataset.index["sex"] = np.nan, None
    side, gaps = side_information(settings, dataset, np.arange(30))
    with pytest.raises(ValueError, match="loss yaware needs ages or sexes that differ"):
        build_method(settings, Tiny()).check(settings, side, gaps)


def test_a_damaged_or_missing_state_of_the_method_is_named(config):
    settings = config("moco")
    result = pretrain(settings, progress=False)
    path = result.checkpoint / "method.safetensors"
    other = replace(settings, queue=16)
    with pytest.raises(
        ValueError, match=r"method\.safetensors does not fit the method of this run: .*criterion\.queue"
    ):
        pretrain(replace(other, epochs=2), resume=True, progress=False)
    path.unlink()
    with pytest.raises(ValueError, match=r"cannot read .*method\.safetensors"):
        pretrain(replace(settings, epochs=2), resume=True, progress=False)


# After training


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["moco", "byol"])
def test_an_encoder_trained_beside_a_momentum_encoder_is_evaluated_as_any_other(config, loss, tmp_path, cache, capsys):
    run = pretrain(config(loss), progress=False).run
    words = ["--checkpoint", str(run), "--data", "synthetic:40", "--cache", cache]
    assert main(["embed", *words, "--out", str(tmp_path / "x.parquet")]) == 0
    assert main(["evaluate", *words, "--task", "age", "--out", str(tmp_path / "report")]) == 0
    assert "checkpoint minus random encoder" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.html").is_file()


def _open(config: PretrainConfig):
    from ecgloss.data.opening import open_dataset

    return open_dataset(config.data, preprocessing=config.preprocessing, cache_dir=config.cache, progress=False)


def _train_rows(run: Path) -> np.ndarray:
    from ecgloss.data.splits import Split

    return Split.load(run / "split.json").train
