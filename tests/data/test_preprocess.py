from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.signal

from ecgloss.data import preprocess
from ecgloss.data.preprocess import Preprocessing, prepare


def sine(frequency: float, rate: float, seconds: float = 20.0) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)[None]


def middle(x: np.ndarray) -> np.ndarray:
    """The second and third quarter, away from the ends."""
    return x[..., x.shape[-1] // 4 : -x.shape[-1] // 4]


@pytest.mark.parametrize(("source", "target"), [(500.0, 500.0), (360.0, 500.0), (1000.0, 500.0), (257.0, 250.0)])
def test_a_wave_inside_the_pass_band_keeps_amplitude_phase_and_time(source, target):
    out = prepare(sine(10.0, source), source, Preprocessing(sampling_rate=target))
    expected = sine(10.0, target)
    assert out.shape == expected.shape
    assert out.dtype == np.float32
    # pass-band ripple of the polyphase filter at 10 Hz is below one percent
    np.testing.assert_allclose(middle(out), middle(expected), atol=0.01)


@pytest.mark.parametrize(("frequency", "left"), [(0.2, 0.001), (0.67, 0.55), (40.0, 0.55), (60.0, 0.02)])
def test_baseline_wander_and_mains_are_removed_and_the_edges_are_where_they_are_said_to_be(frequency, left):
    out = prepare(sine(frequency, 500.0, 40.0), 500.0, Preprocessing())
    amplitude = np.abs(middle(out)).max()
    # the filter runs twice: at an edge the amplitude is 1/2, far outside it is practically zero
    assert amplitude <= left
    if left > 0.5:
        assert amplitude >= 0.45


def test_the_filter_moves_no_peak():
    x = np.zeros((1, 5000))
    x[0, 2500] = 1.0
    assert prepare(x, 500.0, Preprocessing())[0].argmax() == 2500


def test_gaps_are_bridged_and_do_not_spread():
    x = sine(5.0, 500.0)
    gappy = x.copy()
    gappy[0, [0, 1, 100, 3000, 9999]] = [np.nan, np.inf, np.nan, -np.inf, np.nan]
    # linear interpolation over one sample of a 5 Hz wave errs by less than (2 pi 5 / 500)^2
    np.testing.assert_allclose(
        middle(prepare(gappy, 500.0, Preprocessing())), middle(prepare(x, 500.0, Preprocessing())), atol=0.004
    )


@pytest.mark.parametrize("level", [0.0, np.nan, 3.3, -1e4])
@pytest.mark.parametrize("rate", [500.0, 360.0])
def test_a_flat_lead_becomes_zeros_and_not_amplified_rounding_errors(level, rate):
    x = np.concatenate([sine(5.0, rate), np.full((1, round(20 * rate)), level)])
    out = prepare(x, rate, Preprocessing())
    assert not out[1].any()
    assert np.isfinite(out).all()
    assert out[0].any()


def test_an_offset_leaves_neither_ripple_nor_a_transient_at_the_ends():
    x = sine(5.0, 360.0)
    away = prepare(x + 100.0, 360.0, Preprocessing()) - prepare(x, 360.0, Preprocessing())
    assert np.abs(away).max() < 1e-5  # mV, of an offset of 100 mV: float64 and float32 rounding


def test_a_pass_band_that_does_not_fit_the_rate_is_refused_by_name():
    with pytest.raises(ValueError, match=r"high_hz must be below .*30 Hz.*40 Hz"):
        Preprocessing(sampling_rate=60.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"low_hz": 0.0},
        {"low_hz": 50.0},
        {"order": 0},
        {"leads": ()},
        {"leads": "II"},
        {"leads": ("II", "ii")},
        {"sampling_rate": 1e9},
        {"sampling_rate": float("nan")},
    ],
)
def test_a_setting_without_meaning_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Preprocessing(**wrong)


@pytest.mark.parametrize("rate", [0.0, -500.0, 1e-6, 1e12, float("nan")])
def test_an_impossible_rate_in_a_header_allocates_nothing(rate):
    with pytest.raises(ValueError, match="sampling_rate"):
        prepare(np.zeros((1, 5000)), rate, Preprocessing())


def test_a_recording_too_short_to_filter_says_so():
    with pytest.raises(ValueError, match="too short: 100 samples at 500 Hz"):
        prepare(np.zeros((1, 100)), 500.0, Preprocessing())


def test_preprocessing_survives_a_checkpoint():
    settings_ = Preprocessing(250.0, 0.5, 45.0, 3, ("ii", "avr"))
    assert Preprocessing.from_json(json.loads(json.dumps(settings_.to_json()))) == settings_


@pytest.mark.parametrize("wrong", [{}, {"sampling_rate": 1}, None])
def test_preprocessing_from_a_foreign_file_is_refused(wrong):
    with pytest.raises(ValueError, match="preprocessing must have the fields"):
        Preprocessing.from_json(wrong)


def test_preprocessing_with_a_value_of_the_wrong_kind_is_refused():
    with pytest.raises(ValueError, match="order must be a whole number"):
        Preprocessing.from_json(Preprocessing().to_json() | {"order": None})


@pytest.mark.parametrize("leads", [1, 3, 4, 12])
def test_the_filter_in_cpp_is_that_of_scipy(leads):
    extension = pytest.importorskip("ecgloss._C", reason="the C++ extension was not built")
    x = np.random.default_rng(leads).normal(size=(leads, 700))
    sections, states = preprocess._sections(5, (0.67, 40.0), 50.0, 250.0)
    for padding in (0, 1, 373, 699):
        expected = scipy.signal.sosfiltfilt(sections, x, axis=-1, padlen=padding)
        np.testing.assert_allclose(extension.zero_phase(x, sections, states, padding), expected, rtol=0, atol=1e-12)
    for bad in (-1, 700):
        with pytest.raises(ValueError, match="padding must be at least 0"):
            extension.zero_phase(x, sections, states, bad)
    for arguments in ((x[0], sections, states), (x, sections[:, :5], states), (x, sections, states[:2])):
        with pytest.raises(ValueError, match=r"zero_phase takes \(leads, samples\)"):
            extension.zero_phase(*arguments, 0)


def test_a_notch_takes_out_the_hum_and_nothing_beside_it():
    wide = Preprocessing(low_hz=0.5, high_hz=150.0)
    notched = Preprocessing(low_hz=0.5, high_hz=150.0, notch_hz=50.0)
    for frequency, kept in ((50.0, 0.0), (40.0, 1.0), (60.0, 1.0)):
        x = sine(frequency, 500.0)
        ratio = np.abs(middle(prepare(x, 500.0, notched))).max() / np.abs(middle(prepare(x, 500.0, wide))).max()
        assert ratio == pytest.approx(kept, abs=0.02)


def test_files_without_the_later_fields_are_read_and_other_units_refused():
    now = Preprocessing(leads=("I", "II")).to_json()
    assert now["units"] == "mV"
    before = {name: now[name] for name in ("sampling_rate", "low_hz", "high_hz", "order", "leads")}
    assert Preprocessing.from_json(before) == Preprocessing.from_json(now) == Preprocessing(leads=("I", "II"))
    with pytest.raises(ValueError, match="units must be mV, got 'uV'"):
        Preprocessing.from_json({**now, "units": "uV"})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("notch_hz", 250.0, "below half the sampling rate"),
        ("normalisation", "window", "recording, dataset, none"),
        ("scale_mv", 0.0, "positive"),
    ],
)
def test_new_fields_are_checked(field, value, said):
    with pytest.raises(ValueError, match=said):
        Preprocessing(**{field: value})
