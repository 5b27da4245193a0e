"""What users of a loop expect: schedules, clipping, accumulation, validation, best checkpoint, stopping, loggers."""

from __future__ import annotations

import csv
import importlib.util
import math
import sys
import types
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from covering import exhaustive_except
from lightning_fabric import Fabric
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts
from torch.utils._python_dispatch import TorchDispatchMode

from ecgloss._files import read_json_lines
from ecgloss.evaluate.evaluation import matching_split
from ecgloss.models import load_encoder
from ecgloss.models.pretrained import checkpoints, find_checkpoint
from ecgloss.train import pretrain as loop
from ecgloss.train.checkpoint import MetricsLog, load_watch
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import METHODS
from ecgloss.train.pretrain import pretrain
from ecgloss.train.recipes import RECIPES, recipe
from ecgloss.train.run import resume_config
from ecgloss.train.schedule import Schedule
from ecgloss.train.steps import EpochSteps
from ecgloss.train.views import ViewBatches
from ecgloss.train.watch import Watch


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def config(tmp_path: Path, cache: str) -> PretrainConfig:
    """A run of 2 epochs of 4 steps, in seconds."""
    return PretrainConfig(
        data="synthetic:52",
        out=str(tmp_path / "run"),
        loss="simclr",
        epochs=2,
        batch_size=8,
        sampling_rate=100.0,
        seconds=3.0,
        lr=1e-3,
        cache=cache,
        accelerator="cpu",
        log_steps=1,
    )


def lines(config: PretrainConfig) -> list[dict]:
    return read_json_lines(Path(config.out) / "metrics.jsonl")


class Killed(BaseException):
    """Stands for a process that ends between two steps."""


def killed_after(config: PretrainConfig, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run as far as a step."""
    write = MetricsLog.write

    def counted(self, **values):
        write(self, **values)
        if values["step"] == step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "write", counted)
        with pytest.raises(Killed):
            pretrain(config, progress=False)


def test_restarts_are_those_of_torch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    expected = CosineAnnealingWarmRestarts(optimizer, T_0=3, T_mult=2, eta_min=1e-6)
    found = Schedule("restarts", 1e-3, 1e-6, epochs=40, steps=5, restart_epochs=3, restart_factor=2)
    for epoch in range(40):
        expected.step(epoch)
        assert found.at(epoch, epoch % 5) == optimizer.param_groups[0]["lr"]


def test_one_cosine_falls_from_the_first_epoch_to_the_last_and_a_warm_up_rises_every_step():
    cosine = Schedule("cosine", 1.0, 0.0, epochs=4, steps=3)
    assert [cosine.at(epoch, 0) for epoch in range(4)] == pytest.approx(
        [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)]
    )
    warm = Schedule("constant", 1.0, 0.0, epochs=4, steps=4, warmup_epochs=1.5)
    rates = [warm.at(epoch, step) for epoch in range(2) for step in range(4)]
    assert rates == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1])


@pytest.mark.parametrize(
    ("kind", "epochs", "said"),
    [
        ("restarts", 100, "after 30 of its 80 epochs: --epochs 70 or 150 end with a cycle"),
        ("restarts", 4, "after 4 of its 10 epochs: --epochs 10 ends with a cycle"),
        ("restarts", 30, None),
        ("restarts", 10, None),
        ("cosine", 100, None),
    ],
)
def test_a_schedule_that_ends_inside_a_cycle_is_named(kind, epochs, said):
    note = Schedule(kind, 1e-4, 1e-6, epochs, steps=7).note()
    assert note is None if said is None else said in note


def test_what_is_said_before_the_first_step(config, capsys):
    pretrain(replace(config, epochs=1, accumulate=2))
    said = capsys.readouterr().err
    assert "the learning rate ends inside a cosine cycle" in said
    assert "accumulate 2: every batch of 8 recordings has its own negatives, a step does not compare 16" in said


def test_accumulated_gradients_are_the_mean_of_those_of_the_batches(config, tmp_path):
    """One step over two batches is one over each of them from the same weights, with the mean gradient."""
    config = replace(config, epochs=1, accumulate=2, weight_decay=0.0)
    gradients = {}
    original = loop.backward

    def kept(fabric, wrapped, step):
        for part in [step, *(replace(step, batches=[batch]) for batch in step.batches)]:
            for x in wrapped.parameters():
                x.grad = None
            terms = original(fabric, wrapped, part)
            flat = torch.cat([x.grad.flatten() for x in wrapped.parameters()])
            gradients.setdefault(id(step), []).append((flat, float(terms.loss)))
        return original(fabric, wrapped, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "backward", kept)
        result = pretrain(config, progress=False)
    assert result.steps == 2  # of four batches
    for (both, loss), *single in gradients.values():
        torch.testing.assert_close(both, sum(g for g, _ in single) / 2, rtol=1e-4, atol=1e-7)  # fp32 sums
        assert loss == pytest.approx(sum(x for _, x in single) / 2, rel=1e-6)


def test_more_batches_per_step_than_there_are_make_one_step(config):
    assert pretrain(replace(config, epochs=1, accumulate=9), progress=False).steps == 1


def test_long_gradients_are_clipped_and_their_length_is_logged(config, monkeypatch):
    lengths = []
    step = torch.optim.AdamW.step

    def measured(self, *args, **kwargs):
        gradients = [x.grad for group in self.param_groups for x in group["params"] if x.grad is not None]
        lengths.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", measured)
    pretrain(replace(config, epochs=1, clip_norm=0.01), progress=False)
    before = [line["gradient_norm"] for line in lines(config)]
    assert min(before) > 0.01
    assert lengths == pytest.approx([0.01] * len(before), rel=1e-3)  # torch adds 1e-6 to the length


def test_validation_says_nothing_to_the_weights_and_is_the_same_for_the_same_weights(config, tmp_path):
    frozen = replace(config, lr=1e-30, min_lr=0.0, weight_decay=0.0, batch_size=16, out=str(tmp_path / "frozen"))
    config = replace(config, epochs=1)
    with_it = pretrain(config, progress=False)
    without = pretrain(replace(config, validate=False, out=str(tmp_path / "without")), progress=False)
    assert (with_it.checkpoint / "encoder.safetensors").read_bytes() == (
        without.checkpoint / "encoder.safetensors"
    ).read_bytes()
    found = [line.get("validation_loss") for line in lines(config)]
    assert [x is not None for x in found] == [False, False, False, True]
    pretrain(frozen, progress=False)
    losses = [line["validation_loss"] for line in lines(frozen) if "validation_loss" in line]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("loss", exhaustive_except(["moco"], ["moco", "byol", "physioclr"]))
def test_validation_leaves_queues_and_running_statistics_alone(config, loss, tmp_path):
    runs = [
        pretrain(
            replace(config, loss=loss, epochs=1, queue=16, validate=on, out=str(tmp_path / f"{on}")), progress=False
        )
        for on in (True, False)
    ]
    first, second = ((run.checkpoint / "method.safetensors").read_bytes() for run in runs)
    assert first == second


def test_the_best_checkpoint_stays_beside_the_latest(config, monkeypatch):
    losses = iter([2.0, 1.0, 3.0, 4.0])
    monkeypatch.setattr(loop, "validation_loss", lambda *_: next(losses))
    result = pretrain(replace(config, epochs=4, batch_size=32, keep_checkpoints=1), progress=False)
    assert [int(path.name[5:]) for path in checkpoints(result.run)] == [2, 4]
    best = result.run / "best"
    assert find_checkpoint(best).name == "step-00000002"
    assert load_encoder(best)[1].progress["step"] == 2
    assert load_encoder(result.run)[1].progress["step"] == 4


def test_a_run_without_an_epoch_has_no_best_checkpoint(config, monkeypatch):
    killed_after(replace(config, checkpoint_steps=1), 2, monkeypatch)
    with pytest.raises(ValueError, match=r"has no best checkpoint, as no epoch has ended; take .*run, its latest"):
        load_encoder(Path(config.out) / "best")


@pytest.mark.parametrize("stop", exhaustive_except([5], [2, 5, 7, 8]))
def test_a_resumed_run_stops_in_the_same_epoch_with_the_same_best(config, stop, monkeypatch, tmp_path):
    """Warm-up, clipping, accumulation and the mean training loss of a part of an epoch are all restored."""
    config = replace(
        config,
        epochs=6,
        batch_size=4,
        accumulate=2,
        warmup_epochs=1.5,
        clip_norm=1.0,
        schedule="cosine",
        watch="training",
        patience=1,
        min_delta=0.05,
        checkpoint_steps=1,
        log_steps=3,
        logger="csv",
    )
    whole = pretrain(replace(config, out=str(tmp_path / "whole")), progress=False)
    assert whole.steps < 6 * 4  # it stopped early
    killed_after(config, stop, monkeypatch)
    resumed = pretrain(resume_config(config.out), resume=True, progress=False)
    assert resumed.steps == whole.steps
    assert load_watch(resumed.checkpoint) == load_watch(whole.checkpoint)
    for name in ("encoder.safetensors", "optimizer.safetensors", "state.json"):
        assert (resumed.checkpoint / name).read_bytes() == (whole.checkpoint / name).read_bytes(), name
    pace = ("samples_per_second", "waited_for_data")
    rows = [[{k: x for k, x in row.items() if k not in pace} for row in table(run.run)] for run in (resumed, whole)]
    assert rows[0] == rows[1]


def table(run: Path) -> list[dict[str, str]]:
    with (run / "csv" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_patience_a_run_does_not_stop_and_nan_is_no_improvement():
    watch = Watch()
    for step, loss in enumerate([math.nan, 2.0, math.nan, 3.0, 3.0]):
        watch.epoch_ends(step, loss, min_delta=0.0)
    assert (watch.best_loss, watch.best_step, watch.waited) == (2.0, 1, 3)
    assert watch.stops(3)
    assert not watch.stops(4)
    assert not watch.stops(0)


def test_values_are_read_every_few_steps_only(config, monkeypatch):
    """On a GPU every reading is a wait."""
    added = []
    read = loop.StepLog.read
    monkeypatch.setattr(loop.StepLog, "read", lambda self: added.append(len(self._waiting)) or read(self))
    pretrain(replace(config, epochs=1, batch_size=4, log_steps=5, validate=False), progress=False)
    assert added == [5, 4]  # nine steps
    assert [line["step"] for line in lines(config)] == list(range(1, 10))


class CountReads(TorchDispatchMode):
    """Counts what would make the host wait for a GPU: numbers and shapes that are read from tensors."""

    READS = ("aten._local_scalar_dense.default", "aten.nonzero.default", "aten.masked_select.default")
    count, paused = 0, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not self.paused and str(func) in self.READS
        return func(*args, **(kwargs or {}))

    def without(self, function):
        """The function, whose readings do not count."""

        def wrapped(*args):
            self.paused = True
            made = function(*args)
            self.paused = False
            return made

        return wrapped


def only_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read or saved between steps."""
    for name in ("save_checkpoint", "refuse_diverged", "training_card"):
        monkeypatch.setattr(loop, name, lambda *_: None)
    monkeypatch.setattr(loop, "checkpoints", lambda _: [None])
    monkeypatch.setattr(loop.StepLog, "read", lambda self: {})


def test_no_step_reads_a_value(config, monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_: None)  # counts its steps on the CPU
    only_steps(monkeypatch)
    counts = []
    for batch_size in (4, 12):  # nine steps and three
        run = replace(config, epochs=1, batch_size=batch_size, clip_norm=1.0, validate=False, log_steps=2)
        with CountReads() as mode, monkeypatch.context() as patch:
            patch.setattr(ViewBatches, "__getitem__", mode.without(ViewBatches.__getitem__))  # for loaders to make
            pretrain(replace(run, out=f"{config.out}-{batch_size}"), progress=False)
        counts.append(mode.count)
    assert counts[0] == counts[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("loss", ["clef", "simclr", "moco", "byol", "supcon", "yaware"])
def test_no_step_waits_for_the_gpu(config, loss, monkeypatch):
    """Warnings of CUDA's own debug mode do not grow in number with the steps."""
    counts = []
    for epochs in (2, 4):
        run = replace(config, loss=loss, epochs=epochs, accelerator="cuda", validate=False, log_steps=1000, clip_norm=1)
        run = replace(run, out=f"{config.out}-{epochs}", label_column="ectopy" if loss == "supcon" else None)
        only_steps(monkeypatch)
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            pretrain(run, progress=False)
        torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchronizing" in str(warning.message) for warning in said))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("where", ["loss", "weights"])
def test_what_has_diverged_is_never_the_newest_checkpoint(config, where, monkeypatch):
    config = replace(config, epochs=3, log_steps=100, checkpoint_steps=2)
    original, count = loop.backward, [0]

    def poisoned(fabric, wrapped, step):
        terms = original(fabric, wrapped, step)
        count[0] += 1
        if count[0] == 6:
            if where == "loss":
                return terms._replace(loss=terms.loss * math.nan)
            next(x for x in wrapped.parameters() if x.grad is not None).grad.fill_(math.nan)
        return terms

    monkeypatch.setattr(loop, "backward", poisoned)
    said = "the loss is nan at step 6" if where == "loss" else "the encoder holds NaN or infinity after step 6"
    with pytest.raises(FloatingPointError, match=f"{said}.*newest checkpoint is from before.*--lr below"):
        pretrain(config, progress=False)
    newest = checkpoints(config.out)[-1]
    assert newest.name == "step-00000004"
    assert all(x.isfinite().all() for x in load_encoder(newest)[0].parameters())


@pytest.mark.parametrize("loss", exhaustive_except(["clef"], METHODS))
def test_monitors_are_logged_by_every_method(config, loss):
    config = replace(config, loss=loss, epochs=1, log_steps=2, label_column="ectopy" if loss == "supcon" else None)
    pretrain(config, progress=False)
    watched = [{name for name in line if name.startswith("monitor_")} for line in lines(config)]
    assert watched[0] == watched[2] == set()
    expected = {"top1", "top5", "positive_similarity", "negative_similarity", "alignment", "uniformity"}
    expected |= {"effective_negatives"} if loss == "clef" else set()
    assert watched[1] == watched[3] == {f"monitor_{name}" for name in expected}
    line = lines(config)[1]
    assert 0 <= line["monitor_top1"] <= line["monitor_top5"] <= 1
    assert line["monitor_alignment"] == pytest.approx(2 - 2 * line["monitor_positive_similarity"], abs=1e-5)


def test_all_recordings_train_on_request_and_the_evaluation_says_so(config):
    result = pretrain(replace(config, epochs=1, train_on="all"), progress=False)
    card = load_encoder(result.run)[1]
    assert card.data["training_recordings"] == 52
    assert "validation_loss" not in lines(config)[-1]
    split, origin = matching_split(result.checkpoint, card, result.dataset)
    assert len(split.test) > 0
    assert origin == "that of pretraining; pretraining saw all recordings, also those of test"


def test_csv_has_a_row_per_step(config):
    pretrain(replace(config, epochs=1, logger="csv"), progress=False)
    assert [(int(row["step"]), float(row["loss"])) for row in table(Path(config.out))] == [
        (line["step"], line["loss"]) for line in lines(config)
    ]


def test_tensorboard_has_every_step_once_after_a_resume(config, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = replace(config, logger="tensorboard", checkpoint_steps=3)
    killed_after(config, 5, monkeypatch)
    pretrain(resume_config(config.out), resume=True, progress=False)
    found = accumulator.EventAccumulator(str(Path(config.out) / "tensorboard"))
    found.Reload()
    scalars = [(event.step, event.value) for event in found.Scalars("loss")]
    assert scalars == [(line["step"], pytest.approx(line["loss"])) for line in lines(config)]


def test_a_run_at_weights_and_biases_goes_on_under_its_number(config, monkeypatch):
    begun, logged = [], []

    class Run:
        def define_metric(self, *_, **__): ...

        def log(self, values):
            logged.append(values)

        def finish(self, exit_code): ...

    module = types.ModuleType("wandb")
    module.init = lambda **options: begun.append(options) or Run()
    monkeypatch.setitem(sys.modules, "wandb", module)
    config = replace(config, logger="wandb", checkpoint_steps=3)
    killed_after(config, 8, monkeypatch)
    pretrain(resume_config(config.out), resume=True, progress=False)
    assert begun[0]["id"] == begun[1]["id"]
    assert begun[0]["resume"] == "allow"
    assert begun[0]["config"]["lr"] == config.lr
    assert [values["step"] for values in logged] == [1, 2, 3, 4, 5, 6, 7, 7, 8]  # from the checkpoint of step 6


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_a_logger_that_is_not_installed_is_named_with_the_way_out(config):
    with pytest.raises(ImportError, match=r"tensorboard is not installed, which the extra tensorboard brings"):
        pretrain(replace(config, logger="tensorboard"), progress=False)


def test_options_out_of_range_are_named(config):
    for name, value in {
        "accumulate": 0,
        "clip_norm": -1.0,
        "patience": -1,
        "log_steps": 0,
        "warmup_epochs": math.nan,
        "schedule": "linear",
        "watch": "test",
        "train_on": "test",
        "logger": "mlflow",
    }.items():
        with pytest.raises(ValueError, match=f"^{name} must be"):
            replace(config, **{name: value})


def test_recipes_are_options_that_exist_with_what_differs():
    paper = recipe("clef-paper", data="synthetic", out="runs/paper")
    assert (paper.clef.preset, paper.patience, paper.watch, paper.train_on) == ("official", 20, "training", "all")
    assert len(RECIPES["clef-paper"].differs) >= 5
    small = recipe("small-data", data="synthetic", out="runs/small", epochs=30, lr=2e-3)
    assert (small.epochs, small.lr, small.windows, small.learning_rates(1).note()) == (30, 2e-3, "independent", None)
    with pytest.raises(ValueError, match="recipe must be one of clef-paper, small-data; got demo"):
        recipe("demo")


def test_a_step_has_several_batches_and_what_does_not_fill_one_is_left_out(config):
    class Slow:
        def __len__(self):
            return 5

        def __getitem__(self, k):
            return k

    steps = EpochSteps(Slow(), Fabric(accelerator="cpu"), replace(config, accumulate=2), first=1)
    assert [step.batches for step in steps] == [[2, 3]]
    assert steps.count == 2
