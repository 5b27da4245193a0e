"""The check of a table against its recordings: ids that do not fit are named, and shuffled ids show as none."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ecgloss.data import Metadata, from_arrays
from ecgloss.data.dataset import EcgDataset
from ecgloss.evaluate.risk_check import RiskCheck, check_risk, join_for_check, simple_features
from ecgloss.physiology import feature_table
from ecgloss.physiology.table import Physiology

N = 80
AGES = np.linspace(42, 85, N)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> EcgDataset:
    """Recordings that know their age and their patient."""
    x = np.random.default_rng(0).normal(0, 0.3, (N, 1, 200))
    return from_arrays(
        x,
        sampling_rate=100,
        leads=["II"],
        units="mV",
        patient=[f"p{i}" for i in range(N)],
        metadata=[Metadata(age=float(age)) for age in AGES],
        cache_dir=tmp_path_factory.mktemp("cache"),
        progress=False,
    )


def table(path: Path, patients: list[str], ages: np.ndarray) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pid", "age", "sex", "sbp"])
        writer.writerows([patient, f"{age:.1f}", "M", f"{100 + age:.0f}"] for patient, age in zip(patients, ages))
    return path


def features(seed: int = 0) -> dict[str, np.ndarray]:
    """A heart rate that falls with age, and an amplitude that says nothing."""
    rng = np.random.default_rng(seed)
    return {"heart rate": 90 - 0.3 * AGES + rng.normal(0, 4, N), "R amplitude": rng.normal(1, 0.3, N)}


def check(dataset: EcgDataset, path: Path | None, **more) -> RiskCheck:
    return check_risk(dataset, join_for_check(dataset, path), features(**more), score="score2", region="low")


def test_a_table_that_belongs_to_the_recordings_follows_them(dataset, tmp_path):
    patients = [f"p{i}" for i in range(N)]
    found = check(dataset, table(tmp_path / "right.csv", patients, AGES))
    assert found.joined.found == N
    assert found.age_from == "recordings"
    assert found.correlations["age"].value > 0.95
    assert found.related == ["heart rate"]
    assert found.correlations["heart rate"].high < 0
    said = found.sentences()
    assert said[0] == f"{N} of {N} recordings found by pid"
    assert any(line.startswith("rank correlation with R amplitude: ") and line.endswith(": none") for line in said)
    assert said[-1] == "the score is related to the ECG: heart rate"


@pytest.mark.parametrize("seed", range(4))  # of a hundred shuffles, one would show a correlation by chance
def test_shuffled_ids_show_as_none(dataset, tmp_path, seed):
    patients = [f"p{i}" for i in np.random.default_rng(200 + seed).permutation(N)]
    found = check(dataset, table(tmp_path / "shuffled.csv", patients, AGES), seed=seed)
    assert found.related == []
    said = found.sentences()
    assert said[-1] == "the score is not related to the age that the recordings themselves give: ids do not match"
    assert said[-2].startswith("the score is related to no feature of the ECG: ids may be shuffled")


def test_ids_that_do_not_fit_or_stand_twice_are_named_and_not_used(dataset, tmp_path):
    patients = [f"p{i}" for i in range(N)]
    patients[3], patients[7] = "stranger", "p8"
    found = check(dataset, table(tmp_path / "odd.csv", patients, AGES))
    joined = found.joined
    assert joined.found == N - 3
    assert joined.without_recording == ("stranger",)
    assert joined.twice == ("p8",)
    assert len(joined.without_row) == 3
    assert np.isnan(found.risk.risk[[3, 7, 8]]).all()
    said = "\n".join(found.sentences())
    assert "3 recordings have no row, such as " in said
    assert "1 rows fit no recording, such as stranger" in said
    assert "1 entries of pid stand more than once and are not used, such as p8" in said
    content = found.to_json()
    assert content["joined"]["twice"] == ["p8"]
    assert content["correlations"]["age"]["recordings"] == N - 3


def test_without_a_table_the_metadata_of_the_recordings_are_checked(dataset):
    found = join_for_check(dataset)
    assert found.sentences() == ["no table: the metadata are those of the recordings themselves"]
    with pytest.raises(ValueError, match=r"0 of 80 recordings have a score: .*because an input is unknown"):
        check_risk(dataset, found, features(), score="score2", region="low")


def test_a_table_of_nothing_but_duplicates_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match=r"twice\.csv: every entry of pid stands more than once"):
        join_for_check(dataset, table(tmp_path / "twice.csv", ["p1"] * N, AGES))


def test_too_few_recordings_give_no_correlation(dataset, tmp_path):
    found = check(dataset, table(tmp_path / "few.csv", [f"p{i}" for i in range(19)], AGES[:19]))
    assert str(found.correlations["heart rate"]) == "n/a"
    assert found.numbers["heart rate"] == 19
    assert found.to_json()["correlations"]["heart rate"]["value"] is None


def test_features_are_in_beats_per_minute_and_millivolts():
    names = [feature.name for feature in feature_table()]
    values = np.full((2, len(names)), np.nan)
    values[0, names.index("rr_mean")] = 750.0
    values[0, names.index("r_amplitude_mean")] = 1.2
    found = simple_features(Physiology(("II", "II"), values, ()))
    assert found["heart rate"][0] == 80.0
    assert found["R amplitude"][0] == 1.2
    assert np.isnan(found["heart rate"][1])


@pytest.mark.exhaustive
def test_simulated_patients_are_related_to_their_ecg_and_shuffled_ones_are_not(tmp_path):
    from ecgloss.data import Preprocessing, open_dataset
    from ecgloss.physiology import physiology_of

    cohort = open_dataset("synthetic:300", preprocessing=Preprocessing(100.0), cache_dir=tmp_path, progress=False)
    measured = simple_features(physiology_of(cohort, progress=False))
    found = check_risk(cohort, join_for_check(cohort), measured, score="score2", region="moderate")
    assert found.related
    order = np.random.default_rng(0).permutation(len(cohort))
    shuffled = {name: x[order] for name, x in measured.items()}
    assert check_risk(cohort, join_for_check(cohort), shuffled, score="score2", region="moderate").related == []
