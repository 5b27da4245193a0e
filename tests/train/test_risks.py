"""What a run compares: every score and column, metadata that is missing or hidden, and a look before the first step."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgloss._files import read_json
from ecgloss.cli import main
from ecgloss.data import open_dataset
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.recording_risk import recording_risk, risk_inputs
from ecgloss.data.splits import Split
from ecgloss.models.pretrained import checkpoints
from ecgloss.pairs.look import look_at_weights
from ecgloss.risk import Imputer, clinical_risk, fit_imputer
from ecgloss.train.config import PretrainConfig
from ecgloss.train.metadata import BEFORE, MetadataOptions, hidden
from ecgloss.train.pretrain import pretrain
from ecgloss.train.risks import RunRisk, columns_with_risks, refuse_unknown, run_risk
from ecgloss.train.run import resume_config

TRAIN = np.arange(3, 23)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def config(tmp_path: Path, cache: str) -> PretrainConfig:
    options = {"sampling_rate": 100.0, "seconds": 3.0, "epochs": 1, "batch_size": 8}
    return PretrainConfig("synthetic:24", str(tmp_path / "run"), cache=cache, accelerator="cpu", **options)


def opened(config: PretrainConfig) -> EcgDataset:
    return open_dataset(
        config.data,
        preprocessing=config.preprocessing,
        cache_dir=config.cache,
        table=config.table,
        columns=config.columns,
        progress=False,
    )


@pytest.fixture
def with_table(config: PretrainConfig, tmp_path: Path) -> PretrainConfig:
    """A table with the inputs of every score, and two own scores."""
    rng = np.random.default_rng(0)
    rows = ["record,egfr,bmi,htn_drugs,lipid_drugs,hf,htn,stroke_tia,vasc,dm_age,a1c,mine,other"]
    for name in opened(config).index["name"]:
        yes = ",".join(map(str, rng.integers(0, 2, 6)))
        rows.append(
            f"{name},{rng.uniform(40, 110):.0f},{rng.uniform(20, 38):.1f},{yes},40,7.1,{rng.random()},{rng.random()}"
        )
    path = tmp_path / "table.csv"
    path.write_text("\n".join(rows))
    columns = "egfr=egfr,bmi=bmi,bp_treated=htn_drugs,statin=lipid_drugs,heart_failure=hf,hypertension=htn"
    columns += ",stroke=stroke_tia,vascular=vasc,age_at_diagnosis=dm_age,hba1c:%=a1c,risk:mine=mine,risk:other=other"
    return replace(config, table=str(path), columns=columns)


@pytest.mark.parametrize(
    "score", ["auto", "prevent", "prevent_ascvd", "prevent_hf", "score2_diabetes", "cha2ds2_vasc", "cha2ds2_va"]
)
def test_a_run_can_compare_every_score(with_table, score):
    dataset = opened(with_table)
    found = run_risk(replace(with_table, risk=score), dataset, TRAIN)
    expected = clinical_risk(**risk_inputs(dataset), score=score, region="moderate")
    np.testing.assert_allclose(found.risk.numpy(), expected.risk, rtol=1e-6)  # fp32
    np.testing.assert_allclose(found.missing.numpy(), expected.missing, rtol=1e-6)
    assert np.isfinite(found.risk.numpy()).sum() > 10
    assert found.about["scores"][score]["counts"]["patients"] == len(TRAIN)
    assert all("doi:" in source for source in found.about["scores"][score]["source"].values())
    if score == "score2_diabetes":
        np.testing.assert_allclose(dataset.index["hba1c"], (7.1 - 2.15) * 10.929)


def test_scores_and_columns_can_be_compared_together(with_table):
    dataset = opened(with_table)
    found = run_risk(replace(with_table, risk="score2, prevent,mine"), dataset, TRAIN)
    assert found.risk.shape == (24, 3)
    parts = [recording_risk(dataset, "moderate", score=score) for score in ("score2", "prevent")]
    np.testing.assert_allclose(found.risk[:, 1].numpy(), parts[1].risk, rtol=1e-6)
    np.testing.assert_allclose(found.risk[:, 2].numpy(), dataset.values("mine"), rtol=1e-6)
    np.testing.assert_allclose(found.missing.numpy(), (parts[0].missing + parts[1].missing) / 3, rtol=1e-6)
    assert any(note.startswith("prevent: scores in use: PREVENT total CVD 20") for note in found.notes)


def test_headings_that_the_risk_names_need_no_columns(with_table):
    assert columns_with_risks(replace(with_table, columns=None, risk="score2")) is None
    bare = replace(with_table, columns="egfr=egfr,risk:mine=other", risk="mine,other,nothing")
    assert columns_with_risks(bare) == {"egfr": "egfr", "risk:mine": "other", "risk:other": "other"}


def test_scores_of_unlike_spread_are_named(with_table):
    found = run_risk(replace(with_table, risk="score2,cha2ds2_vasc"), opened(with_table), TRAIN)
    assert any("cha2ds2_vasc varies" in note and "scale the columns" in note for note in found.notes)


def test_a_name_that_is_score_and_column_or_neither_is_refused(with_table):
    dataset = opened(replace(with_table, columns=str(with_table.columns).replace("risk:mine", "risk:prevent")))
    with pytest.raises(ValueError, match="prevent is a score and a task of the data; give the column another name"):
        run_risk(replace(with_table, risk="prevent"), dataset, TRAIN)
    with pytest.raises(ValueError, match=r"risk: synthetic:24:0 has no regression task 'nonsense'.* scores are score2"):
        run_risk(replace(with_table, risk="nonsense"), dataset, TRAIN)


def test_the_country_decides_the_region_and_is_in_the_card(config):
    dataset = opened(config)
    found = run_risk(replace(config, metadata=MetadataOptions(country="Turkey")), dataset, TRAIN)
    expected = recording_risk(dataset, "high").risk
    np.testing.assert_allclose(found.risk.numpy(), expected, rtol=1e-6)
    assert (found.about["region"], found.about["country"]) == ("high", "Turkey")
    american = run_risk(replace(config, risk="auto", metadata=MetadataOptions(country="USA")), dataset, TRAIN)
    assert american.about["scores"]["auto"]["counts"]["with_risk"] > 10
    assert any("scores in use: PREVENT total CVD" in note for note in american.notes)


def test_values_in_another_unit_are_flagged_before_training(config):
    dataset = opened(config)
    dataset.index.loc[[5, 6], "sbp"] = [17.0, 0.0]
    found = run_risk(config, dataset, TRAIN)
    assert found.about["scores"]["score2"]["flagged"] == {"sbp_in_kPa": 1, "sbp_impossible": 1}
    assert any(note.startswith("score2: sbp_in_kPa: 1 of 20 training recordings, not used") for note in found.notes)


def test_an_own_score_is_a_file(config, tmp_path):
    model = {"title": "Mine", "link": "points", "valid": {}, "terms": {"age": {"input": "age"}}}
    model["sexes"] = {"any": {"coefficients": {"age": 2}}}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"format": "ecgloss.risk/1", "models": {"mine": model}}))
    dataset = opened(config)
    found = run_risk(replace(config, risk=str(path)), dataset, TRAIN)
    assert found.risk.tolist() == (2 * dataset.index["age"]).tolist()


# Hidden metadata


def test_hidden_metadata_is_missing_for_all_recordings_of_a_patient_and_more_hides_more():
    n = 2000
    patients = np.arange(n) // 2
    columns = {"age": np.full(n, 50.0), "sex": ["male"] * n, "sbp": np.full(n, 130.0), "smoker": np.zeros(n)}
    gone = []
    for drop in (0.2, 0.5):
        found, count = hidden(columns, patients, MetadataOptions(drop=drop, seed=1))
        gone.append(np.isnan(found["sbp"]))
        assert abs(gone[-1].mean() - drop) < 0.05
        assert (gone[-1][::2] == gone[-1][1::2]).all()
        assert count == {"sbp": gone[-1].sum(), "smoker": np.isnan(found["smoker"]).sum()}
        assert not np.isnan(found["age"]).any()
    assert (gone[1] | ~gone[0]).all()
    assert not np.array_equal(gone[1], np.isnan(found["smoker"]))
    other, _ = hidden(columns, patients, MetadataOptions(drop=0.5, seed=2))
    assert not np.array_equal(gone[1], np.isnan(other["sbp"]))
    sexless, count = hidden(columns, patients, MetadataOptions(drop=1.0, drop_columns="sex, sbp"))
    assert sexless["sex"] == [None] * n
    assert count == {"sex": n, "sbp": n}


def test_hidden_inputs_are_imputed_and_counted_as_missing(config):
    dataset = opened(config)
    whole = run_risk(config, dataset, TRAIN)
    without = replace(config, metadata=MetadataOptions(drop=1.0, drop_columns="sbp"))
    found = run_risk(without, dataset, TRAIN)
    assert found.about["dropped"]["sbp"] == int(dataset.index["sbp"].notna().sum())
    assert any(note.startswith("metadata.drop hid known values: sbp ") for note in found.notes)
    known = torch.from_numpy(dataset.index["sbp"].notna().to_numpy())
    torch.testing.assert_close(found.missing - whole.missing, known.float() / 6)
    with pytest.raises(ValueError, match=r"metadata.drop_columns: weight is none of the inputs of the risk: sex, age"):
        run_risk(replace(config, metadata=MetadataOptions(drop=1.0, drop_columns="weight")), dataset, TRAIN)


def test_shuffled_risks_are_the_same_risks_of_other_patients(config):
    dataset = opened(config)
    whole = run_risk(config, dataset, TRAIN)
    found = run_risk(replace(config, metadata=MetadataOptions(shuffle_risk=True)), dataset, TRAIN)
    rows = torch.from_numpy(TRAIN)
    pairs = [sorted(zip(x.risk[rows].tolist(), x.missing[rows].tolist())) for x in (whole, found)]
    assert pairs[0] == pairs[1]
    assert not torch.equal(whole.risk[rows], found.risk[rows])
    assert torch.equal(whole.risk[:3], found.risk[:3])  # those of other recordings stay
    assert found.about["shuffled"] is True


# Card and configuration


def test_the_card_says_how_the_risks_came_about(config):
    metadata = MetadataOptions(missing_inputs="model", drop=0.5, seed=3)
    result = pretrain(replace(config, metadata=metadata), progress=False)
    card = read_json(result.checkpoint / "card.json")
    about = card["data"]["risk"]
    score = about["scores"]["score2"]
    assert set(about["dropped"]) == {"sbp", "total_chol", "hdl_chol", "smoker", "diabetes"}
    assert score["counts"]["patients"] == card["data"]["training_recordings"]
    assert score["counts"]["with_imputed_inputs"] > 0
    assert score["table"]["name"] == "europe"
    train = Split.load(result.run / "split.json").align(result.dataset).train
    inputs, _ = hidden(risk_inputs(result.dataset), result.dataset.index["group"].to_numpy(), metadata)
    assert Imputer.from_json(score["imputer"]) == fit_imputer(inputs, train)
    assert PretrainConfig.from_json(card["training"]).metadata == metadata
    other = pretrain(replace(config, loss="simclr", out=config.out + "-simclr"), progress=False)
    assert "risk" not in read_json(other.checkpoint / "card.json")["data"]


def test_a_run_begun_before_there_were_these_options_goes_on_with_the_risks_it_had(config):
    config = replace(config, metadata=BEFORE)
    whole = (checkpoints(pretrain(config, progress=False).run)[-1] / "encoder.safetensors").read_bytes()
    path = Path(config.out) / "config.json"
    settings = read_json(path)
    del settings["metadata"]
    path.write_text(json.dumps(settings))
    assert resume_config(config.out) == config
    pretrain(resume_config(config.out), resume=True, progress=False)
    assert (checkpoints(config.out)[-1] / "encoder.safetensors").read_bytes() == whole
    dataset = opened(config)
    dataset.index.loc[7, "age"] = 25.0
    found = run_risk(config, dataset, TRAIN)
    expected = clinical_risk(
        **risk_inputs(dataset) | {"age": dataset.index["age"].clip(40, 89)}, region="moderate", table="sex_means"
    )
    np.testing.assert_allclose(found.risk.numpy(), expected.risk, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": 1.5}, r"metadata.drop must lie in \[0, 1\]; got 1.5"),
        ({"drop_columns": "sbp"}, "metadata.drop_columns sbp needs metadata.drop"),
        ({"seed": -1}, "metadata.seed must be at least 0; got -1"),
        ({"country": "Atlantis"}, "country: 'Atlantis' is in no risk region"),
        ({"table": "asia"}, "metadata.table must be europe, sex_means or a .json file; got asia"),
    ],
)
def test_options_on_metadata_are_checked_before_anything_is_read(config, options, message):
    with pytest.raises(ValueError, match=message):
        replace(config, metadata=MetadataOptions(**options))


# A look before the first step


@pytest.fixture
def own(tmp_path: Path, cache: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Train CLEF one epoch on 24 recordings with given ages and risks; returns the exit code and what stderr says."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "ecg.npy", rng.normal(0, 300, (24, 1, 300)).astype(np.float32))

    def run(ages, risks=None, *more: str) -> tuple[int, str]:
        risks = [""] * 24 if risks is None else risks
        rows = [f"{i},{age},M,{'' if risk != risk else risk}" for i, (age, risk) in enumerate(zip(ages, risks))]
        (tmp_path / "table.csv").write_text("\n".join(["record,age,sex,score", *rows]))
        words = [
            "pretrain",
            "--data",
            str(tmp_path / "ecg.npy"),
            "--units",
            "uV",
            "--leads",
            "II",
            "--source_rate",
            "100",
        ]
        words += ["--sampling_rate", "100", "--seconds", "3", "--epochs", "1", "--batch_size", "8", "--split", "all"]
        words += ["--table", str(tmp_path / "table.csv"), "--columns", "risk:mine=score", "--cache", cache]
        words += ["--out", str(tmp_path / "run"), "--accelerator", "cpu", *more]
        code = main(words)
        return code, capsys.readouterr().err

    return run


def test_ages_out_of_range_are_an_error_that_says_why_unless_they_are_clipped(own, tmp_path):
    code, said = own([20 + i / 2 for i in range(24)])
    assert code == 1
    assert "risk score2: none of the 24 training recordings has a known risk" in said
    assert "24 of 24 training recordings have no risk, because a value lies outside the range of the score" in said
    assert "--metadata.extrapolate clip" in said
    assert not (tmp_path / "run").exists()
    code, said = own([20 + i / 2 for i in range(24)], None, "--metadata.extrapolate", "clip")
    assert code == 0
    assert "24 of 24 training recordings were clipped to the range of the score" in said
    assert "all known risks are equal: every pair has the weight alpha" in said


def test_some_ages_out_of_range_are_counted(own):
    code, said = own([30.0] * 4 + [50.0 + i for i in range(20)])
    assert code == 0
    assert "4 of 24 training recordings have no risk, because a value lies outside the range" in said
    assert "clef: 4 of 24 training recordings have no known risk" in said


def test_equal_risks_an_outlier_and_unknown_risks_are_said_before_the_first_step(own, tmp_path):
    ages = [50] * 24
    mine = ("--risk", "mine")
    cases = (
        ([0.1] * 24, "all known risks are equal: every pair has the weight alpha, the risk says nothing"),
        ([0.01 * (i % 3) for i in range(23)] + [3.0], r"one risk (3) sets the scale of all weights"),
        ([0.1, 0.2] + [float("nan")] * 22, "92% of risks are unknown: all pairs with one of them are weighted alike"),
    )
    for k, (risks, sentence) in enumerate(cases):
        code, said = own(ages, risks, *mine, "--out", str(tmp_path / f"run{k}"))
        assert code == 0
        assert said.index(sentence) < said.index("clef 1/1:")
    code, said = own(ages, cases[2][0], *mine, "--out", str(tmp_path / "raise"), "--clef.nan_risk", "raise")
    assert code == 1
    assert "clef.nan_risk raise: 22 of 24 training recordings have no known risk" in said
    config, unknown = (
        PretrainConfig("x", str(tmp_path), risk="mine"),
        RunRisk(torch.full((3,), torch.nan), torch.ones(3)),
    )
    with pytest.raises(ValueError, match="none of the 3 training recordings has a known risk"):
        refuse_unknown(config, unknown, np.arange(3))


# Weights


def test_a_fixed_scale_takes_the_outlier_away():
    risk = torch.rand(200, generator=torch.Generator().manual_seed(0)) * 0.1
    assert look_at_weights(risk).sentences() == []
    risk[17] = 5.0
    look = look_at_weights(risk)
    assert look.degenerate
    assert look.outlier == pytest.approx((5.0,))
    assert look.scale == pytest.approx((risk[risk < 1].max() - risk.min()).item() ** 2, rel=1e-5)
    assert f"risk_scale {look.scale:.3g}" in look.sentences()[0]
    assert look_at_weights(risk, risk_scale=look.scale).sentences() == []


def test_a_rare_disease_gives_degenerate_weights_without_an_outlier():
    risk = torch.zeros(200)
    risk[:3] = 1.0
    look = look_at_weights(risk)
    assert look.outlier is None
    assert look.alike == pytest.approx(197 * 196 / (200 * 199) + 3 * 2 / (200 * 199), rel=1e-6)
    assert "weights are degenerate: 97% of them lie within 5%" in look.sentences()[0]


def test_the_outlier_is_seen_among_many_recordings_and_several_scores():
    risk = torch.rand(5000, 2, generator=torch.Generator().manual_seed(0)) * 0.1
    risk[4321, 1] = 40.0
    look = look_at_weights(risk, torch.zeros(5000))
    assert look.outlier is not None
    assert look.outlier[1] == 40.0
    assert len(look.weights) <= 1024 * 1023 // 2
    assert look_at_weights(torch.full((4,), torch.nan)).unknown == 1.0
