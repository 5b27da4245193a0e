"""The risks that a run compares: scores or columns, with what was imputed, left out, hidden and shuffled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgloss.data.dataset import EcgDataset
from ecgloss.data.recording_risk import recording_risk, risk_inputs
from ecgloss.data.table import read_frame
from ecgloss.data.table_columns import parse_columns
from ecgloss.risk.choice import is_score, models_of
from ecgloss.risk.inputs import INPUTS
from ecgloss.risk.missing import fit_imputer
from ecgloss.risk.models import region_of
from ecgloss.risk.population import load_population
from ecgloss.train.config import PretrainConfig
from ecgloss.train.metadata import hidden
from ecgloss.train.seeds import generator

_UNLIKE = 10.0  # ratio of the spreads of two scores from which on the wider one decides alone


@dataclass(frozen=True)
class RunRisk:
    """Risks of all n recordings of a dataset.

    Attributes:
        risk: (n,), or (n, K) for several, fp32, NaN where unknown.
        missing: (n,) share of what they are made of that is missing, fp32.
        notes: Sentences for the user on the training recordings.
        about: Plain values for the card.
    """

    risk: Tensor
    missing: Tensor
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)


def columns_with_risks(config: PretrainConfig) -> str | dict[str, str] | None:
    """What columns of the table mean: as ``config.columns`` says; headings that ``config.risk`` names are risks."""
    own = [name for name in map(str.strip, config.risk.split(",")) if not is_score(name)]
    if config.table is None or not own:
        return config.columns
    meanings, headings = parse_columns(config.columns), read_frame(Path(config.table)).columns
    tasks = {heading if kind == "risk" else kind.partition(":")[2] for kind, heading in meanings.items()}
    return meanings | {f"risk:{name}": name for name in own if name in headings and name not in tasks}


def run_risk(config: PretrainConfig, dataset: EcgDataset, train: NDArray[np.int64]) -> RunRisk:
    """The risks of ``config.risk``: names of scores, coefficient files or regression tasks, separated by commas.

    Args:
        config: The run.
        dataset: The recordings.
        train: Positions of the training recordings, on which an imputation is fitted.

    Raises:
        ValueError: If a name is neither a score nor a regression task of the data, or an option does not fit the data.
    """
    names = [name.strip() for name in config.risk.split(",")]
    groups = dataset.index["group"].to_numpy()
    inputs, dropped = _inputs(config, dataset, names, groups)
    columns, shares, notes = [], [], []
    country = config.metadata.country
    region = config.region if country is None else region_of(country)
    about: dict[str, Any] = {"risk": names, "region": region, "country": country, "scores": {}}
    for name in names:
        if is_score(name):
            said, values, share = _score(config, dataset, name, inputs, train)
            notes += said.pop("notes")
            about["scores"][name] = said
        else:
            values = inputs[name]
            share = np.isnan(values).astype(np.float64)
        columns.append(values)
        shares.append(share)
    risk = torch.from_numpy(np.stack(columns, axis=1)).float()
    missing = torch.from_numpy(np.mean(shares, axis=0)).float()
    if dropped:
        notes.append("metadata.drop hid known values: " + ", ".join(f"{name} {n:,}" for name, n in dropped.items()))
        about["dropped"] = dropped
    if len(names) > 1:
        notes += _unlike(names, risk[torch.from_numpy(train)])
    if config.metadata.shuffle_risk:
        rows = torch.from_numpy(train)
        order = rows[torch.randperm(len(rows), generator=generator(config.metadata.seed, "shuffled risk"))]
        risk[rows], missing[rows] = risk[order], missing[order]
        notes.append("risks are shuffled among the training recordings: they say nothing about the patients")
    about["shuffled"] = config.metadata.shuffle_risk
    return RunRisk(risk[:, 0] if len(names) == 1 else risk, missing, notes, about)


def refuse_unknown(config: PretrainConfig, risk: RunRisk, train: NDArray[np.int64]) -> None:
    """Refuse a run in which no risk is known, or an unknown one where the loss accepts none.

    Raises:
        ValueError: Says why they are unknown, and the way out.
    """
    unknown = torch.isnan(risk.risk[torch.from_numpy(train)].reshape(len(train), -1)).any(dim=1)
    if bool(unknown.all()):
        why = f" ({'; '.join(risk.notes)})" if risk.notes else ""
        raise ValueError(
            f"risk {config.risk}: none of the {len(train)} training recordings has a known risk{why}. Join a table "
            "with --table, take ages out of range with --metadata.extrapolate clip, or choose a --loss without risks"
        )
    if bool(unknown.any()) and config.clef.resolve(config.tau).nan_risk == "raise":
        raise ValueError(
            f"clef.nan_risk raise: {int(unknown.sum())} of {len(train)} training recordings have no known risk; "
            "choose neutral or zero"
        )


def _inputs(
    config: PretrainConfig, dataset: EcgDataset, names: list[str], groups: NDArray[Any]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Inputs of scores, and columns that are risks themselves, with some hidden."""
    inputs: dict[str, Any] = {}
    both = [name for name in names if is_score(name) and name in dataset.tasks()]
    if both:
        raise ValueError(
            f"risk: {both[0]} is a score and a task of the data; give the column another name, "
            "--columns risk:NAME=HEADING"
        )
    if any(is_score(name) for name in names):
        used = {x for name in names if is_score(name) for model in models_of(name) for x in model.inputs} | {
            "age",
            "sex",
        }
        inputs |= {name: x for name, x in risk_inputs(dataset).items() if name in used}
    for name in names:
        if not is_score(name):
            try:
                inputs[name] = dataset.values(name)
            except ValueError as error:
                raise ValueError(
                    f"risk: {error}; a column of a table becomes one with --columns risk=HEADING, and scores are "
                    "score2, prevent, cha2ds2_vasc and others"
                ) from error
    return hidden(inputs, groups, config.metadata)


def _score(
    config: PretrainConfig, dataset: EcgDataset, name: str, inputs: dict[str, Any], train: NDArray[np.int64]
) -> tuple[dict[str, Any], NDArray[np.float64], NDArray[np.float64]]:
    """What is to be said of one score, its values, and the share of its inputs that is missing."""
    options = config.metadata
    known = {x: column for x, column in inputs.items() if x in INPUTS}
    imputer = fit_imputer(known, train, score=name) if options.missing_inputs == "model" else None
    found = recording_risk(
        dataset,
        None if options.country is not None else config.region,
        inputs=known,
        score=name,
        country=options.country,
        extrapolate=options.extrapolate,
        missing_inputs=options.missing_inputs,
        table=options.table,
        imputer=imputer,
    )
    here = found.rows(train)
    population = load_population(options.table)
    said: dict[str, Any] = {
        "models": [model.title for model in found.models],
        "source": {model.title: model.source.get("coefficients", "") for model in found.models},
        "counts": here.counts(),
        "imputed": {x: int(mask.sum()) for x, mask in here.imputed.items() if mask.any()},
        "flagged": {x: int(mask.sum()) for x, mask in here.flags.items() if mask.any()},
        "table": {"name": population.name, "title": population.title},
        "imputer": None if imputer is None else imputer.to_json(),
        "notes": [f"{name}: {sentence}" for sentence in here.sentences("training recordings")],
    }
    return said, found.risk, found.missing


def _unlike(names: list[str], risk: Tensor) -> list[str]:
    """A sentence if one of several risks varies so much more than another that it decides alone."""
    spread = {name: float(np.nanstd(column.numpy())) for name, column in zip(names, risk.T) if not column.isnan().all()}
    spread = {name: x for name, x in spread.items() if x > 0}
    if len(spread) < 2 or max(spread.values()) < _UNLIKE * min(spread.values()):
        return []
    wide, narrow = (pick(spread, key=lambda name: spread[name]) for pick in (max, min))
    return [
        f"risks of unlike spread are added: {wide} varies {spread[wide] / spread[narrow]:.0f} times as much as "
        f"{narrow}, which hardly counts beside it; scale the columns"
    ]
