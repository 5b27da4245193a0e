"""Noise of the right strength, kind and frequency; masks of the right length; nothing else touched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgloss.data.augment import (
    CLEF_NOISES,
    NOISES,
    Augmentation,
    add_noise,
    augment,
    mask_leads,
    mask_run,
    scale,
    shared_lead_choice,
    shift,
)
from ecgloss.data.noise import MAKERS, mains_hum

RATE, LENGTH = 250.0, 2500


def power_below(x: torch.Tensor, hz: float) -> torch.Tensor:
    """Fraction of each row's power below a frequency."""
    power = torch.fft.rfft(x.double()).abs().square()
    frequency = torch.fft.rfftfreq(x.shape[1], 1 / RATE)
    return power[:, frequency <= hz].sum(1) / power.sum(1)


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(NOISES),
    rows=st.integers(1, 5),
    length=st.integers(50, 3000),
    rate=st.floats(121, 1000),
    rms=st.floats(0.0, 2.0),
    seed=st.integers(0, 2**31),
)
def test_noise_has_exactly_the_rms_asked_for_and_leaves_its_input(kind, rows, length, rate, rms, seed):
    x = torch.randn(rows, length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    before = x.clone()
    y = add_noise(x, rate, [kind], rms, torch.Generator().manual_seed(seed))
    assert torch.equal(x, before)
    assert torch.isfinite(y).all()
    expected = 0.0 if kind == "none" else rms
    # the noise is made in fp32
    torch.testing.assert_close(
        (y - x).square().mean(1).sqrt(), torch.full((rows,), expected).double(), rtol=1e-4, atol=1e-9
    )


@pytest.mark.parametrize("kind", NOISES)
def test_the_same_generator_gives_the_same_bits_and_another_seed_does_not(kind, rng):
    x = torch.randn(4, LENGTH, generator=rng)
    a, b, c = (add_noise(x, RATE, [kind], 0.1, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert torch.equal(a, c) == (kind == "none")


def test_spectra_are_those_of_the_disturbances(rng):
    noise = {kind: make(200, LENGTH, RATE, rng) for kind, make in MAKERS.items()}
    assert power_below(noise["baseline"], 0.75).min() > 0.99  # all of it lies below 0.7 Hz
    # An envelope that changes in a second spreads the 5 Hz edge by less than 2 Hz.
    assert power_below(noise["motion"], 3.0).max() < 0.05
    assert (1 - power_below(noise["motion"], 43.0)).max() < 0.05
    # A step that decays in 0.1 to 1 s has half its power below 1 / (2 pi 0.1 s) = 1.6 Hz or less.
    assert power_below(noise["electrode"], 2.0).median() > 0.5
    assert (1 - power_below(noise["electrode"], 5.0)).median() > 0.001


def test_muscle_activity_comes_in_bursts(rng):
    x = MAKERS["motion"](100, LENGTH, RATE, rng)
    seconds = x.reshape(100, 10, 250).square().mean(2)
    ratio = seconds.amax(1) / seconds.amin(1)
    assert ratio.median() > 5  # stationary noise of this band gives about 2


def test_electrode_steps_are_sudden(rng):
    x = MAKERS["electrode"](100, LENGTH, RATE, rng)
    jumps = x.diff(dim=1).abs()
    assert (jumps.amax(1) / jumps.median(1).values).median() > 30


def test_every_kind_is_chosen_about_as_often(rng):
    x = torch.zeros(4000, 100)
    y = add_noise(x, 100.0, CLEF_NOISES, 1.0, rng)
    silent = (y == 0).all(1).float().mean()
    assert 0.17 < silent < 0.23  # 1 in 5, five standard deviations


def test_mask_runs_have_the_lengths_and_the_frequency_asked_for(rng):
    y = mask_run(torch.ones(4000, 1000), 0.2, (0.1, 0.3), rng)
    zeros = (y == 0).sum(1)
    hit = zeros > 0
    assert 0.17 < hit.float().mean() < 0.23  # five standard deviations of 4,000 draws
    assert zeros[hit].min() >= 100
    assert zeros[hit].max() <= 300
    assert abs(zeros[hit].float().mean() - 200) < 12  # six standard errors
    edges = (y.diff(dim=1) != 0).sum(1)
    assert edges.max() <= 2, "one run"
    assert (y[:, :20] == 0).any()  # 800 runs, each within 20 samples of an end with probability 20/800
    assert (y[:, -20:] == 0).any()


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 200), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**31))
def test_masking_zeroes_within_bounds_and_changes_nothing_else(rows, length, a, b, seed):
    low, high = sorted((a, b))
    x = torch.rand(rows, length) + 1
    y = mask_run(x, 1.0, (low, high), torch.Generator().manual_seed(seed))
    zeros = (y == 0).sum(1)
    assert (zeros >= int(low * length)).all()
    assert (zeros <= int(high * length) + 1).all()
    assert torch.equal(y[y != 0], x[y != 0])


def test_second_view_repeats_the_lead_with_the_probability_asked_for(rng):
    first, second = shared_lead_choice([12] * 5000, 0.8, rng)
    assert 0.77 < (first == second).float().mean() < 0.83  # five standard deviations
    for view in (first, second):
        assert torch.bincount(view, minlength=12).min() > 300  # 417 expected
    other = second[first != second] - first[first != second]
    assert torch.bincount(other % 12, minlength=12)[1:].min() > 50  # 91 expected: every other lead alike


def test_one_lead_is_shown_twice_and_two_leads_alternate(rng):
    first, second = shared_lead_choice(torch.tensor([1, 2, 2]), 0.0, rng)
    assert first[0] == second[0] == 0
    assert (first[1:] + second[1:] == 1).all()


def test_augment_is_noise_then_mask(rng):
    x = torch.randn(64, LENGTH, generator=rng)
    y = augment(x, RATE, Augmentation(mask_probability=1.0), rng)
    assert ((y == 0).sum(1) >= 0.1 * LENGTH).all()
    clean = Augmentation(noises=("none",), mask_probability=0.0)
    assert torch.equal(augment(x, RATE, clean, rng), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_rms": -0.1}, "noise_rms must be finite and at least 0 mV; got -0.1"),
        ({"noises": ("hum",)}, "noises must name some of none, motion, electrode, baseline, mixture, mains; got hum"),
        ({"noises": ()}, "got none at all"),
        ({"mask_probability": 1.2}, "mask_probability"),
        ({"mask_fraction": (0.5, 0.2)}, "mask_fraction"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


def test_bad_input_is_named(rng):
    with pytest.raises(ValueError, match=r"x must have shape \(B, L\); got \(5,\)"):
        augment(torch.zeros(5), 100.0, Augmentation(), rng)
    with pytest.raises(ValueError, match="sampling_rate must be positive"):
        augment(torch.zeros(1, 5), 0.0, Augmentation(), rng)
    with pytest.raises(ValueError, match="n_leads must be at least 1"):
        shared_lead_choice([3, 0], 0.8, rng)
    with pytest.raises(ValueError, match="same_probability"):
        shared_lead_choice([3], 1.8, rng)


@given(probability=st.floats(0, 0.99), seed=st.integers(0, 2**31))
def test_masked_leads_are_whole_and_one_stays(probability, seed):
    x = torch.rand(5, 4, 6) + 0.1
    y = mask_leads(x, probability, torch.Generator().manual_seed(seed))
    kept = y != 0
    assert torch.equal(kept, kept[..., :1].expand_as(kept))
    assert torch.equal(y[kept], x[kept])
    assert kept.any((1, 2)).all()


def test_leads_are_masked_as_often_as_asked_for():
    y = mask_leads(torch.ones(4000, 12, 1), 0.3, torch.Generator().manual_seed(1))
    assert abs(float((y == 0).float().mean()) - 0.3) < 0.01
    with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\)"):
        mask_leads(y, 1.0, torch.Generator())
    with pytest.raises(ValueError, match=r"lead_mask_probability must lie in \[0, 1\)"):
        Augmentation(lead_mask_probability=1.0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shifts_move_whole_rows_by_at_most_the_limit_in_both_directions():
    x = torch.arange(1.0, 101.0).repeat(400, 1)
    moved = shift(x, 7, seeded(0))
    steps = set()
    for row in moved:
        inside = row.nonzero()[:, 0]
        step = int(row[inside[0]] - 1 - inside[0])
        steps.add(step)
        assert torch.equal(row[inside], inside + 1.0 + step)
        assert len(inside) == 100 - abs(step)
    assert steps == set(range(-7, 8))


def test_scales_are_one_factor_per_row_within_the_limits():
    factors = scale(torch.ones(500, 3), (0.5, 2.0), seeded(0))
    assert (factors[:, :1] == factors).all()
    assert 0.5 <= float(factors.min()) < 0.55
    assert 1.9 < float(factors.max()) <= 2.0
    assert abs(float(factors.log().mean())) < 0.06


def test_without_shift_and_scale_views_are_those_they_were():
    x = torch.randn(4, 500, generator=seeded(1))
    plain = augment(x, 100.0, Augmentation(), seeded(0))
    assert torch.equal(plain, augment(x, 100.0, Augmentation(shift_s=0.0, scale=(1.0, 1.0)), seeded(0)))
    assert not torch.equal(plain, augment(x, 100.0, Augmentation(shift_s=0.5), seeded(0)))


@pytest.mark.parametrize("rate", [125.0, 500.0])
def test_hum_of_the_mains_is_at_50_or_60_hz(rate):
    hum = mains_hum(40, round(10 * rate), rate, seeded(0))
    spectrum = torch.fft.rfft(hum).abs()
    peaks = torch.fft.rfftfreq(hum.shape[1], 1 / rate)[spectrum.argmax(1)]
    assert {round(float(peak)) for peak in peaks} == {50, 60}
    with pytest.raises(ValueError, match="at least 121 Hz; got 100 Hz"):
        mains_hum(1, 1000, 100.0, seeded(0))


def test_recorded_noise_is_taken_where_the_user_has_it(tmp_path):
    time = np.arange(36_000) / 360
    for name, hertz in (("bw", 0.3), ("em", 2.0), ("ma", 20.0)):
        x = np.stack([np.sin(2 * np.pi * hertz * time), np.cos(2 * np.pi * hertz * time)], 1)
        about = {"fs": 360, "units": ["mV"] * 2, "sig_name": ["noise1", "noise2"], "fmt": ["16"] * 2}
        wfdb.wrsamp(name, p_signal=x, adc_gain=[1000.0] * 2, baseline=[0] * 2, write_dir=str(tmp_path), **about)
    for kind, hertz in (("baseline", 0.3), ("electrode", 2.0), ("motion", 20.0)):
        options = Augmentation(noises=(kind,), noise_folder=str(tmp_path), mask_probability=0.0, noise_rms=0.2)
        added = augment(torch.zeros(8, 1000), 100.0, options, seeded(0))
        np.testing.assert_allclose(added.square().mean(1).sqrt(), 0.2, rtol=1e-4)
        peaks = torch.fft.rfftfreq(1000, 0.01)[torch.fft.rfft(added).abs().argmax(1)]
        assert (peaks - hertz).abs().max() <= 0.11
    (tmp_path / "em.hea").unlink()
    with pytest.raises(ValueError, match=r"noise_folder .*: em.hea is missing; it must hold the records bw, em and ma"):
        augment(torch.zeros(1, 900), 100.0, replace(options, noises=("electrode",)), seeded(0))
