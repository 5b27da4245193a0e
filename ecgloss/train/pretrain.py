"""The pretraining loop: two views of every recording, one encoder, one method."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts
from torch.utils.data import DataLoader
from tqdm import tqdm

from ecgloss.data.dataset import EcgDataset
from ecgloss.data.opening import open_dataset
from ecgloss.data.overlap import contents
from ecgloss.models.encoder import Encoder, as_encoder, build_from, name_of
from ecgloss.models.pretrained import checkpoints, random_encoder
from ecgloss.train.card import training_card
from ecgloss.train.checkpoint import METRICS, MetricsLog, Position, load_checkpoint, save_checkpoint
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import Training, build_method
from ecgloss.train.risks import refuse_unknown, run_risk
from ecgloss.train.run import begin, latest_checkpoint, rows_with_leads, run_split
from ecgloss.train.side_information import side_information
from ecgloss.train.views import ViewBatches, WindowBatch, WindowBatches
from ecgloss.train.waves import waves_of


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


def pretrain(
    config: PretrainConfig,
    *,
    encoder: nn.Module | Callable[..., nn.Module] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Result:
    """Pretrain an encoder.

    Args:
        config: All options.
        encoder: What to train instead of ``config.model``: a module (B, in_channels, T) -> (B, D), with its weights, or
            a function or class that makes one, called with ``in_channels``. The card names it.
        resume: Continue the run in ``config.out`` from its last checkpoint. On the same machine the result equals
            that of an uninterrupted run bit for bit.
        progress: Show progress bars, and for how many recordings information is missing that the loss could use.

    Returns:
        Where the result is.

    Raises:
        ValueError: if the data or the encoder cannot be used, the run exists already or, to resume, does not.
        FloatingPointError: if the loss is not finite.
    """
    if encoder is not None:
        config = replace(config, model=name_of(encoder))
    run = Path(config.out)
    fabric = Fabric(accelerator=config.accelerator, devices=config.devices, precision=config.precision)  # type: ignore[arg-type]
    fabric.launch()
    saved = latest_checkpoint(run, resume)
    dataset = open_dataset(
        config.data,
        preprocessing=config.preprocessing,
        cache_dir=config.cache,
        progress=progress,
        table=config.table,
        columns=config.columns,
        units=config.units,
        source_rate=config.source_rate,
        split=config.split,
    )
    split, about_split = run_split(run, dataset, config, resume)
    train, left_out = rows_with_leads(dataset, split.train, config.input_leads)
    if config.normalisation == "dataset":
        dataset.preprocessing = replace(dataset.preprocessing, scale_mv=dataset.root_mean_square(train))
    risks = run_risk(config, dataset, train)
    side, gaps = side_information(config, dataset, train, risks)
    known = contents(dataset, train, progress=progress and fabric.is_global_zero)
    trained_on = {name: torch.from_numpy(x) for name, x in known._asdict().items()}
    with fabric.rank_zero_first():
        waves = waves_of(config, dataset, train, progress=progress and fabric.is_global_zero)

    model = _model(config, encoder)
    method = build_method(config, model, dist.group.WORLD if fabric.world_size > 1 else None)
    if waves is not None:
        side, gaps = waves.add_to(side, gaps)
        method.learn(waves)
    if method.compares_risk and saved is None:
        refuse_unknown(config, risks, train)
    notes = dataset.notes + about_split + left_out + (risks.notes if method.compares_risk else [])
    notes += method.check(config, side.rows(torch.from_numpy(train)), gaps)
    begin(run, split, config, resume)
    training = Training(model, method, side.to(fabric.device))
    trained = [parameter for parameter in training.parameters() if parameter.requires_grad]
    optimizer = AdamW(trained, lr=config.lr, weight_decay=config.weight_decay)
    position = load_checkpoint(saved, model, method, optimizer) if saved else Position(step=0, epoch=0, batch=0)
    schedule = CosineAnnealingWarmRestarts(
        optimizer, T_0=config.restart_epochs, T_mult=config.restart_factor, eta_min=config.min_lr
    )
    step_loss, wrapped = fabric.setup(training, optimizer)
    for note in notes if progress and fabric.is_global_zero else ():
        tqdm.write(f"{config.loss}: {note}", file=sys.stderr)

    step, loss = position.step, math.nan
    log = MetricsLog(run / METRICS, step) if fabric.is_global_zero else None
    for epoch in range(position.epoch, config.epochs):
        schedule.step(epoch)  # type: ignore[arg-type]  # a function of the epoch alone: nothing to restore
        batches = ViewBatches(
            dataset,
            train,
            config,
            epoch,
            fabric.global_rank,
            fabric.world_size,
            together=method.brings_patients_together(config),
            marks=waves.marks if waves else None,
        )
        source = batches if fabric.device.type == "cpu" else WindowBatches(batches)  # a device makes its views itself
        first = position.batch if epoch == position.epoch else 0
        loader = DataLoader(source, batch_size=None, sampler=range(first, len(batches)), num_workers=config.workers)
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
            arrived = time.perf_counter()
            views = batches.augment(batch.to(fabric.device)) if isinstance(batch, WindowBatch) else batch
            terms = step_loss(views.view1, views.view2, views.rows, *([views.beats] if views.beats else []))
            loss = terms.loss.item()
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} at step {step + 1}; the last checkpoint is kept")
            wrapped.zero_grad()
            fabric.backward(terms.loss)
            wrapped.step()
            method.after_step(model)
            step += 1

            parts = {name: part.item() for name, part in terms.parts.items()}
            before, clock = clock, time.perf_counter()
            speed = fabric.world_size * len(batch.rows) / (clock - before)  # of the whole step, with the wait for data
            waited = (arrived - before) / (clock - before)
            if log:
                lr = optimizer.param_groups[0]["lr"]
                log.write(
                    step=step,
                    epoch=epoch,
                    loss=loss,
                    **parts,
                    lr=lr,
                    samples_per_second=round(speed, 1),
                    waited_for_data=round(waited, 3),
                )
            shown = {name: f"{value:.4f}" for name, value in {"loss": loss, **parts}.items()}
            bar.set_postfix({**shown, "rec/s": f"{speed:.0f}", "waited": f"{100 * waited:.0f}%"})
            last = k + 1 == len(batches)
            due = last or (config.checkpoint_steps > 0 and step % config.checkpoint_steps == 0)
            if due and fabric.is_global_zero:
                reached = Position(step, epoch + 1, 0) if last else Position(step, epoch, k + 1)
                card = training_card(config, dataset, len(train), model, method, reached, loss, risks.about)
                save_checkpoint(run, model, method, optimizer, card, reached, config.keep_checkpoints, trained_on)
    if log:
        log.close()
    fabric.barrier()
    return Result(run, checkpoints(run)[-1], step, loss, dataset, fabric.global_rank)


def _model(config: PretrainConfig, encoder: nn.Module | Callable[..., nn.Module] | None) -> Encoder:
    """The encoder to train: the one that is given, or that of ``config.model`` with weights from the seed."""
    if encoder is None:
        return random_encoder(config.model, config.in_channels, config.seed, config.window)
    if isinstance(encoder, nn.Module):
        return as_encoder(encoder, config.in_channels, config.model, config.window)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_from(encoder, config.in_channels, config.model, config.window)
