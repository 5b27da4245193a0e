"""Pretraining: two views, one encoder, one loss. The whole loop."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts
from torch.utils.data import DataLoader
from tqdm import tqdm

from ecgloss._files import read_json, write_json
from ecgloss.data.dataset import EcgDataset, open_dataset
from ecgloss.data.splits import Split, split_by_patient
from ecgloss.models.pretrained import checkpoints, random_encoder
from ecgloss.recording_risk import recording_risks
from ecgloss.train.card import training_card
from ecgloss.train.checkpoint import METRICS, MetricsLog, Position, load_checkpoint, save_checkpoint
from ecgloss.train.config import PretrainConfig
from ecgloss.train.objective import objective
from ecgloss.train.views import ViewBatches


@dataclass(frozen=True)
class Result:
    """Outcome of a run.

    Attributes:
        run: Its folder.
        checkpoint: The last checkpoint.
        steps: Steps done in all.
        loss: Loss of the last step of this call (NaN if there was nothing left to do).
        dataset: The recordings.
        rank: Number of this process among those that trained.
    """

    run: Path
    checkpoint: Path
    steps: int
    loss: float
    dataset: EcgDataset
    rank: int = 0


def pretrain(config: PretrainConfig, *, resume: bool = False, progress: bool = True) -> Result:
    """Pretrain an encoder.

    Args:
        config: All options.
        resume: Continue the run in ``config.out`` from its last checkpoint. On the same machine the result equals
            that of an uninterrupted run bit for bit.
        progress: Show progress bars.

    Returns:
        Where the result is.

    Raises:
        ValueError: if the data cannot be used, the run exists already or, to resume, does not.
        FloatingPointError: if the loss is not finite.
    """
    run = Path(config.out)
    fabric = Fabric(accelerator=config.accelerator, devices=config.devices, precision=config.precision)  # type: ignore[arg-type]
    fabric.launch()
    saved = _latest(run, resume)
    dataset = open_dataset(config.data, preprocessing=config.preprocessing, cache_dir=config.cache, progress=progress)
    split = _split(run, dataset, config, resume)
    risk, missing = recording_risks(dataset, config.region)

    model = random_encoder(config.model, in_channels=1, seed=config.seed)
    optimizer = AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    position = load_checkpoint(saved, model, optimizer) if saved else Position(step=0, epoch=0, batch=0)
    schedule = CosineAnnealingWarmRestarts(
        optimizer, T_0=config.restart_epochs, T_mult=config.restart_factor, eta_min=config.min_lr
    )
    encoder, wrapped = fabric.setup(model, optimizer)
    criterion = objective(config, dist.group.WORLD if fabric.world_size > 1 else None)
    risk, missing = fabric.to_device(risk), fabric.to_device(missing)

    step, loss = position.step, math.nan
    log = MetricsLog(run / METRICS, step) if fabric.is_global_zero else None
    for epoch in range(position.epoch, config.epochs):
        schedule.step(epoch)  # type: ignore[arg-type]  # the rate is a function of the epoch alone: nothing to restore
        batches = ViewBatches(dataset, split.train, config, epoch, fabric.global_rank, fabric.world_size)
        first = position.batch if epoch == position.epoch else 0
        loader = DataLoader(batches, batch_size=None, sampler=range(first, len(batches)), num_workers=config.workers)
        bar = tqdm(
            loader,
            desc=f"{config.loss} {epoch + 1}/{config.epochs}",
            initial=first,
            total=len(batches),
            leave=epoch + 1 == config.epochs,
            disable=not progress or not fabric.is_global_zero,
        )
        clock = time.perf_counter()
        for k, batch in enumerate(bar, start=first):
            view1, view2, rows = (fabric.to_device(x) for x in (batch.view1, batch.view2, batch.rows))
            z1, z2 = encoder(torch.cat([view1, view2])).chunk(2)
            terms = criterion(z1, z2, risk[rows], missing[rows])
            loss = terms.loss.item()
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} at step {step + 1}; the last checkpoint is kept")
            wrapped.zero_grad()
            fabric.backward(terms.loss)
            wrapped.step()
            step += 1

            parts = {name: part.item() for name, part in terms.parts.items()}
            before, clock = clock, time.perf_counter()
            speed = fabric.world_size * len(rows) / (clock - before)  # of the whole step, waiting for data included
            if log:
                lr = optimizer.param_groups[0]["lr"]
                log.write(step=step, epoch=epoch, loss=loss, **parts, lr=lr, samples_per_second=round(speed, 1))
            shown = {name: f"{value:.4f}" for name, value in {"loss": loss, **parts}.items()}
            bar.set_postfix({**shown, "rec/s": f"{speed:.0f}"})
            last = k + 1 == len(batches)
            due = last or (config.checkpoint_steps > 0 and step % config.checkpoint_steps == 0)
            if due and fabric.is_global_zero:
                reached = Position(step, epoch + 1, 0) if last else Position(step, epoch, k + 1)
                card = training_card(config, dataset, len(split.train), model, reached, loss)
                save_checkpoint(run, model, optimizer, card, reached, config.keep_checkpoints)
    if log:
        log.close()
    fabric.barrier()
    return Result(run, checkpoints(run)[-1], step, loss, dataset, fabric.global_rank)


def resume_config(run: str | Path) -> PretrainConfig:
    """The configuration of an existing run.

    Raises:
        ValueError: if there is no such run.
    """
    path = Path(run) / "config.json"
    if not path.is_file():
        raise ValueError(f"{run} is not a training run: it has no config.json")
    try:
        return PretrainConfig.from_json({**read_json(path), "out": str(run)})
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not the configuration of a run: {error}") from error


def _latest(run: Path, resume: bool) -> Path | None:
    """The checkpoint to continue from; a run is never overwritten by accident."""
    found = checkpoints(run)
    if found and not resume:
        raise ValueError(
            f"{run} holds a training run already; continue it with --resume {run}, or choose another --out"
        )
    return found[-1] if found else None


def _split(run: Path, dataset: EcgDataset, config: PretrainConfig, resume: bool) -> Split:
    """The split of the run, written down before the first step."""
    path = run / "split.json"
    if resume and path.is_file():
        return Split.load(path).align(dataset)
    split = split_by_patient(dataset, seed=config.seed)
    if len(split.train) < 2:
        raise ValueError(f"{config.data}: {len(split.train)} training recordings, a contrastive loss needs at least 2")
    run.mkdir(parents=True, exist_ok=True)
    split.save(path)
    write_json(run / "config.json", config.to_json())
    return split
