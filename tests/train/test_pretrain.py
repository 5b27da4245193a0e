"""Training runs: they can be repeated, interrupted at any moment and continued, and survive broken records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from covering import each_value, exhaustive_except

from ecgloss._files import read_json, read_json_lines
from ecgloss.data import Preprocessing, Split, open_dataset
from ecgloss.evaluate.embed import embed
from ecgloss.models import load_encoder, random_encoder
from ecgloss.models.pretrained import checkpoints, trained_on
from ecgloss.train.checkpoint import MetricsLog, Position, load_checkpoint, load_watch, save_checkpoint
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import METHODS, build_method
from ecgloss.train.methods.clef import ClefConfig
from ecgloss.train.pretrain import pretrain
from ecgloss.train.run import resume_config


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def config(tmp_path: Path, cache: str) -> PretrainConfig:
    """A run of 2 epochs of 4 steps, in seconds."""
    return PretrainConfig(
        data="synthetic:52",
        out=str(tmp_path / "run"),
        epochs=2,
        batch_size=8,
        sampling_rate=100.0,
        seconds=3.0,
        lr=1e-3,
        cache=cache,
        accelerator="cpu",
        log_steps=1,
    )


def with_loss(config: PretrainConfig, loss: str) -> PretrainConfig:
    return replace(config, loss=loss, label_column="ectopy" if loss == "supcon" else None)


def weights(run: str | Path) -> bytes:
    return (checkpoints(run)[-1] / "encoder.safetensors").read_bytes()


class Killed(BaseException):
    """Stands for a process that ends between two steps."""


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    write = MetricsLog.write

    def counted(self, **values):
        write(self, **values)
        if values["step"] == steps:
            raise Killed

    monkeypatch.setattr(MetricsLog, "write", counted)


@pytest.mark.slow
@pytest.mark.parametrize("loss", exhaustive_except(["clef", "physioclr"], METHODS))
def test_a_run_can_be_repeated_bit_for_bit(config, loss, tmp_path):
    config = with_loss(config, loss)
    first = pretrain(config, progress=False)
    again = pretrain(replace(config, out=str(tmp_path / "again")), progress=False)
    assert weights(first.run) == weights(again.run)
    assert first.loss == again.loss


def test_another_seed_gives_another_run(config, tmp_path):
    first, other = (
        pretrain(replace(config, seed=seed, out=str(tmp_path / str(seed))), progress=False) for seed in (0, 1)
    )
    assert weights(other.run) != weights(first.run)


@pytest.mark.slow
@each_value(stop=[1, 3, 4, 5, 7], every=[0, 1, 3])
def test_a_run_stopped_between_any_two_steps_resumes_to_the_same_weights(config, stop, every, monkeypatch, tmp_path):
    config = replace(config, checkpoint_steps=every)
    whole = pretrain(replace(config, out=str(tmp_path / "whole")), progress=False)
    with monkeypatch.context() as patch:
        stop_after(patch, stop)
        with pytest.raises(Killed):
            pretrain(config, progress=False)
    resumed = pretrain(resume_config(config.out), resume=True, progress=False)
    assert weights(resumed.run) == weights(whole.run)
    lines, expected = (read_json_lines(r.run / "metrics.jsonl") for r in (resumed, whole))
    assert [line["step"] for line in lines] == list(range(1, whole.steps + 1))
    assert [line["loss"] for line in lines] == [line["loss"] for line in expected]


@pytest.mark.slow
@pytest.mark.parametrize("loss", exhaustive_except(["moco", "physioclr"], [loss for loss in METHODS if loss != "clef"]))
def test_every_method_resumes_in_the_middle_of_an_epoch_to_the_same_bits(config, loss, monkeypatch, tmp_path):
    config = replace(with_loss(config, loss), checkpoint_steps=3)
    whole = pretrain(replace(config, out=str(tmp_path / "whole")), progress=False)
    for stop in (3, 7):  # the checkpoints of steps 3 and 6; between them all of the state has moved
        with monkeypatch.context() as patch:
            stop_after(patch, stop)
            with pytest.raises(Killed):
                pretrain(config, resume=stop > 3, progress=False)
    resumed = pretrain(resume_config(config.out), resume=True, progress=False)
    names = {path.name for path in whole.checkpoint.iterdir()}
    assert {path.name for path in resumed.checkpoint.iterdir()} == names
    assert ("method.safetensors" in names) == (loss in ("moco", "byol", "physioclr"))
    for name in names - {"card.json"}:  # which names the folder of the run
        assert (resumed.checkpoint / name).read_bytes() == (whole.checkpoint / name).read_bytes(), name
    losses, expected = ([line["loss"] for line in read_json_lines(r.run / "metrics.jsonl")] for r in (resumed, whole))
    assert losses == expected


def test_a_run_begun_before_there_were_other_methods_goes_on(config):
    whole = weights(pretrain(config, progress=False).run)
    path = Path(config.out) / "config.json"
    settings = read_json(path)
    for name in ("momentum", "queue", "bandwidth", "label_column", "physioclr"):
        del settings[name]
    path.write_text(json.dumps(settings))
    assert resume_config(config.out) == config
    pretrain(resume_config(config.out), resume=True, progress=False)
    assert weights(config.out) == whole
    path.write_text(json.dumps({**settings, "bandwith": 1.0}))
    with pytest.raises(ValueError, match=r"config\.json .* unknown options: bandwith"):
        resume_config(config.out)
    del settings["lr"]
    path.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="missing or unknown options: lr"):
        resume_config(config.out)


def go_on(config: PretrainConfig, threads: int) -> None:
    torch.set_num_threads(threads)
    pretrain(config, resume=True, progress=False)


def test_resuming_a_finished_run_changes_nothing(config):
    before = weights(pretrain(config, progress=False).run)
    pretrain(resume_config(config.out), resume=True, progress=False)
    assert weights(config.out) == before


def test_a_run_is_never_overwritten(config):
    pretrain(replace(config, epochs=1), progress=False)
    with pytest.raises(ValueError, match=r"holds a training run already.*--resume"):
        pretrain(config, progress=False)


def test_resuming_what_is_no_run_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="is not a training run"):
        resume_config(tmp_path)


def test_resuming_with_other_data_is_an_error(config):
    pretrain(replace(config, epochs=1), progress=False)
    other = replace(config, data="synthetic:30")
    with pytest.raises(ValueError, match=r"differ in .* recordings"):
        pretrain(other, resume=True, progress=False)


def test_batches_do_not_depend_on_worker_processes(config, tmp_path):
    alone = pretrain(replace(config, epochs=1), progress=False)
    workers = pretrain(replace(config, epochs=1, workers=2, out=str(tmp_path / "w")), progress=False)
    assert weights(alone.run) == weights(workers.run)


def test_the_checkpoint_says_all_that_is_needed_to_use_it(config):
    result = pretrain(replace(config, clef=ClefConfig(preset="official", alpha=0.3)), progress=False)
    model, card = load_encoder(result.run)
    assert model.size == card.model == "small"
    assert card.preprocessing == config.preprocessing.to_json()
    assert card.seconds == 3.0
    assert "V6" in card.leads
    assert card.loss["weight_norm"] == "softmax"
    assert card.loss["alpha"] == 0.3
    assert card.data["fingerprint"] == result.dataset.fingerprint
    assert card.progress["step"] == result.steps == 8
    assert PretrainConfig.from_json(card.training).clef.preset == "official"
    assert load_encoder(result.checkpoint)[1] == card


def test_training_changes_every_parameter(config):
    result = pretrain(replace(config, epochs=1), progress=False)
    trained = load_encoder(result.run)[0].state_dict()
    fresh = random_encoder("small", 1, config.seed).state_dict()
    assert [name for name in fresh if torch.equal(fresh[name], trained[name])] == []


def test_metrics_hold_the_terms_of_the_loss(config):
    run = pretrain(replace(config, epochs=1), progress=False).run
    for line in read_json_lines(run / "metrics.jsonl"):
        assert line["loss"] == pytest.approx(line["contrastive"] + line["alignment"], rel=1e-5)  # fp32 sum
        assert line["samples_per_second"] > 0
        assert 0 <= line["waited_for_data"] <= 1


def test_the_learning_rate_follows_cosine_restarts(config):
    config = replace(config, epochs=4, restart_epochs=1, restart_factor=2, min_lr=1e-5)
    rates = [line["lr"] for line in read_json_lines(pretrain(config, progress=False).run / "metrics.jsonl")][::4]
    # Cycles of 1 and 2 epochs: start, start, half way, start again.
    assert rates == pytest.approx([1e-3, 1e-3, (1e-3 + 1e-5) / 2, 1e-3])


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(config, monkeypatch):
    pretrain(replace(config, epochs=1), progress=False)
    kept = weights(config.out)
    path = Path(config.out) / "config.json"
    settings = {**read_json(path), "epochs": 2, "lr": 1e30}
    path.write_text(json.dumps(settings))
    folder = checkpoints(config.out)[-1]
    state = read_json(folder / "state.json")
    state["param_groups"][0]["initial_lr"] = 1e30
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(FloatingPointError, match=r"at step .*newest checkpoint is from before.*--lr below 1e\+30"):
        pretrain(resume_config(config.out), resume=True, progress=False)
    assert weights(config.out) == kept


def test_a_half_written_checkpoint_is_ignored(config):
    result = pretrain(replace(config, epochs=1), progress=False)
    unfinished = result.run / "checkpoints" / ".step-00000099.tmp"
    unfinished.mkdir()
    (unfinished / "card.json").write_text("{")
    (result.run / "checkpoints" / "step-00000098").mkdir()
    assert checkpoints(result.run) == [result.checkpoint]


def test_damaged_checkpoints_are_named(config):
    result = pretrain(replace(config, epochs=1), progress=False)
    path = result.checkpoint / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cannot read .*encoder\.safetensors"):
        load_encoder(result.run)
    (result.checkpoint / "card.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match=r"card\.json has missing or unknown entries"):
        load_encoder(result.run)


def test_old_checkpoints_are_removed(config):
    result = pretrain(replace(config, checkpoint_steps=1, keep_checkpoints=3), progress=False)
    best = load_watch(result.checkpoint).best_step
    assert [int(p.name[5:]) for p in checkpoints(result.run)] == sorted({best, 6, 7, 8})


@pytest.mark.parametrize("loss", ["clef", "byol"])
def test_a_checkpoint_read_and_written_again_is_the_same(tmp_path, config, loss):
    result = pretrain(with_loss(config, loss), progress=False)
    model = random_encoder("small", 1, 5)
    method = build_method(with_loss(config, loss), model)
    trained = [p for p in (*model.parameters(), *method.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1)
    position = load_checkpoint(result.checkpoint, model, method, optimizer)
    card = load_encoder(result.run)[1]
    seen = trained_on(result.checkpoint)
    watch = load_watch(result.checkpoint)
    again = save_checkpoint(tmp_path, model, method, optimizer, card, position, keep=1, trained_on=seen, watch=watch)
    assert position == Position(step=8, epoch=2, batch=0)
    for path in result.checkpoint.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_normalisation_by_the_training_recordings_travels_in_the_checkpoint(config, tmp_path):
    result = pretrain(replace(config, epochs=1, normalisation="dataset", out=str(tmp_path / "run")), progress=False)
    found = Preprocessing.from_json(load_encoder(result.run)[1].preprocessing)
    rows = Split.load(result.run / "split.json").train
    samples = np.concatenate([result.dataset.signal(int(i)).ravel() for i in rows])
    assert found.scale_mv == pytest.approx(float(np.sqrt(np.square(samples, dtype=np.float64).mean())), rel=1e-6)
    again = open_dataset(config.data, preprocessing=found, cache_dir=config.cache, progress=False)
    assert again.folder == result.dataset.folder  # what is stored does not depend on it
    length = round(config.seconds * 100)
    embedded = embed(Whole(length), again, lead="II", seconds=config.seconds, rows=rows[:1], progress=False)
    expected = again.signal(int(rows[0]), "II")[:length] / found.scale_mv
    np.testing.assert_allclose(embedded[0], expected, rtol=1e-5)


class Whole(torch.nn.Module):
    """An encoder that returns the window it sees."""

    in_channels = 1

    def __init__(self, length: int) -> None:
        super().__init__()
        self.out_features = length

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0]
