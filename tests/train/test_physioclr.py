"""PhysioCLR: its views, what is alike, its loss and its switches, and a run from the command line."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ecgloss.functional as F
from ecgloss._files import read_json, read_json_lines
from ecgloss.cli import main
from ecgloss.data.augment import Augmentation
from ecgloss.data.opening import open_dataset
from ecgloss.data.window import standardise
from ecgloss.models import load_encoder
from ecgloss.physiology import Physiology, delineate, physiology_of
from ecgloss.physiology.marks import WaveMarks
from ecgloss.train.beat_views import Beats, segments
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods import Training, build_method
from ecgloss.train.methods.physioclr import PhysioClrConfig
from ecgloss.train.pair_features import LEAST_QUALITY, pair_features, quantile_of
from ecgloss.train.pretrain import pretrain
from ecgloss.train.run import resume_config
from ecgloss.train.side_information import SideInformation
from ecgloss.train.views import ViewBatch, ViewBatches
from ecgloss.train.waves import Waves, waves_of

CLEAN = Augmentation(noises=("none",), mask_probability=0.0)
B, LENGTH = 9, 32


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def config(cache: str, tmp_path) -> PretrainConfig:
    """A small run on all leads."""
    return PretrainConfig(
        data="synthetic:40",
        out=str(tmp_path / "run"),
        loss="physioclr",
        model="physioclr-small",
        in_channels=12,
        sampling_rate=100.0,
        seconds=4.0,
        batch_size=8,
        epochs=1,
        cache=cache,
        accelerator="cpu",
    )


@pytest.fixture
def dataset(config):
    return open_dataset(config.data, preprocessing=config.preprocessing, cache_dir=config.cache, progress=False)


# Views


@pytest.mark.parametrize(("length", "window"), [(100, 100), (150, 100), (200, 100), (1000, 100), (60, 100)])
def test_a_neighbour_lies_beside_its_window_and_inside_the_recording(length, window):
    found = segments([length] * 200, window, True, torch.Generator().manual_seed(0))
    starts, beside = np.array(found.starts), np.array(found.beside)
    assert (starts >= 0).all()
    assert (starts + window <= max(length, window)).all()
    if length < 2 * window:
        assert (beside == -1).all()
    else:
        assert set(np.abs(starts - beside)) == {window}
        assert (beside >= 0).all()
        assert (beside + window <= length).all()
        assert {True, False} == set((starts < beside).tolist())
    assert segments([length], window, False, torch.Generator()).beside == [-1]


def views_of(dataset, marks: WaveMarks, config: PretrainConfig, rows: list[int]) -> ViewBatch:
    batches = ViewBatches(dataset, np.array(rows), config, epoch=0, marks=marks)
    return batches.augment(batches.draw(torch.tensor(rows), torch.Generator().manual_seed(5)))


def test_views_are_the_window_its_beats_shuffled_the_segment_beside_and_its_waves(config, dataset):
    config = replace(config, augmentation=CLEAN)
    marks = WaveMarks.of(physiology_of(dataset, progress=False).delineations)
    rows = list(range(6))
    made = views_of(dataset, marks, config, rows)
    window, beats = config.window, made.beats
    assert torch.equal(made.view1, beats.target)
    for k, i in enumerate(rows):
        whole = torch.from_numpy(dataset.signal(i))
        cuts = {start: standardise(whole[:, start : start + window]) for start in range(whole.shape[1] - window + 1)}
        (start,) = [start for start, signals in cuts.items() if torch.equal(signals, made.view1[k])]
        assert beats.has_neighbour[k]
        assert any(
            s >= 0 and torch.equal(standardise(whole[:, s : s + window]), beats.neighbour[k])
            for s in (start - window, start + window)
        )
        torch.testing.assert_close(made.view2[k].sort(-1).values, made.view1[k].sort(-1).values)  # the same samples
        assert torch.equal(made.view2[k], made.view1[k]) == bool(beats.unchanged[k])
        found = delineate(dataset.signal(i, "II"), 100.0)
        inside = [r for r in (found.r_peaks - start).round().astype(int) if 0 <= r < window]
        assert len(inside) >= 2
        assert beats.waves[k, inside].all()
    assert not beats.unchanged.all()


def test_a_recording_without_beats_keeps_their_order_and_is_counted(config, dataset):
    nothing = delineate(np.zeros(1000), 100.0)
    marks = WaveMarks.of([nothing] * len(dataset))
    config = replace(config, augmentation=CLEAN, seconds=8.0)
    made = views_of(dataset, marks, config, [0, 1, 2])
    assert made.beats.unchanged.all()
    assert not made.beats.has_neighbour.any()  # 10 s hold no two windows of 8 s
    assert not made.beats.waves.any()
    assert torch.equal(made.view1, made.view2)


# What is alike


def physiology(n: int = 30) -> Physiology:
    """Random features, those of recording 3 of a poor delineation, of recording 4 unknown."""
    values = np.random.default_rng(1).normal(size=(n, 150)) * np.geomspace(0.01, 100, 150)
    values[4] = np.nan
    found = [replace(delineate(np.zeros(1000), 100.0), quality=0.9) for _ in range(n)]
    found[3] = replace(found[3], quality=LEAST_QUALITY - 0.01)
    return Physiology(("II",) * n, values, tuple(found))


def test_scaler_components_and_threshold_see_training_recordings_alone():
    train, known = np.arange(20), physiology()
    first = pair_features(known, train, 10)
    planted = known.features.copy()
    planted[25] = 1e9
    again = pair_features(replace(known, features=planted), train, 10)
    assert first.scaler.to_json() == again.scaler.to_json()
    assert torch.equal(first.cosines, again.cosines)
    assert torch.equal(first.values[:20].nan_to_num(), again.values[:20].nan_to_num())
    assert not torch.equal(first.values[25], again.values[25])
    planted = known.features.copy()
    planted[5] = 1e9
    assert pair_features(replace(known, features=planted), train, 10).scaler.to_json() != first.scaler.to_json()


def test_recordings_of_poor_quality_have_no_features_and_do_not_scale_others():
    train, known = np.arange(20), physiology()
    first = pair_features(known, train, 10)
    assert first.values.isnan().any(1).nonzero().flatten().tolist() == [3, 4]
    planted = known.features.copy()
    planted[3] = 1e9
    assert pair_features(replace(known, features=planted), train, 10).scaler.to_json() == first.scaler.to_json()


def test_a_quantile_is_that_of_pairs_of_training_recordings():
    found = pair_features(physiology(), np.arange(20), 10)
    unit = nn.functional.normalize(found.values[[i for i in range(20) if i not in (3, 4)]].double(), dim=1)
    pairs = (unit @ unit.T)[tuple(torch.triu_indices(18, 18, 1))]
    assert found.threshold("quantile:0.8") == pytest.approx(torch.quantile(pairs, 0.8).item(), abs=1e-6)
    assert found.threshold(0.3) == 0.3


@pytest.mark.parametrize("option", ["quantile:1", "quantile:0", "quantile", "0.9q", "median:0.5", 1.5, "nan", ""])
def test_other_thresholds_are_refused(option):
    with pytest.raises(ValueError, match="threshold must be a cosine in"):
        quantile_of(option)


def test_too_few_recordings_with_features_are_refused():
    with pytest.raises(ValueError, match=r"1 of 2 training recordings have features .*pairs patient or none"):
        pair_features(physiology(), np.array([3, 5]), 10)


# The loss


class Patches(nn.Linear):
    """(B, 1, 32) -> 4 tokens of width 6; the embedding is their mean."""

    in_channels = 1

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(2)
            super().__init__(8, 6, dtype=torch.float64)

    def tokens(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(len(x), 4, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(x).mean(1)


def batch() -> tuple[Tensor, Tensor, SideInformation, Beats]:
    """Recording 2 has unknown waves; 0, 2 and 4 are one patient; 1, 2 and 5 have a neighbour."""
    g = torch.Generator().manual_seed(4)
    view1, view2, target, neighbour = torch.randn(4, B, 1, LENGTH, generator=g, dtype=torch.float64)
    patient = torch.tensor([0, 1, 0, 2, 0, 3, 4, 5, 6])
    features, usable = torch.randn(B, 3, generator=g), torch.arange(B) != 2
    features[2] = torch.nan
    side = SideInformation(torch.rand(B), torch.zeros(B), patient, patient, torch.zeros(B, 2), features, usable)
    known = torch.zeros(B, dtype=torch.bool)
    known[[1, 2, 5]] = True
    waves = torch.rand(B, LENGTH, generator=g) < 0.3
    return view1, view2, side, Beats(target, waves, neighbour, known, torch.arange(B) == 7)


def training(**options) -> Training:
    config = PretrainConfig(
        data="", out="", loss="physioclr", seconds=LENGTH / 500, physioclr=PhysioClrConfig(**options)
    )
    encoder = Patches()
    return Training(encoder, build_method(config, encoder).double(), batch()[2])


def terms(made: Training, beats: Beats | None = None):
    view1, view2, _, own = batch()
    return made(view1, view2, torch.arange(B), own if beats is None else beats)


@pytest.mark.parametrize("projection", [0, 5])
def test_the_loss_is_the_contrastive_term_and_both_reconstruction_errors(projection):
    made = training(projection=projection, global_weight=0.7, peak_weight=0.4)
    found = terms(made)
    view1, view2, side, beats = batch()
    encoder, method = Patches(), made.method
    h, shuffled, neighbour = (method.projection(encoder(x)) for x in (view1, view2, beats.neighbour))
    contrastive = F.physioclr(
        h,
        shuffled,
        side.features.nan_to_num(0.0),  # unlike all others
        h_neighbour=neighbour,
        has_neighbour=beats.has_neighbour & side.usable,
        patient=torch.tensor([0, 1, 99, 2, 0, 3, 4, 5, 6]),
        temperature=0.1,
    )
    torch.testing.assert_close(found.parts["contrastive"], contrastive)
    x_hat = method.decoder(encoder.tokens(view1), LENGTH)
    errors = F.peak_aware_mse(x_hat, beats.target, beats.waves[:, None], global_weight=0.7, peak_weight=0.4)
    torch.testing.assert_close(found.loss, contrastive + errors)
    assert found.parts["unchanged"] == pytest.approx(1 / B)


def test_a_recording_with_unknown_waves_keeps_its_own_views_alone():
    """Its positives are its shuffled view, its negatives all others; nobody has it among the positives."""
    made = training(reconstruction=False, projection=0, pairs="both")
    view1, view2, side, beats = batch()
    h, shuffled = (nn.functional.normalize(Patches()(x)) for x in (view1, view2))
    s = h @ h.T / 0.1
    others = torch.arange(B) != 2
    row = torch.logsumexp(s[2][others], 0) - (h[2] @ shuffled[2]) / 0.1
    features = torch.where(side.usable[:, None], side.features, 0.0)
    result = F.physioclr(
        *(Patches()(x) for x in (view1, view2)),
        features,
        h_neighbour=Patches()(beats.neighbour),
        has_neighbour=beats.has_neighbour & side.usable,
        patient=torch.where(side.usable, side.patient, 99),
        temperature=0.1,
        return_terms=True,
    )
    torch.testing.assert_close(result.rows[2], row)
    torch.testing.assert_close(terms(made).loss, result.loss)


def test_shares_of_positives_and_negatives_are_those_of_the_batch():
    found = terms(training(pairs="both", threshold=0.5)).parts
    _, _, side, _ = batch()
    unit = nn.functional.normalize(side.features.nan_to_num(0.0), dim=1)
    alike = unit @ unit.T >= 0.5
    patient = torch.where(side.usable, side.patient, 99)
    positive = (alike | (patient[:, None] == patient)) & ~torch.eye(B, dtype=torch.bool)
    negative = ~alike & ~torch.eye(B, dtype=torch.bool)
    assert found["positives"] == pytest.approx(positive.sum() / (B * (B - 1)))
    assert found["negatives"] == pytest.approx(negative.sum() / (B * (B - 1)))


def test_pairs_none_contrasts_with_everybody_and_pairs_patient_with_other_patients():
    none, patient = (terms(training(pairs=pairs)).parts for pairs in ("none", "patient"))
    assert (none["positives"], none["negatives"]) == (0, 1)
    assert patient["positives"] == pytest.approx(2 / (B * (B - 1)))  # 0 and 4; 2 counts as a patient of its own
    assert patient["positives"] + patient["negatives"] == pytest.approx(1)


@pytest.mark.parametrize(
    "option",
    [
        {"pairs": "none"},
        {"pairs": "patient"},
        {"pairs": "features"},
        {"reconstruction": False},
        {"peak_weight": 0.0},
        {"global_weight": 0.0},
        {"threshold": 0.9},
        {"features": "encoder"},
        {"features": "encoder", "threshold": "quantile:0.7"},
        {"denominator": "all"},
        {"positives": "mean_out"},
        {"projection": 0},
    ],
)
def test_every_switch_changes_the_loss_and_still_trains_the_encoder(option):
    usual, other = training(), training(**option)
    assert terms(other).loss != terms(usual).loss
    terms(other).loss.backward()
    assert all(p.grad.abs().max() > 0 for p in other.encoder.parameters())
    assert all(p.grad is not None for p in other.parameters() if p.requires_grad)


def test_a_learned_similarity_comes_from_the_momentum_encoder_and_follows_the_encoder():
    made = training(features="encoder", reconstruction=False)
    before = terms(made).parts["positives"]
    with torch.no_grad():
        for p in made.method.momentum_encoder.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    assert terms(made).parts["positives"] != before
    weight = made.method.momentum_encoder.module.weight.clone()
    made.method.after_step(made.encoder)
    torch.testing.assert_close(made.method.momentum_encoder.module.weight, 0.999 * weight + 0.001 * made.encoder.weight)


def test_half_of_the_pairs_of_a_batch_lie_above_their_median_similarity():
    found = terms(training(features="encoder", threshold="quantile:0.5", pairs="features")).parts
    assert 0.3 < found["positives"] < 0.6  # recording 2, unlike all others, takes 2 / 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": "quantile:2"}, "physioclr.threshold must be"),
        ({"peak_weight": -1.0}, "physioclr.peak_weight must lie in"),
        ({"components": 0}, "physioclr.components must be at least 1"),
        ({"projection": -1}, "physioclr.projection at least 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PretrainConfig(data="", out="", loss="physioclr", physioclr=PhysioClrConfig(**options))


def test_an_encoder_without_tokens_cannot_be_reconstructed_from(config):
    encoder = nn.Sequential(nn.Conv1d(12, 4, 5), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    with pytest.raises(ValueError, match=r"has no method tokens.* --physioclr.reconstruction false"):
        pretrain(config, encoder=encoder, progress=False)


# Runs


def test_a_run_counts_and_records_what_it_learned(config, capsys):
    path = ["--out", config.out, "--cache", config.cache]
    words = ["--data", config.data, "--loss", "physioclr", "--model", "physioclr-small", "--in_channels", "12"]
    words += ["--sampling_rate", "100", "--seconds", "4", "--batch_size", "8", "--epochs", "1"]
    assert main(["pretrain", *words, "--physioclr.threshold", "quantile:0.9", *path]) == 0
    shown = capsys.readouterr().err
    assert re.search(r" (9\.9|10\.[01])% of the pairs of training recordings are alike", shown)
    encoder, card = load_encoder(config.out)
    assert encoder.out_features == 128
    assert card.loss["threshold_option"] == "quantile:0.9"
    assert card.loss["temperature"] == 0.1
    assert 0 < card.loss["threshold"] < 1
    assert len(card.loss["scaler"]["names"]) == 150
    lines = read_json_lines(f"{config.out}/metrics.jsonl")
    assert all(0 < line["positives"] < 0.5 and 0.5 < line["negatives"] <= 1 for line in lines)
    assert {"contrastive", "mse", "peak_mse", "unchanged"} <= set(lines[0])


def test_bad_recordings_are_said_and_leave_the_rest(config, dataset, monkeypatch):
    """Noise, a flat lead, all unknown: training goes on with the others."""
    known = physiology_of(dataset, progress=False)
    noise = np.random.default_rng(0).normal(size=1000)
    bad = [delineate(x, 100.0) for x in (noise, np.zeros(1000), np.full(1000, np.nan))]
    values = known.features.copy()
    values[1:3] = np.nan
    planted = replace(known, features=values, delineations=(*bad, *known.delineations[3:]))
    monkeypatch.setattr("ecgloss.train.waves.physiology_of", lambda *_, **__: planted)
    train = np.arange(30)
    waves = waves_of(config, dataset, train, progress=False)
    assert isinstance(waves, Waves)
    assert waves.usable[:30].logical_not().nonzero().flatten().tolist() == [0, 1, 2] + [
        i for i in range(3, 30) if known.delineations[i].quality < LEAST_QUALITY
    ]
    assert waves.gap.startswith(f"{int((~waves.usable[:30]).sum())} of 30 training recordings keep their own views")
    result = pretrain(config, progress=False)
    assert np.isfinite(result.loss)


def test_without_features_no_scaler_is_fitted(config, dataset):
    for pairs in ("none", "patient"):
        waves = waves_of(replace(config, physioclr=PhysioClrConfig(pairs=pairs)), dataset, np.arange(9), progress=False)
        assert waves.features is None
    assert waves_of(replace(config, loss="simclr"), dataset, np.arange(9)) is None


@pytest.mark.real_data
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["ludb", "challenge2021/georgia"])
def test_real_recordings_train_and_resume_bit_for_bit(config, real_data, name, tmp_path):
    config = replace(config, data=str(real_data(name)), epochs=2, batch_size=16)
    whole = pretrain(replace(config, out=str(tmp_path / "whole")), progress=False)
    part = pretrain(replace(config, epochs=1), progress=False)
    settings = resume_config(config.out)
    assert read_json(part.checkpoint / "card.json")["loss"]["name"] == "physioclr"
    resumed = pretrain(replace(settings, epochs=2), resume=True, progress=False)
    for file in ("encoder.safetensors", "method.safetensors", "optimizer.safetensors"):
        assert (resumed.checkpoint / file).read_bytes() == (whole.checkpoint / file).read_bytes()
    losses = [[line["loss"] for line in read_json_lines(r.run / "metrics.jsonl")] for r in (whole, resumed)]
    assert losses[0] == losses[1]
    assert np.isfinite(losses[0]).all()
