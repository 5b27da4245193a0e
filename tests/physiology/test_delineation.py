"""Marks of waves: right against manual ones, and nothing escapes from a recording that is none."""

from __future__ import annotations

import importlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ecgloss.physiology import delineate, features

NOISE = np.random.default_rng(0)


def damaged(lead: np.ndarray) -> dict[str, np.ndarray]:
    """A clean lead of 10 s at 500 Hz, spoilt in every way that occurs."""
    t = np.arange(len(lead))
    off, holes, paced = lead.copy(), lead.copy(), lead.copy()
    off[len(off) // 4 :] = 0
    holes[NOISE.random(len(holes)) < 0.3] = np.nan
    paced[::400] += 8
    return {
        "noise": NOISE.normal(size=len(lead)),
        "strong noise on it": lead + 2 * NOISE.normal(size=len(lead)),
        "flat": np.full(len(lead), 1.5),
        "lead off after a quarter": off,
        "pacing spikes": paced,
        "2 s": lead[:1000],
        "half a second": lead[:250],
        "one sample": lead[:1],
        "no sample": lead[:0],
        "all NaN": np.full(len(lead), np.nan),
        "mostly NaN": np.where(t % 5 == 0, lead, np.nan),
        "holes": holes,
        "inf": np.where(t == 100, np.inf, lead),
        "mains": np.sin(2 * np.pi * 50 * t / 500),
        "saturated": np.clip(lead * 100, -1, 1),
        "1e6 mV": lead * 1e6,
    }


def test_nothing_escapes_from_a_bad_recording_and_its_quality_drops(cohort):
    lead = cohort.signal(0, "II").astype(np.float64)
    clean = delineate(lead, 500)
    assert clean.quality > 0.85
    for name, x in damaged(lead).items():
        found = delineate(x, 500)
        values = features(x, 500)
        assert 0 <= found.quality <= 1, name
        assert len(values) == 150, name
        assert not np.isinf(list(values.values())).any(), name
        marks = [found.p_onsets, found.p_offsets, found.qrs_onsets, found.qrs_offsets, found.t_onsets, found.t_offsets]
        assert all(len(m) == len(found) for m in marks), name
        if name not in ("2 s", "holes", "inf", "1e6 mV", "saturated", "pacing spikes"):
            assert found.quality < 0.8 * clean.quality, (name, found.quality)
        if not len(found):
            assert found.failures, name
            assert found.quality == 0, name


@pytest.mark.parametrize("rate", [100.0, 250.0, 360.0, 1000.0, 333.3])
def test_marks_do_not_depend_on_the_sampling_rate(cohort, rate):
    lead = cohort.signal(1, "II").astype(np.float64)
    length = int(len(lead) * rate / 500)
    other = np.interp(np.arange(length) * 500 / rate, np.arange(len(lead)), lead)
    a, b = delineate(lead, 500), delineate(other, rate)
    assert len(a) == len(b)
    for name in ("r_peaks", "qrs_onsets", "qrs_offsets"):
        difference = getattr(a, name) / 500 - getattr(b, name) / rate
        assert np.nanmedian(np.abs(difference)) <= 0.006, name


def test_waves_are_in_order_and_belong_to_their_beat(cohort):
    for i in range(len(cohort)):
        d = delineate(cohort.signal(i, "II"), 500)
        for early, late in pairwise([d.p_onsets, d.p_offsets, d.r_peaks, d.qrs_offsets, d.t_offsets]):
            assert not (early > late).any()
        assert not (d.t_offsets[:-1] > d.r_peaks[1:]).any()


@pytest.mark.parametrize(
    ("signal", "rate", "message"),
    [(np.zeros((2, 100)), 500, r"shape \(T,\); got shape \(2, 100\)"), (np.zeros(100), 0, "must be positive")],
)
def test_what_is_no_lead_is_refused(signal, rate, message):
    with pytest.raises(ValueError, match=message):
        delineate(signal, rate)


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.exhaustive), 8])
def test_errors_against_the_manual_marks_of_ludb(step, real_data, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "bench"))
    bench = importlib.import_module("delineation")
    held_out = range(2, 201, 2 * step)
    found = []
    for number in held_out:
        x, truth, fs = bench.reference(real_data("ludb") / "data" / str(number))
        found.append(bench.errors(truth, bench.ours(x, fs), fs))
    result = bench.summary(found)
    assert result["sensitivity"] >= 0.98
    assert result["precision"] >= 0.98
    assert abs(result["QRS"]["mean"]) <= 10
    assert abs(result["PR"]["mean"]) <= 15
    assert abs(result["QT"]["mean"]) <= 15
    assert max(result[name]["missed"] for name in bench.EDGES) <= 0.06
    assert result["PR"]["sd"] <= 20
    assert result["false p"] <= 0.3  # of beats without a P wave; NeuroKit2's methods find one in nine of ten
