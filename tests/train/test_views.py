"""Batches of two views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgloss.data.augment import NOISES, Augmentation
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.opening import open_dataset
from ecgloss.data.window import cut, standardise
from ecgloss.train.config import PretrainConfig
from ecgloss.train.views import ViewBatches, WindowBatches
from ecgloss.train.windows import Windows

CLEAN = Augmentation(noises=("none",), mask_probability=0.0)


@pytest.fixture(scope="module")
def config() -> PretrainConfig:
    return PretrainConfig(data="synthetic:30", out="", batch_size=8, sampling_rate=100.0, seconds=4.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, config: PretrainConfig) -> EcgDataset:
    folder = tmp_path_factory.mktemp("cache")
    return open_dataset("synthetic:30", preprocessing=config.preprocessing, cache_dir=folder, progress=False)


ROWS = np.arange(3, 29)


def test_shapes_and_scale(dataset, config):
    batch = ViewBatches(dataset, ROWS, config, epoch=0)[0]
    assert batch.view1.shape == batch.view2.shape == (8, 1, 400)
    for view in (batch.view1, batch.view2):
        torch.testing.assert_close(view.mean(-1), torch.zeros(8, 1), atol=1e-5, rtol=0)  # fp32 mean of 400
        torch.testing.assert_close(view.square().mean(-1), torch.ones(8, 1), atol=1e-5, rtol=0)


def test_an_epoch_shows_each_training_recording_at_most_once_and_no_other(dataset, config):
    batches = ViewBatches(dataset, ROWS, config, epoch=0)
    seen = torch.cat([batches[k].rows for k in range(len(batches))]).tolist()
    assert len(seen) == len(set(seen)) == 24
    assert set(seen) <= set(ROWS.tolist())


def test_batches_can_be_repeated_and_epochs_differ(dataset, config):
    first, again = (ViewBatches(dataset, ROWS, config, epoch=2)[1] for _ in range(2))
    assert torch.equal(first.view1, again.view1)
    assert torch.equal(first.view2, again.view2)
    assert not torch.equal(first.rows, ViewBatches(dataset, ROWS, config, epoch=3)[1].rows)


def test_a_recording_gets_other_views_in_every_epoch_and_batch(dataset, config):
    """Otherwise its augmentations would be the same all through the training."""
    often = np.full(24, 7)  # one recording, so that only the draws can differ
    batches = [
        ViewBatches(dataset, often, config, epoch=0)[0],
        ViewBatches(dataset, often, config, epoch=0)[1],
        ViewBatches(dataset, often, config, epoch=1)[0],
        ViewBatches(dataset, often, replace(config, seed=9), epoch=0)[0],
    ]
    views = [view for batch in batches for view in (*batch.view1, *batch.view2)]
    assert all(not torch.equal(a, b) for i, a in enumerate(views) for b in views[:i])


def test_a_recording_gets_other_views_in_every_place_of_a_batch(dataset, config):
    """Recordings that stand more than 16 places apart do not draw together, and must not draw the same."""
    batch = ViewBatches(dataset, np.full(40, 7), replace(config, batch_size=40), epoch=0)[0]
    assert len({view.numpy().tobytes() for view in batch.view1}) == 40


def test_without_augmentation_equal_leads_give_equal_views_of_the_recording(dataset, config):
    config = replace(config, augmentation=CLEAN, same_lead_probability=1.0, seconds=10.0)
    batch = ViewBatches(dataset, ROWS, config, epoch=0)[0]
    assert batch.leads1 == batch.leads2
    assert torch.equal(batch.view1, batch.view2)
    for k, (row, lead) in enumerate(zip(batch.rows.tolist(), batch.leads1)):
        expected = standardise(torch.from_numpy(dataset.signal(row, lead)))
        assert torch.equal(batch.view1[k, 0], expected)


def test_views_share_their_lead_as_often_as_asked(dataset, config):
    def share(probability: float) -> float:
        chosen = replace(config, same_lead_probability=probability)
        batches = [ViewBatches(dataset, ROWS, chosen, epoch) for epoch in range(8)]
        pairs = [pair for b in batches for k in range(3) for pair in zip(b[k].leads1, b[k].leads2)]
        return float(np.mean([a == b for a, b in pairs]))

    assert share(1.0) == 1.0
    assert share(0.0) == 0.0
    assert 0.68 < share(0.8) < 0.92  # 192 draws: four standard deviations


def test_both_views_are_cut_at_the_same_place(dataset, config):
    config = replace(config, augmentation=CLEAN, same_lead_probability=1.0)
    batches = ViewBatches(dataset, ROWS, config, epoch=0)
    assert all(torch.equal(batches[k].view1, batches[k].view2) for k in range(len(batches)))


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_processes_share_the_batch_that_one_would_have(dataset, config, ranks):
    config = replace(config, batch_size=23)  # neither a chunk of generators nor a process's part divides it
    whole = ViewBatches(dataset, ROWS, config, epoch=0)[0]
    parts = [ViewBatches(dataset, ROWS, config, 0, rank, ranks)[0] for rank in range(ranks)]
    for name in ("rows", "view1", "view2"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    assert [lead for part in parts for lead in part.leads2] == whole.leads2


@pytest.mark.parametrize("channels", [1, 12])
def test_a_device_makes_of_windows_the_views_that_a_loader_makes(dataset, config, channels):
    """A view depends on its window and its numbers alone, not on what stands beside it."""
    mixed = Augmentation(noises=NOISES[:-1], shift_s=0.1, scale=(0.5, 2.0), lead_mask_probability=0.3)
    config = replace(config, augmentation=mixed, in_channels=channels, batch_size=20)
    batches = ViewBatches(dataset, ROWS, config, epoch=0)
    raw, made = WindowBatches(batches)[0], batches[0]
    assert raw.windows.x.shape == (2, 20, channels, 400)
    again = batches.augment(raw.to(torch.device("cpu")))
    assert torch.equal(made.view1, again.view1)
    draws, lead_draws = (x[:1].expand_as(x) for x in raw.windows[1:])
    x = raw.windows.x[:1].expand_as(raw.windows.x)
    same = batches.augment(replace(raw, windows=Windows(x, draws, lead_draws)))
    assert torch.equal(same.view1, made.view1)
    assert torch.equal(same.view2, made.view1)
    assert not torch.equal(made.view2, made.view1)


def test_few_recordings_make_one_smaller_batch(dataset, config):
    batches = ViewBatches(dataset, ROWS[:5], config, epoch=0)
    assert len(batches) == 1
    assert len(batches[0].rows) == 5


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_cut_keeps_samples_in_order_and_pads_with_zeros(samples, length, at):
    window = cut(np.arange(1.0, samples + 1), length, at)
    assert window.shape == (length,)
    kept = window[window > 0]
    assert len(kept) == min(samples, length)
    assert (np.diff(kept) == 1).all()


def test_standardise_never_makes_nan_of_a_flat_lead():
    x = torch.stack([torch.zeros(9), torch.full((9,), 3.0), torch.arange(9.0)])
    z = standardise(x)
    assert torch.isfinite(z).all()
    assert (z[:2] == 0).all()
