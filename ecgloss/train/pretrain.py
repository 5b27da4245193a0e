"""The pretraining loop: two views of every recording, one encoder, one method."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from lightning_fabric import Fabric
from torch import nn
from torch.optim import AdamW
from tqdm import tqdm

from ecgloss._signals import StopRequest, stop_when_asked
from ecgloss.models.encoder import name_of
from ecgloss.models.pretrained import checkpoints
from ecgloss.train.card import training_card
from ecgloss.train.checkpoint import Position, load_checkpoint, load_watch, save_checkpoint
from ecgloss.train.config import PretrainConfig
from ecgloss.train.divergence import refuse_diverged
from ecgloss.train.lock import only_one
from ecgloss.train.methods import Training
from ecgloss.train.prepare import Prepared, prepare
from ecgloss.train.result import Result
from ecgloss.train.step_log import StepLog
from ecgloss.train.steps import EpochSteps, backward, clip, monitors, validation_loss
from ecgloss.train.watch import Watch


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
        FloatingPointError: if the loss or a weight is not finite.
        FileError: if a file cannot be written; what was saved before is kept.
        Stopped: after SIGTERM or SIGHUP, when the step is done and saved.
    """
    if encoder is not None:
        config = replace(config, model=name_of(encoder))
    fabric = Fabric(accelerator=config.accelerator, devices=config.devices, precision=config.precision)  # type: ignore[arg-type]
    fabric.launch()
    alone = only_one(Path(config.out)) if fabric.is_global_zero else nullcontext()
    with alone, stop_when_asked() as stop:
        run = prepare(config, fabric, encoder=encoder, resume=resume, progress=progress)
        return _train(run, config, fabric, stop, shown=progress and fabric.is_global_zero)


def _train(run: Prepared, config: PretrainConfig, fabric: Fabric, stop: StopRequest, *, shown: bool) -> Result:
    """The steps, in a folder that no other process writes to."""
    folder = Path(config.out)
    model, method = run.model, run.method
    training = Training(model, method, run.side.to(fabric.device))
    trained = [parameter for parameter in training.parameters() if parameter.requires_grad]
    optimizer = AdamW(trained, lr=config.lr, weight_decay=config.weight_decay)
    position, watch = Position(step=0, epoch=0, batch=0), Watch()
    if run.saved:
        position, watch = load_checkpoint(run.saved, model, method, optimizer), load_watch(run.saved)
    wrapped, wrapped_optimizer = fabric.setup(training, optimizer)
    log = StepLog(folder, config, position.step, watch, writes=fabric.is_global_zero)
    for note in run.notes if shown else ():
        say(config, note)

    step = position.step
    stop.wait()
    for epoch in range(position.epoch, config.epochs):
        if watch.stops(config.patience):
            if shown:
                say(config, f"stopped after {epoch} epochs: {watch.waited} without an improvement of the loss")
            break
        first = position.batch if epoch == position.epoch else 0
        steps = EpochSteps(run.views(epoch, fabric), fabric, config, first)
        rates = config.learning_rates(steps.count)
        bar = tqdm(
            steps,
            desc=f"{config.loss} {epoch + 1}/{config.epochs}",
            initial=first,
            total=steps.count,
            leave=epoch + 1 == config.epochs,
            disable=not shown,
        )
        log.begin_epoch()
        for k, batches in enumerate(bar, start=first):
            optimizer.param_groups[0]["lr"] = lr = rates.at(epoch, k)
            terms = backward(fabric, wrapped, batches)
            values = {"loss": terms.loss, **terms.parts}
            if config.clip_norm:
                values["gradient_norm"] = clip(fabric, wrapped, wrapped_optimizer, config.clip_norm)
            wrapped_optimizer.step()
            wrapped_optimizer.zero_grad()
            method.after_step(model)
            step += 1

            last = k + 1 == steps.count
            if log.is_due(step):
                values |= monitors(training, terms, batches)
            log.add(step, epoch, values, lr, recordings=fabric.world_size * batches.recordings, waited=batches.waited)
            if last and len(run.validation):
                log.add_to_last(validation_loss=validation_loss(fabric, wrapped, run.validation_views(fabric), config))
            due = last or stop or (config.checkpoint_steps > 0 and step % config.checkpoint_steps == 0)
            if log.is_due(step) or due:
                # Only here does the host wait for the device. A loss that is not finite ends the run.
                bar.set_postfix(log.read())
            if last:
                watch.epoch_ends(step, fabric.broadcast(log.watched_loss), config.min_delta)
            if due:
                refuse_diverged(step, vars(config), model, method)
            if due and fabric.is_global_zero:
                reached = Position(step, epoch + 1, 0) if last else Position(step, epoch, k + 1)
                data = run.dataset, len(run.train)
                card = training_card(config, *data, model, method, reached, log.loss, run.risks.about)
                keep = config.keep_checkpoints
                save_checkpoint(folder, model, method, optimizer, card, reached, keep, run.trained_on, watch)
            stop.leave(f"saved step {step}; continue with: ecgloss pretrain --resume {folder}")
    log.close()
    fabric.barrier()
    return Result(folder, checkpoints(folder)[-1], step, log.loss, run.dataset, fabric.global_rank)


def say(config: PretrainConfig, sentence: str) -> None:
    """Write a sentence to standard error, above the progress bar."""
    tqdm.write(f"{config.loss}: {sentence}", file=sys.stderr)
