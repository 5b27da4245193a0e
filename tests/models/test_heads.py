"""Classifiers: the Challenge's 26 classes with equivalents merged, atrial fibrillation, and their loss."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from torch import nn

from ecgloss.data import open_dataset
from ecgloss.data.challenge_classes import CHALLENGE_CLASSES, af_targets, challenge_targets
from ecgloss.data.preprocess import Preprocessing
from ecgloss.evaluate.classifiers import af_classifier, challenge_classifier
from ecgloss.models import Classifier, multilabel_loss, physioclr


def test_26_classes_hold_30_codes_and_no_code_twice():
    codes = [code for c in CHALLENGE_CLASSES for code in c.codes]
    assert len(CHALLENGE_CLASSES) == len({c.name for c in CHALLENGE_CLASSES}) == 26
    assert len(codes) == len(set(codes)) == 30


@pytest.mark.real_data
def test_every_scored_code_of_the_challenge_has_its_class_and_equivalents_share_one(real_data):
    with (real_data("challenge2021") / "dx_mapping_scored.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        by_code, by_name = challenge_targets([(row["SNOMED CT Code"],), (row["Abbreviation"],)])
        assert by_code.sum() == 1, row
        assert np.array_equal(by_code, by_name), row
        other = [word.strip(".") for word in row["Notes"].split() if word.strip(".").isdigit()]
        for code in other:
            assert np.array_equal(challenge_targets([(code,)])[0], by_code), row


@pytest.mark.real_data
def test_georgia_has_targets_and_a_classifier_learns_them(real_data, tmp_path):
    dataset = open_dataset(
        real_data("challenge2021") / "georgia",
        preprocessing=Preprocessing(sampling_rate=100.0),
        cache_dir=tmp_path,
        progress=False,
    )
    labels = dataset.labels("diagnosis")
    targets = torch.from_numpy(challenge_targets(labels))
    scored = [sum(any(name in (c.name, *c.aliases) for c in CHALLENGE_CLASSES) for name in found) for found in labels]
    assert targets.sum(1).tolist() == scored  # no recording there has two equivalents
    assert (af_targets(labels)[:, 0] == [float("AF" in found) for found in labels]).all()
    torch.manual_seed(0)
    model = challenge_classifier(physioclr("physioclr-small", 12))
    x = torch.from_numpy(np.stack([dataset.signal(i)[:, :500] for i in range(16)]))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        loss = multilabel_loss(model(x), targets[:16])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_the_loss_leaves_out_what_is_unknown_and_weighs_positives():
    logits = torch.tensor([[0.3, -0.2], [1.0, 2.0]], requires_grad=True)
    targets = torch.tensor([[1.0, torch.nan], [0.0, 1.0]])
    weight = torch.tensor([3.0, 5.0])
    p = logits.detach().sigmoid()
    expected = -(3 * p[0, 0].log() + (1 - p[1, 0]).log() + 5 * p[1, 1].log()) / 3
    loss = multilabel_loss(logits, targets, weight)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert logits.grad[0, 1] == 0
    assert multilabel_loss(logits, torch.full((2, 2), torch.nan)) == 0
    with pytest.raises(ValueError, match="targets must have the shape of logits"):
        multilabel_loss(logits, targets[:1])


def test_a_classifier_names_its_classes_and_takes_any_encoder():
    encoder = nn.Sequential(nn.Conv1d(2, 5, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    encoder.out_features = 5
    model = af_classifier(encoder).eval()
    x = torch.randn(3, 2, 40)
    assert model.classes == ("AF",)
    torch.testing.assert_close(model.probabilities(x), model(x).sigmoid())
    with pytest.raises(ValueError, match="classes must be different names"):
        Classifier(encoder, ["AF", "AF"])
    with pytest.raises(ValueError, match="dropout must lie in"):
        Classifier(encoder, ["AF"], dropout=1.0)
