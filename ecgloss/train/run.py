"""The folder of a run before the first step: an existing run is kept, and what resuming needs is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgloss._files import read_json, write_json
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.splits import Split, chosen_split, unknown_patients
from ecgloss.models.pretrained import checkpoints
from ecgloss.train.config import PretrainConfig

SPLIT, CONFIG = "split.json", "config.json"


def resume_config(run: str | Path) -> PretrainConfig:
    """The configuration of an existing run.

    Raises:
        ValueError: if there is no such run.
    """
    path = Path(run) / CONFIG
    if not path.is_file():
        raise ValueError(f"{run} is not a training run: it has no {CONFIG}")
    try:
        return PretrainConfig.from_json({**read_json(path), "out": str(run)})
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not the configuration of a run: {error}") from error


def latest_checkpoint(run: Path, resume: bool) -> Path | None:
    """The checkpoint to continue from, None for a new run.

    Raises:
        ValueError: if the folder holds a checkpoint and ``resume`` is False, so that no run is overwritten by accident.
    """
    found = checkpoints(run)
    if found and not resume:
        raise ValueError(
            f"{run} holds a training run already; continue it with --resume {run}, or choose another --out"
        )
    return found[-1] if found else None


def run_split(run: Path, dataset: EcgDataset, config: PretrainConfig, resume: bool) -> tuple[Split, list[str]]:
    """The split of the run: that of its folder to resume, else that of the database or a new one; with what to say.

    Raises:
        ValueError: if too few recordings are left to train on, or the recordings are not those of the run.
    """
    path = run / SPLIT
    if resume and path.is_file():
        return Split.load(path).align(dataset), []
    split, which = chosen_split(dataset, config.split, seed=config.seed, fractions=config.fractions)
    if len(split.train) < 2:
        raise ValueError(f"{config.data}: {len(split.train)} training recordings, a contrastive loss needs at least 2")
    about = [] if which.startswith("new") else [f"split: {which}"]
    return split, about + unknown_patients(dataset)


def rows_with_leads(
    dataset: EcgDataset, rows: NDArray[np.int64], leads: tuple[str, ...] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """The recordings that have all leads of the input, and a sentence on those that have not, if there are any.

    Raises:
        ValueError: if fewer than two have them.
    """
    if leads is None:
        return rows, []
    lacking = {int(i): [lead for lead in leads if lead not in dataset.leads(int(i))] for i in rows}
    kept = np.array([i for i, absent in lacking.items() if not absent], np.int64)
    absent = sorted({lead for leads_of_one in lacking.values() for lead in leads_of_one}, key=leads.index)
    if len(kept) < 2:
        raise ValueError(
            f"{len(kept)} of {len(rows)} training recordings have all of the leads {', '.join(leads)}, which the "
            f"encoder sees at once; some lack {', '.join(absent)}. Choose others with --leads and --in_channels"
        )
    left_out = len(rows) - len(kept)
    note = f"{left_out} of {len(rows)} training recordings are left out: they lack some of {', '.join(absent)}"
    return kept, [note] if left_out else []


def begin(run: Path, split: Split, config: PretrainConfig, resume: bool) -> None:
    """Write split and options before the first step; a resumed run has them already."""
    if resume and (run / SPLIT).is_file():
        return
    run.mkdir(parents=True, exist_ok=True)
    split.save(run / SPLIT)
    write_json(run / CONFIG, config.to_json())
