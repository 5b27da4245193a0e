"""Premature beats one by one: found, labelled, embedded, and decided by probes of other patients."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ectopic_records import RATE, ectopic_record, write_cpsc2020

from ecgloss._files import read_json, write_json
from ecgloss.cli import main
from ecgloss.data import Preprocessing, Split, prepare
from ecgloss.data.beat_record import BeatRecord
from ecgloss.data.cards import choose
from ecgloss.data.window import standardise
from ecgloss.evaluate.beat_evaluation import RANDOM, TRAINED, evaluate_beats, read_beats
from ecgloss.evaluate.beat_matching import BeatCounts, count_beats
from ecgloss.evaluate.leave_out import leave_patients_out, validation_patients
from ecgloss.evaluate.single_beats import OTHER, embed_beats, find_beats, label_beats
from ecgloss.models import random_encoder
from ecgloss.models.pretrained import find_checkpoint
from ecgloss.physiology import delineate
from ecgloss.physiology.r_peaks import r_peaks

pytest.importorskip("neurokit2")

COARSE = Preprocessing(100.0)
SMALL = ["--sampling-rate", "100", "--seconds", "3", "--batch-size", "16", "--accelerator", "cpu", "--epochs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five records in the layout of CPSC 2020."""
    path = tmp_path_factory.mktemp("cpsc2020")
    write_cpsc2020(path, 5)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    files = ["--data", "synthetic:32", "--cache", str(path / "cache"), "--out", str(path / "run")]
    assert main(["pretrain", *files, *SMALL]) == 0
    return path / "run"


# R peaks


def test_pieces_find_the_peaks_of_the_whole_and_no_border_costs_or_adds_one():
    signal, _ = ectopic_record(3, 40.0)
    whole = delineate(signal, RATE).r_peaks
    for piece_s in (40.0, 7.0, 10.4):
        found = r_peaks(signal, RATE, piece_s=piece_s)
        assert len(found) == len(whole)
        np.testing.assert_allclose(found, whole, atol=2)  # samples of 2.5 ms


def test_what_is_no_signal_has_no_peaks():
    assert (
        len(r_peaks(np.zeros(8000), RATE)) == len(r_peaks(np.full(8000, np.nan), RATE)) == len(r_peaks([], RATE)) == 0
    )
    with pytest.raises(ValueError, match="one lead"):
        r_peaks(np.zeros((2, 8000)), RATE)
    with pytest.raises(ValueError, match="must be positive"):
        r_peaks(np.zeros(8000), 0)


# Labels and windows


def test_a_mark_labels_one_peak_and_a_mark_without_a_peak_none():
    peaks = np.array([100.0, 140.0, 500.0, 900.0, 1300.0])
    marks = {"S": np.array([104.0, 2000.0]), "V": np.array([560.0, 961.0])}
    # 104 is nearer to 100 than to 140; 60 samples are in reach, 61 are not
    assert label_beats(peaks, marks, 400.0).tolist() == [0, OTHER, 1, OTHER, OTHER]
    assert label_beats(np.zeros(0), marks, 400.0).tolist() == []


def test_simulated_beats_are_found_and_labelled_as_they_were_made(folder):
    _, beats, skipped = read_beats(folder, COARSE, progress=False)
    assert [record.name for record in beats] == ["A01", "A02", "A03", "A04", "A05"]
    assert not skipped
    total = BeatCounts()
    for k, record in enumerate(beats, 1):
        _, marks = ectopic_record(k)
        for kind, at in marks.items():
            np.testing.assert_array_equal(record.marks[kind], at)
        found = count_beats(record.peaks, np.concatenate(list(marks.values())), 60)
        assert (record.labels != OTHER).sum() == found.true_positives
        total += count_beats(record.peaks, marks["S"], 60)
    assert total.sensitivity > 0.9  # of V the detector misses more than half, which count as missed


def test_the_window_of_a_beat_is_cut_around_it_and_padded_as_short_recordings_are():
    signal = np.random.default_rng(0).normal(size=(2, 4000)).astype(np.float32)
    record = BeatRecord("a", "a", signal, ("V5", "II"), RATE, {})
    model = random_encoder("small", 1, 0)
    found = find_beats(record, COARSE)
    prepared = prepare(signal[1:], RATE, COARSE)  # lead II
    np.testing.assert_array_equal(found.signal, prepared)
    z = embed_beats(model, found, COARSE, seconds=3.0, window_s=2.0, batch_size=3)
    wide = np.pad(prepared[0], 300)
    for i, centre in enumerate(found.centres):
        window = np.pad(wide[300 + centre - 100 : 300 + centre + 100], (0, 100))
        with torch.inference_mode():
            expected = model(standardise(torch.from_numpy(window))[None, None])[0]
        np.testing.assert_allclose(z[i], expected, rtol=1e-4, atol=1e-5)
    assert embed_beats(model, find_beats(record, COARSE, ["V5"]), COARSE, seconds=3.0).shape[1] == z.shape[1]
    with pytest.raises(ValueError, match="has no I; its leads are V5, II"):
        find_beats(record, COARSE, ["I"])


# Probes that leave a patient out


def separable(n_patients: int = 6, n: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that tell two rare classes, targets, patients."""
    rng = np.random.default_rng(0)
    kinds = rng.choice(3, size=n_patients * n, p=[0.8, 0.1, 0.1])
    y = (kinds[:, None] == [1, 2]).astype(float)
    patients = np.repeat([f"p{k}" for k in range(n_patients)], n)
    return np.hstack([y, np.zeros_like(y)]) + 0.05 * rng.normal(size=(len(y), 4)), y, patients


def test_classes_that_features_tell_are_decided_rightly_for_every_patient():
    x, y, patients = separable()
    found = leave_patients_out(x, y, patients, classes=["S", "V"])
    np.testing.assert_array_equal(found.decisions, np.where(y.any(1), y.argmax(1), -1))
    assert found.tested == ("p0", "p1", "p2", "p3", "p4", "p5")
    assert [t + v for t, v in zip(found.n_train, found.n_validation)] == [400] * 6
    assert found.unlearnt == ((),) * 6


def test_a_patients_own_rows_change_nothing_about_the_probe():
    x, y, patients = separable()
    y_false = y.copy()
    y_false[patients == "p2"] = np.roll(y[patients == "p2"], 1, axis=1)  # S and V exchanged
    honest, other = (leave_patients_out(x, t, patients, classes=["S", "V"]) for t in (y, y_false))
    own = patients == "p2"
    np.testing.assert_array_equal(honest.decisions[own], other.decisions[own])


def test_validation_patients_hold_a_share_of_every_class_and_never_the_tested_one():
    y = np.zeros((60, 2))
    whose = np.repeat(list("abcdef"), 10)
    y[[0, 11, 22], 0] = 1  # S in a, b, c
    y[[33, 44], 1] = 1  # V in d, e
    for tested in "abcf":
        chosen = validation_patients(y, whose, tested, ["d"], np.random.default_rng(0))
        assert tested not in chosen
        assert "d" not in chosen
        rows = np.isin(whose, chosen)
        others = ~rows & (whose != tested)
        assert y[rows].any(axis=0).all()
        assert y[others].any(axis=0).all()


def test_a_class_of_one_patient_cannot_be_learnt_and_is_never_said():
    x, y, patients = separable()
    y[patients != "p1", 1] = 0
    found = leave_patients_out(x, y, patients, classes=["S", "V"])
    assert found.unlearnt == (("V",),) * 6
    assert set(found.decisions.tolist()) == {-1, 0}
    with pytest.raises(ValueError, match="no class of S, V occurs in three patients"):
        leave_patients_out(x, np.zeros_like(y), patients, classes=["S", "V"])


def test_patients_the_encoder_has_seen_train_only_and_few_labels_are_few():
    x, y, patients = separable()
    found = leave_patients_out(
        x, y, patients, classes=["S", "V"], never_tested=["p0", "p1"], label_fraction=0.1, seed=3
    )
    assert found.tested == ("p2", "p3", "p4", "p5")
    assert (found.decisions[np.isin(patients, ["p0", "p1"])] == -1).all()
    assert max(found.n_train) <= 32
    assert max(found.n_validation) <= 32
    with pytest.raises(ValueError, match="need three patients at least"):
        leave_patients_out(x[:160], y[:160], patients[:160], classes=["S", "V"])
    with pytest.raises(ValueError, match="got 6 patients, of whom 0 can be tested"):
        leave_patients_out(x, y, patients, classes=["S", "V"], never_tested=list(np.unique(patients)))


# The whole way


def test_the_task_runs_from_the_command_line_and_its_numbers_can_be_counted_again(folder, run, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["evaluate", "--checkpoint", str(run), "--data", str(folder), "--task", "single_beats", "--out", str(out)]
    capsys.readouterr()
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "F1 of S, all labels" in said
    assert "5 records of 5 patients" in said
    assert "official score of CPSC 2020, checkpoint: S " in said
    assert (out / "report.html").read_text().count("F1 of V") >= 1
    results = read_json(out / "results.json")
    reference = {k: sum(len(ectopic_record(p)[1][k]) for p in range(1, 6)) for k in "SV"}
    for name in (RANDOM, TRAINED):
        for kind, found in results["results"][name]["kinds"].items():
            tp, fp, fn = (found[x] for x in ("true_positives", "false_positives", "false_negatives"))
            assert tp + fn == reference[kind]
            assert found["f1"]["value"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
            assert found["points"] <= -5 * fn + 10  # a detection in reach of two beats serves both
            assert found["false_per_hour"] == pytest.approx(fp * 12)  # five minutes
        assert [probe["patient"] for probe in results["results"][name]["probes"]] == ["A01", "A02", "A03", "A04", "A05"]


def test_patients_of_pretraining_are_not_tested(folder, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    checkpoint = find_checkpoint(tmp_path / "run")
    card = read_json(checkpoint / "card.json")
    write_json(checkpoint / "card.json", card | {"data": card["data"] | {"name": "cpsc2020"}})
    names = ("A01/0000", "A01/0001", "A02/0000", "A03/0000")
    parts = (np.array([1, 3]), np.array([2]), np.array([0]))  # A01 and A03 were trained on
    Split(*parts, 0, (0.5, 0.25, 0.25), card["data"]["fingerprint"], names).save(tmp_path / "run" / "split.json")
    evaluation = evaluate_beats(tmp_path / "run", folder, n_boot=10, label_fraction=0.5, progress=False)
    assert evaluation.notes == ["2 patients are not tested: the encoder was pretrained on them (A01, A03)"]
    assert [record.name for record in evaluation.beats] == ["A02", "A04", "A05"]
    assert evaluation.results[TRAINED].probes.tested == ("A02", "A04", "A05")
    assert "F1 of V, 50 % of labels" in str(evaluation)


def test_what_does_not_fit_the_task_is_named(folder, run, tmp_path, capsys):
    words = ["evaluate", "--checkpoint", str(run), "--task", "single_beats", "--data"]
    for more, named, code in (
        ([str(folder), "--split", "all"], "--split does not apply", 2),
        ([str(folder), "--lead", "all"], "needs one lead", 1),
        ([str(folder), "--lead", "V9"], "A01: has no V9; its leads are ECG", 1),
        (["synthetic:20"], "reads the folder of a database", 1),
        ([str(tmp_path)], "marks no single premature beats", 1),
    ):
        capsys.readouterr()
        assert main([*words, *more]) == code
        assert named in capsys.readouterr().err


def test_records_that_cannot_be_read_are_skipped_with_the_reason(folder, tmp_path):
    write_cpsc2020(tmp_path, 2, 10.0)
    (tmp_path / "TrainingSet/ref/R02.mat").unlink()
    _, beats, skipped = read_beats(tmp_path, COARSE, progress=False)
    assert [record.name for record in beats] == ["A01"]
    assert [str(record) for record in skipped] == ["A02: ref/R02.mat with its premature beats is missing"]


def test_marks_of_mitdb_are_its_annotations(real_data):
    found = {entry.name: entry.read() for entry in choose(real_data("mitdb")).beat_records(real_data("mitdb"))}
    assert {name: (len(r.marks["S"]), len(r.marks["V"])) for name, r in found.items()} == {
        "100": (33, 1),
        "106": (0, 520),
        "109": (0, 38),
        "114": (12, 43),
        "118": (96, 16),
        "203": (2, 444),
        "217": (0, 162),
        "222": (209, 0),
    }  # the table of beats in the directory of the database
    assert len(r_peaks(found["100"].signal[0], 360.0)) == pytest.approx(2273, abs=5)


@pytest.mark.exhaustive
def test_the_task_runs_on_mitdb(real_data, run):
    evaluation = evaluate_beats(run, real_data("mitdb"), label_fraction=0.1, n_boot=100, progress=False)
    assert len(evaluation.beats) == 8
    found = evaluation.results[TRAINED].counts
    assert sum(c.true_positives + c.false_negatives for c in found["V"]) == 1224
    assert "8 records of 8 patients, 4.01 hours" in str(evaluation)
