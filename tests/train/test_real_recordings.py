"""Every method trains on real recordings, with what they say about patients and findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from covering import each_value, exhaustive_except

from ecgloss._files import read_json, read_json_lines
from ecgloss.data.opening import open_dataset
from ecgloss.train.config import PretrainConfig
from ecgloss.train.metadata import BEFORE
from ecgloss.train.methods import METHODS
from ecgloss.train.pretrain import pretrain
from ecgloss.train.side_information import side_information

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def config(real_data: Callable[[str], Path], cache: str, tmp_path: Path) -> Callable[..., PretrainConfig]:
    """A run on a database."""

    def make(name: str, loss: str, label: str) -> PretrainConfig:
        return PretrainConfig(
            data=str(real_data(name)),
            out=str(tmp_path / "run"),
            loss=loss,
            label_column=label if loss == "supcon" else None,
            epochs=1,
            sampling_rate=100.0,
            seconds=3.0,
            cache=cache,
            accelerator="cpu",
        )

    return make


@each_value(
    loss=exhaustive_except(["clef", "supcon", "cmsc"], METHODS),
    database=[("ptbxl", "superdiagnostic"), ("ludb", "rhythm")],
)
def test_every_method_trains_on_real_recordings(config, database, loss):
    name, label = database
    result = pretrain(config(name, loss, label), progress=False)
    losses = [line["loss"] for line in read_json_lines(result.run / "metrics.jsonl")]
    assert len(losses) >= 2
    assert np.isfinite(losses).all()
    card = read_json(result.checkpoint / "card.json")
    assert card["loss"]["name"] == loss


def test_patients_labels_ages_and_sexes_of_ptbxl_reach_the_losses(config):
    settings = config("ptbxl", "supcon", "superdiagnostic")
    dataset = open_dataset(
        settings.data, preprocessing=settings.preprocessing, cache_dir=settings.cache, progress=False
    )
    everybody = np.arange(len(dataset))
    side, gaps = side_information(settings, dataset, everybody)
    name = {int(Path(x).name[:5]): i for i, x in enumerate(dataset.index["name"])}
    assert side.patient[name[137]] == side.patient[name[138]]  # one patient
    assert side.patient[name[145]] == side.patient[name[463]]  # one signal under two patient numbers
    # 331 patient numbers, two of them one patient
    assert len(side.patient.unique()) == 330
    assert gaps == {
        "age": "2 of 358 training recordings have no known age",
        "risk": "104 of 358 training recordings have no known risk",  # 102 are younger than 40 or older than 89
    }
    before = side_information(replace(settings, metadata=BEFORE), dataset, everybody)[1]
    assert before["risk"] == "2 of 358 training recordings have no known risk"
    normal = [i for i, labels in enumerate(dataset.labels("superdiagnostic")) if labels == ("NORM",)]
    assert len(normal) > 100
    assert len(side.label[normal].unique()) == 1
    assert len(side.label.unique()) > 5  # combinations of findings are classes of their own
