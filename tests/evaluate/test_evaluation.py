"""From recordings to a result: embeddings, targets, and the comparison with a random encoder."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ecgloss.data import Preprocessing, Split, split_by_patient
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.opening import open_dataset
from ecgloss.data.recording_risk import recording_risks
from ecgloss.data.window import cut, standardise
from ecgloss.evaluate import Part, linear_probe
from ecgloss.evaluate.embed import embed, write_embeddings
from ecgloss.evaluate.evaluation import RANDOM, TRAINED, Evaluation, evaluate_linear, matching_split
from ecgloss.evaluate.report import evaluation_report
from ecgloss.evaluate.resampling import Estimate
from ecgloss.evaluate.tasks import task_targets
from ecgloss.models import load_encoder, random_encoder
from ecgloss.train.config import PretrainConfig
from ecgloss.train.pretrain import Result, pretrain


class Leads:
    """Recordings with different leads and lengths."""

    preprocessing = Preprocessing(100.0, 0.67, 40.0)

    def __init__(self) -> None:
        names = [("I", "II"), ("II",), ("I", "II", "V1"), ("V1", "I"), ("II", "I")]
        rng = np.random.default_rng(0)
        self.signals = [
            {lead: rng.normal(size=250 + 50 * i).astype(np.float32) for lead in leads} for i, leads in enumerate(names)
        ]

    def __len__(self) -> int:
        return len(self.signals)

    def leads(self, i: int) -> tuple[str, ...]:
        return tuple(self.signals[i])

    def signal(self, i: int, lead: str) -> np.ndarray:
        return self.signals[i][lead]


def one_by_one(model: torch.nn.Module, data: Leads, i: int, lead: str, length: int) -> np.ndarray:
    x = standardise(torch.from_numpy(cut(data.signal(i, lead), length)))
    with torch.inference_mode():
        return model(x[None, None])[0].numpy()


# fp32 convolutions in batches of different size: a few units in the last place of values of order 1.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def test_all_is_the_mean_of_a_recordings_leads_whatever_the_batch():
    model, data = random_encoder("small", 1, 0).eval(), Leads()
    expected = [np.mean([one_by_one(model, data, i, lead, 300) for lead in data.leads(i)], axis=0) for i in range(5)]
    for batch_size in (1, 3, 128):
        z = embed(model, data, lead="all", seconds=3.0, batch_size=batch_size, progress=False)
        assert z.dtype == np.float32
        np.testing.assert_allclose(z, expected, **CLOSE)


def test_one_lead_is_embedded_alone_in_the_order_of_the_rows():
    model, data = random_encoder("small", 1, 0), Leads()
    rows = [4, 0, 2]
    z = embed(model.train(), data, lead="II", seconds=2.8, rows=rows, batch_size=2, progress=False)
    assert not model.training  # batch statistics would mix recordings
    np.testing.assert_allclose(z, [one_by_one(model, data, i, "II", 280) for i in rows], **CLOSE)
    every = embed(model, data, lead="all", seconds=2.8, rows=rows, progress=False)
    whole = embed(model, data, lead="all", seconds=2.8, progress=False)
    np.testing.assert_allclose(every, whole[rows], **CLOSE)


def test_no_recordings_have_no_embeddings():
    model = random_encoder("small", 1, 0)
    assert embed(model, Leads(), rows=[], progress=False).shape == (0, model.out_features)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: str) -> Result:
    config = PretrainConfig(
        data="synthetic:90",
        out=str(tmp_path_factory.mktemp("runs") / "run"),
        epochs=1,
        batch_size=16,
        sampling_rate=100.0,
        seconds=3.0,
        lr=1e-3,
        cache=cache,
        accelerator="cpu",
    )
    return pretrain(config, progress=False)


def evaluate(trained: Result, cache: str, data: str = "synthetic:90", task: str = "sex", **options) -> Evaluation:
    return evaluate_linear(trained.run, data, task=task, cache_dir=cache, progress=False, **options)


@pytest.fixture(scope="module")
def evaluation(trained: Result, cache: str) -> Evaluation:
    return evaluate(trained, cache)


def test_a_lead_that_is_not_there_is_an_error_that_lists_the_leads(trained, cache):
    with pytest.raises(ValueError, match=r"has no V9; its leads are I, II, III"):
        evaluate(trained, cache, lead="V9")


def test_embeddings_are_written_with_what_identifies_them(trained, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    z = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    rows = [5, 0, 7]
    write_embeddings(tmp_path / "z.parquet", trained.dataset, z, rows)
    table = parquet.read_table(tmp_path / "z.parquet").to_pydict()
    assert table["record"] == trained.dataset.index["name"].iloc[rows].tolist()
    assert table["patient"] == trained.dataset.index["patient"].iloc[rows].tolist()
    np.testing.assert_array_equal(np.array(table["embedding"], np.float32), z)


def labelled(labels: list[tuple[str, ...] | None]) -> EcgDataset:
    """Stands for a dataset with the one task "rhythm"."""

    def find(task: str):
        return labels

    return SimpleNamespace(source="db", tasks=lambda: ["rhythm"], labels=find)  # type: ignore[return-value]


def test_one_label_each_is_multiclass_and_unlabelled_recordings_are_left_out():
    targets = task_targets(labelled([("AF",), None, ("SR",), ("AF",)]), "rhythm")
    assert (targets.kind, targets.classes) == ("multiclass", ("AF", "SR"))
    assert targets.rows.tolist() == [0, 2, 3]
    assert targets.values.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("labels", "classes", "values"),
    [
        ([("AF",), ("AF", "SR"), None], ("AF", "SR"), [[1, 0], [1, 1]]),
        ([("AF",), (), ("SR",)], ("AF", "SR"), [[1, 0], [0, 0], [0, 1]]),
        ([("AF",), ()], ("AF",), [[1], [0]]),
    ],
)
def test_several_or_no_labels_are_multilabel(labels, classes, values):
    targets = task_targets(labelled(labels), "rhythm")
    assert (targets.kind, targets.classes) == ("multilabel", classes)
    assert targets.values.tolist() == values


def test_labels_that_nobody_has_are_an_error():
    with pytest.raises(ValueError, match="no recording has a label for the task 'rhythm'"):
        task_targets(labelled([(), None]), "rhythm")


def test_tasks_of_the_cohort_have_the_kind_their_values_ask_for(trained):
    data = trained.dataset
    kinds = {task: task_targets(data, task).kind for task in ("sex", "ectopy", "hypertrophy", "heart_rate", "age")}
    expected = ["multiclass", "multilabel", "multilabel", "regression", "regression"]
    assert list(kinds.values()) == expected
    ages = task_targets(data, "age")
    np.testing.assert_array_equal(ages.values, data.index["age"].to_numpy(np.float64)[ages.rows])
    sexes = task_targets(data, "sex")
    assert [sexes.classes[i] for i in sexes.values] == data.index["sex"].iloc[sexes.rows].tolist()


@pytest.mark.parametrize("region", ["low", "very_high"])
def test_the_task_risk_is_the_clinical_risk_of_the_recordings(trained, region):
    targets = task_targets(trained.dataset, "risk", region=region)
    risk = recording_risks(trained.dataset, region)[0].numpy()
    assert targets.kind == "regression"
    np.testing.assert_array_equal(targets.rows, np.flatnonzero(np.isfinite(risk)))
    np.testing.assert_array_equal(targets.values.astype(np.float32), risk[targets.rows])


def test_an_unknown_task_is_an_error_that_lists_the_tasks(trained):
    with pytest.raises(ValueError, match=r"has no task 'mood'; it has ectopy, hypertrophy, sex, .*age, risk"):
        task_targets(trained.dataset, "mood")


def test_both_encoders_are_probed_on_the_test_patients_of_pretraining(trained, evaluation):
    split = Split.load(trained.run / "split.json")
    assert evaluation.split.startswith("that of pretraining")
    assert list(evaluation.results) == [RANDOM, TRAINED]
    for result in evaluation.results.values():
        assert (result.n_train, result.n_validation) == (len(split.train), len(split.validation))
        assert result.n_test == len(split.test)
        assert result.kind == "multiclass"
    assert "checkpoint minus random encoder, AUROC" in str(evaluation)


def test_the_result_is_a_probe_of_the_checkpoints_own_embeddings(trained, evaluation):
    """Built again from its pieces, without the evaluation's helpers."""
    data, split = trained.dataset, Split.load(trained.run / "split.json").align(trained.dataset)
    sex = data.index["sex"].to_numpy()
    targets = np.array([("female", "male").index(x) for x in sex.tolist()])
    groups = data.index["group"].to_numpy()
    difference = {}
    for name, model in ((TRAINED, load_encoder(trained.run)[0]), (RANDOM, random_encoder("small", 1, 0))):
        z = embed(model, data, lead="I", seconds=3.0, progress=False)
        rows_of = (split.train, split.validation, split.test)
        parts = [Part(z[rows], targets[rows], groups[rows]) for rows in rows_of]
        expected = linear_probe(*parts, kind="multiclass", classes=("female", "male"))
        assert evaluation.results[name].summary() == expected.summary()
        difference[name] = expected.metrics["auroc"].value
        if name == TRAINED:
            np.testing.assert_array_equal(evaluation.embeddings, z)
    assert evaluation.difference.value == pytest.approx(difference[TRAINED] - difference[RANDOM], abs=1e-12)
    assert evaluation.difference.low <= evaluation.difference.value <= evaluation.difference.high


def test_other_data_get_a_split_of_their_own_and_the_result_says_so(trained, cache):
    evaluation = evaluate(trained, cache, "synthetic:40:3")
    assert evaluation.split == "new, by patient, seed 42"
    split = split_by_patient(evaluation.dataset, seed=42)
    assert evaluation.results[TRAINED].n_test == len(split.test)
    parts = [set(evaluation.dataset.index["group"].iloc[rows]) for rows in (split.train, split.validation, split.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))


def test_a_lost_split_is_not_silently_replaced_by_one_called_that_of_pretraining(trained, cache, tmp_path):
    """A checkpoint copied without its run: the result must not claim the split of pretraining."""
    copied = tmp_path / "runs" / "checkpoints" / "step"
    copied.mkdir(parents=True)
    for file in trained.checkpoint.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    evaluation = evaluate_linear(copied, "synthetic:90", task="sex", cache_dir=cache, progress=False)
    assert not evaluation.split.startswith("that of pretraining")


def test_a_fraction_of_labels_is_that_fraction(trained, cache):
    evaluation = evaluate(trained, cache, task="heart_rate", label_fraction=0.1)
    n_train = len(Split.load(trained.run / "split.json").train)
    result = evaluation.results[TRAINED]
    assert result.n_train == round(0.1 * n_train)
    assert result.n_validation <= result.n_train
    assert evaluation.labels == str(result.n_train)
    assert evaluation.main_metric == "mae"


@pytest.mark.parametrize("fraction", [0.0, 1.1, -1.0, float("nan")])
def test_an_impossible_fraction_is_an_error(trained, cache, fraction):
    with pytest.raises(ValueError, match=r"label_fraction must lie in \(0, 1\]"):
        evaluate(trained, cache, label_fraction=fraction)


def test_the_same_seed_gives_the_same_result(trained, cache, evaluation):
    assert evaluate(trained, cache).to_json() == evaluation.to_json()


def strict(path: Path) -> dict:
    """What a JSON reader other than Python's accepts: no NaN."""

    def refuse(constant: str):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_a_saved_result_is_json_with_all_numbers(evaluation, tmp_path):
    evaluation.save(tmp_path / "result.json")
    saved = strict(tmp_path / "result.json")
    assert saved["task"] == "sex"
    assert saved["difference"]["metric"] == "auroc"
    assert saved["results"][TRAINED] == evaluation.results[TRAINED].summary()


def test_a_result_without_an_interval_is_saved_as_json_too(evaluation, tmp_path):
    unknown = replace(evaluation, difference=Estimate(0.1, float("nan"), float("nan")))
    unknown.save(tmp_path / "result.json")
    assert strict(tmp_path / "result.json")["difference"]["low"] is None


@pytest.mark.slow
def test_the_report_shows_table_curves_views_and_map(evaluation, tmp_path):
    page = evaluation_report(tmp_path / "report.html", evaluation).read_text(encoding="utf-8")
    assert [page.count(f"<h2>{title}</h2>") for title in ("Results", "Training", "One recording, two views")] == [1] * 3
    assert page.count("data:image/png") == 5
    assert str(evaluation.results[TRAINED].metrics["auroc"]) in page


@pytest.mark.slow
def test_a_report_for_an_encoder_without_its_run_leaves_the_curves_out(evaluation, tmp_path):
    alone = replace(evaluation, checkpoint=tmp_path / "a" / "b" / "c")
    page = evaluation_report(tmp_path / "report.html", alone).read_text(encoding="utf-8")
    assert "<h2>Training</h2>" not in page
    assert "<h2>Results</h2>" in page


def test_repeated_rows_are_repeated_embeddings():
    model, data = random_encoder("small", 1, 0), Leads()
    z = embed(model, data, lead="all", seconds=2.8, rows=[2, 2, 0], progress=False)
    whole = embed(model, data, lead="all", seconds=2.8, progress=False)
    np.testing.assert_allclose(z, whole[[2, 2, 0]], **CLOSE)


def test_patients_seen_in_pretraining_are_not_tested_on(tmp_path):
    big, small = (
        open_dataset(
            f"synthetic:{n}", preprocessing=Preprocessing(sampling_rate=100.0), cache_dir=tmp_path, progress=False
        )
        for n in (60, 40)
    )
    before = split_by_patient(big, seed=1)
    before.save(tmp_path / "run" / "split.json")
    checkpoint = tmp_path / "run" / "checkpoints" / "step-1"
    card = SimpleNamespace(data={"fingerprint": big.fingerprint, "name": big.name}, training={"seed": 2})
    split, origin = matching_split(checkpoint, card, small)
    assert re.fullmatch(
        r"new, by patient, seed 2; \d+ of \d+ test patients overlap with pretraining: excluded \(\d+ recordings .*",
        origin,
    )
    trained = {before.names[i] for i in before.train}
    patients = small.index["patient"].to_numpy()
    seen = {patient for patient, name in zip(patients, split.names) if name in trained}
    assert seen
    assert not seen & set(patients[np.concatenate([split.validation, split.test])])
    card.data["name"] = "another database"
    assert "moved" not in matching_split(checkpoint, card, small)[1]
    card.data["fingerprint"] = small.fingerprint
    with pytest.raises(ValueError, match="differ"):  # the split of a run is never applied to other recordings
        matching_split(checkpoint, card, small)
