"""Everything before the first step of a run: recordings, what is known about them, encoder and method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgloss.data.dataset import EcgDataset
from ecgloss.data.opening import open_dataset
from ecgloss.data.overlap import contents
from ecgloss.data.splits import Split
from ecgloss.models.encoder import Encoder, as_encoder, build_from
from ecgloss.models.pretrained import random_encoder
from ecgloss.physiology.marks import WaveMarks
from ecgloss.train.cautions import cautions
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import Method, build_method
from ecgloss.train.risks import RunRisk, columns_with_risks, refuse_unknown, run_risk
from ecgloss.train.run import begin, latest_checkpoint, rows_with_leads, run_split
from ecgloss.train.seeds import generator
from ecgloss.train.side_information import SideInformation, side_information
from ecgloss.train.views import ViewBatches
from ecgloss.train.waves import waves_of


@dataclass(frozen=True)
class Prepared:
    """What a run starts from.

    Attributes:
        config: Its options.
        dataset: The recordings.
        train: Positions of those that train.
        validation: Positions of those whose loss is computed after every epoch; may be empty.
        model: The encoder.
        method: The method.
        side: What is known about all recordings.
        risks: Their risks.
        marks: Their waves, for a method that needs them.
        trained_on: Signatures of the recordings that train.
        saved: Checkpoint to continue from.
        notes: Sentences for the user.
    """

    config: PretrainConfig
    dataset: EcgDataset
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    model: Encoder
    method: Method
    side: SideInformation
    risks: RunRisk
    marks: WaveMarks | None
    trained_on: dict[str, Tensor]
    saved: Path | None
    notes: list[str]

    def views(self, epoch: int, fabric: Fabric) -> ViewBatches:
        """The training batches of an epoch, this process's part."""
        return self._views(self.config, self.train, epoch, fabric)

    def validation_views(self, fabric: Fabric) -> ViewBatches:
        """The validation batches: the same ones after every epoch."""
        own = replace(self.config, seed=generator(self.config.seed, "validation").initial_seed())
        return self._views(own, self.validation, 0, fabric)

    def _views(self, config: PretrainConfig, rows: NDArray[np.int64], epoch: int, fabric: Fabric) -> ViewBatches:
        together = self.method.brings_patients_together(config)
        ranks = fabric.global_rank, fabric.world_size
        return ViewBatches(self.dataset, rows, config, epoch, *ranks, together=together, marks=self.marks)


def prepare(
    config: PretrainConfig,
    fabric: Fabric,
    *,
    encoder: nn.Module | Callable[..., nn.Module] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Prepared:
    """Open the data, build encoder and method, check that they fit, and write the folder of the run.

    Args:
        config: All options.
        fabric: Launched.
        encoder: What to train instead of ``config.model``.
        resume: Whether the run may exist already.
        progress: Show progress bars.

    Raises:
        ValueError: if the data or the encoder cannot be used, the run exists already or, to resume, does not.
    """
    run, shown = Path(config.out), progress and fabric.is_global_zero
    saved = latest_checkpoint(run, resume)
    dataset = open_dataset(
        config.data,
        preprocessing=config.preprocessing,
        cache_dir=config.cache,
        progress=progress,
        table=config.table,
        columns=columns_with_risks(config),
        units=config.units,
        source_rate=config.source_rate,
        dataset_name=config.dataset_name,
        split=config.split,
    )
    split, about_split = run_split(run, dataset, config, resume)
    train, left_out = rows_with_leads(dataset, _rows_that_train(config, split), config.input_leads)
    if config.normalisation == "dataset":
        dataset.preprocessing = replace(dataset.preprocessing, scale_mv=dataset.root_mean_square(train))
    validation, about_validation = _rows_that_validate(config, dataset, split, fabric)
    risks = run_risk(config, dataset, train)
    side, gaps = side_information(config, dataset, train, risks)
    known = contents(dataset, train, progress=shown)
    trained_on = {name: torch.from_numpy(x) for name, x in known._asdict().items()}
    with fabric.rank_zero_first():
        waves = waves_of(config, dataset, train, progress=shown)

    model = _model(config, encoder)
    method = build_method(config, model, dist.group.WORLD if fabric.world_size > 1 else None)
    if waves is not None:
        side, gaps = waves.add_to(side, gaps)
        method.learn(waves)
    if method.compares_risk and saved is None:
        refuse_unknown(config, risks, train)
    notes = dataset.notes + about_split + left_out + (risks.notes if method.compares_risk else [])
    notes += cautions(config, dataset, train, risks.risk if method.compares_risk else None)
    notes += method.check(config, side.rows(torch.from_numpy(train)), gaps) + about_validation + _about_steps(config)
    begin(run, split, config, resume)
    marks = waves.marks if waves else None
    return Prepared(config, dataset, train, validation, model, method, side, risks, marks, trained_on, saved, notes)


def _rows_that_train(config: PretrainConfig, split: Split) -> NDArray[np.int64]:
    """Positions of the recordings that train."""
    if config.train_on == "train":
        return split.train
    return np.sort(np.concatenate([split.train, split.validation, split.test]))


def _rows_that_validate(
    config: PretrainConfig, dataset: EcgDataset, split: Split, fabric: Fabric
) -> tuple[NDArray[np.int64], list[str]]:
    """Positions of the recordings that validate, and a sentence if there are none although they were asked for."""
    none = np.zeros(0, np.int64)
    if not config.validate:
        return none, []
    if config.train_on == "all":
        return none, ["no validation loss: all recordings train"]
    rows, leads = split.validation, config.input_leads
    if leads is not None:
        rows = np.array([i for i in rows if set(leads) <= set(dataset.leads(int(i)))], np.int64)
    if len(rows) < max(2, fabric.world_size):
        return none, [f"no validation loss: {len(rows)} validation recordings, a contrastive loss needs at least 2"]
    return rows, []


def _about_steps(config: PretrainConfig) -> list[str]:
    """Sentences on the schedule and on accumulated gradients."""
    notes = [config.learning_rates(1).note()]
    if config.accumulate > 1:
        notes.append(
            f"accumulate {config.accumulate}: every batch of {config.batch_size} recordings has its own negatives, a "
            f"step does not compare {config.accumulate * config.batch_size}"
        )
    return [note for note in notes if note]


def _model(config: PretrainConfig, encoder: nn.Module | Callable[..., nn.Module] | None) -> Encoder:
    """The encoder to train: the one that is given, or that of ``config.model`` with weights from the seed."""
    if encoder is None:
        return random_encoder(config.model, config.in_channels, config.seed, config.window)
    if isinstance(encoder, nn.Module):
        return as_encoder(encoder, config.in_channels, config.model, config.window)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_from(encoder, config.in_channels, config.model, config.window)
