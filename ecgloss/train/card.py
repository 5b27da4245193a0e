"""The card of a checkpoint, card.json: what the encoder was trained on, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

import ecgloss
from ecgloss.data.dataset import EcgDataset
from ecgloss.models.encoder import Encoder
from ecgloss.models.pretrained import EncoderCard
from ecgloss.train.checkpoint import Position
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import Method


def training_card(
    config: PretrainConfig,
    dataset: EcgDataset,
    training_recordings: int,
    model: Encoder,
    method: Method,
    position: Position,
    loss: float,
    risk: Mapping[str, Any] | None = None,
) -> EncoderCard:
    """The card of a checkpoint at ``position``, whose last step had the given loss.

    ``risk`` says how the risks came about, see :class:`ecgloss.train.risks.RunRisk`; it is written for methods that
    compare them.
    """
    return EncoderCard(
        model=config.model,
        in_channels=model.in_channels,
        preprocessing=dataset.preprocessing.to_json(),
        seconds=config.seconds,
        leads=list(config.input_leads or sorted({lead for i in range(len(dataset)) for lead in dataset.leads(i)})),
        loss={"name": config.loss, **method.describe()},
        data={
            "name": dataset.name,
            "source": config.data,
            "fingerprint": dataset.fingerprint,
            "recordings": len(dataset),
            "training_recordings": training_recordings,
            "skipped": len(dataset.skipped),
            **({"risk": dict(risk)} if risk and method.compares_risk else {}),
        },
        training=config.to_json(),
        progress={"step": position.step, "epochs": position.epoch, "loss": loss},
        versions={"ecgloss": ecgloss.__version__, "torch": torch.__version__},
    )
