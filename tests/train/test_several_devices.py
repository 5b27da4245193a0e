"""On several devices a method trains as on one: the loss is that of the whole batch, and all devices stay the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from started import start_ranks
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.parallel import DistributedDataParallel

import ecgloss
from ecgloss._files import read_json_lines
from ecgloss.cli import main
from ecgloss.train.beat_views import Beats
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import METHODS, Training, build_method
from ecgloss.train.side_information import SideInformation

B, STEPS, RANKS = 7, 3, 2


class Patches(nn.Linear):
    """An encoder with tokens: (B, 2, 8) -> (B, 2, 4) -> (B, 4)."""

    in_channels = 2

    def tokens(self, x: Tensor) -> Tensor:
        return super().forward(x.unflatten(2, (2, 4)).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(x).mean(1)


def parts(loss: str, group: ProcessGroup | None) -> tuple[nn.Module, Training]:
    """A linear encoder and a method in fp64."""
    config = PretrainConfig(
        data="synthetic",
        out="",
        loss=loss,
        queue=16,
        momentum=0.5,
        batch_size=B,
        temperature=0.5,
        seconds=8 / 500,
        in_channels=2,
        leads=("I", "II"),
        label_column="sex" if loss == "supcon" else None,
    )
    g = torch.Generator().manual_seed(8)
    risk, missing, metadata = torch.rand(B, generator=g), torch.rand(B, generator=g), torch.rand(B, 2, generator=g)
    patient, label = torch.randint(3, (2, B), generator=g)
    torch.manual_seed(4)
    encoder = Patches(8, 4, dtype=torch.float64) if loss == "physioclr" else nn.Linear(5, 4, dtype=torch.float64)
    waves = (torch.randn(B, 3, generator=g), torch.arange(B) != 2) if loss == "physioclr" else ()
    side = SideInformation(risk, missing, patient, label, metadata, *waves)
    return encoder, Training(encoder, build_method(config, encoder, group).double(), side)


def batch(loss: str, step: int, mine: slice) -> tuple[Tensor | Beats, ...]:
    """This process's part of a batch."""
    g = torch.Generator().manual_seed(step)
    if loss != "physioclr":
        views = torch.randn(2, B, 5, generator=g, dtype=torch.float64)
        return views[0, mine], views[1, mine], torch.arange(B)[mine]
    view1, view2, target, neighbour = torch.randn(4, B, 2, 8, generator=g, dtype=torch.float64)
    waves, known = torch.rand(B, 8, generator=g) < 0.4, torch.arange(B) % 3 != step % 3
    beats = Beats(target, waves, neighbour, known, torch.arange(B) == 1)
    return view1[mine], view2[mine], torch.arange(B)[mine], Beats(*(x[mine] for x in beats))


def steps(loss_name: str, encoder: nn.Module, training: Training, wrapped: nn.Module, mine: slice) -> Iterator[Tensor]:
    """A few steps on this process's part of the batches; yields losses."""
    optimizer = torch.optim.SGD([p for p in training.parameters() if p.requires_grad], lr=0.1)
    for step in range(STEPS):
        terms = wrapped(*batch(loss_name, step, mine))
        loss = terms.loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        training.method.after_step(encoder)
        yield torch.stack([loss.detach(), *terms.parts.values()])


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS)
    mine = slice(0, 4) if rank == 0 else slice(4, B)  # processes hold different numbers of recordings
    results = {}
    for loss in METHODS:
        encoder, training = parts(loss, dist.group.WORLD)
        losses = list(steps(loss, encoder, training, DistributedDataParallel(training), mine))
        results[loss] = {"losses": torch.stack(losses), **training.state_dict()}
    torch.save(results, os.path.join(folder, f"{rank}.pt"))
    dist.barrier()
    os._exit(0)  # the threads of gloo and DDP race with the interpreter's shutdown, rarely, and abort the process


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, dict[str, Tensor]]]:
    """Losses and states of every method after training, by process."""
    with tempfile.TemporaryDirectory() as folder:
        start_ranks(run_rank, (folder,), RANKS)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("loss", [loss for loss in METHODS if loss != "byol"])
def test_training_equals_that_of_one_process(ranks, loss):
    encoder, training = parts(loss, None)
    losses = list(steps(loss, encoder, training, training, slice(0, B)))
    expected = {"losses": torch.stack(losses), **training.state_dict()}
    for rank in ranks:
        assert set(rank[loss]) == set(expected)
        for name, x in expected.items():
            torch.testing.assert_close(  # fp64, sums in another order
                rank[loss][name], x, rtol=1e-9, atol=1e-12, equal_nan=True, msg=lambda m, name=name: f"{name}: {m}"
            )


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("loss", METHODS)
def test_all_processes_hold_the_same_weights_and_momentum_encoders(ranks, loss):
    first, second = (rank[loss] for rank in ranks)
    local = ("running_mean", "running_var")  # BYOL's batch normalisation, whose averages nothing reads in training
    for name, x in first.items():
        if not name.endswith(local):
            assert torch.equal(torch.nan_to_num(x), torch.nan_to_num(second[name])), name


def train_by_command(folder: Path, loss: str, devices: int, *words: str) -> Path:
    """A run of ``ecgloss pretrain`` on some processes; its folder."""
    environment = {**os.environ, "PYTHONPATH": str(Path(ecgloss.__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    run = folder / f"run-{devices}"
    options = ["--data", "synthetic:30", "--loss", loss, "--batch-size", "6", "--epochs", "1", *words]
    options += ["--sampling-rate", "100", "--seconds", "3", "--accelerator", "cpu", "--devices", str(devices)]
    command = [
        sys.executable,
        "-m",
        "ecgloss",
        "pretrain",
        *options,
        "--cache",
        str(folder / "cache"),
        "--out",
        str(run),
    ]
    if devices == 1:
        assert main(command[3:]) == 0
        return run
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return run


@pytest.mark.dist
@pytest.mark.exhaustive
def test_physioclr_has_the_same_losses_on_one_and_on_two_processes(tmp_path):
    words = ["--model", "physioclr-small", "--in_channels", "12", "--augmentation.lead_mask_probability", "0.3"]
    words += [
        "--clip_norm",
        "1",
        "--log_steps",
        "1",
    ]  # gradient lengths and monitors are compared too
    runs = [train_by_command(tmp_path, "physioclr", devices, *words) for devices in (2, 1)]  # 2 compute the features
    lines = [read_json_lines(run / "metrics.jsonl") for run in runs]
    assert len(lines[0]) == len(lines[1]) > 2
    for two, one in zip(*lines):
        for name in set(one) - {"samples_per_second", "waited_for_data"}:
            assert two[name] == pytest.approx(one[name], rel=2e-5, abs=1e-6), name
