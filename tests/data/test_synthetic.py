"""The synthetic cohort: reproducible, physically consistent, and morphology that follows the risk factors it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import find_peaks

from ecgloss.data.recording import STANDARD_LEADS, Recording
from ecgloss.data.synthetic import cohort

N, RATE = 800, 250.0
# A correlation of 800 independent pairs has a standard error of 0.035: 0.11 is three of them.
THREE_ERRORS = 0.11


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    """One cohort with all metadata."""
    return list(cohort(N, seed=11, sampling_rate=RATE, missing_rate=0.0))


def lead(recording: Recording, name: str) -> np.ndarray:
    return recording.signal[recording.leads.index(name)]


def correlation(x, y) -> float:
    return float(np.corrcoef(np.asarray(x, float), np.asarray(y, float))[0, 1])


def metadata(recordings: list[Recording], name: str) -> np.ndarray:
    return np.array([getattr(r.metadata, name) for r in recordings], float)


def values(recordings: list[Recording], name: str) -> np.ndarray:
    return np.array([r.metadata.values[name] for r in recordings])


def r_peaks(recording: Recording) -> np.ndarray:
    """R peaks of sinus beats from the steepness of all leads together."""
    slope = np.sqrt((np.diff(recording.signal.astype(float), axis=1) ** 2).sum(0))
    slope = np.convolve(slope, np.ones(9) / 9, mode="same")
    peaks, _ = find_peaks(slope, height=0.45 * np.quantile(slope, 0.995), distance=int(0.3 * RATE))
    return peaks


@pytest.mark.parametrize("seed", [0, 5])
def test_the_same_seed_gives_the_same_bits_and_a_longer_cohort_begins_with_the_shorter(seed):
    short, long = (list(cohort(n, seed=seed, missing_rate=0.0)) for n in (5, 9))
    for a, b in zip(short, long):
        assert a.signal.tobytes() == b.signal.tobytes()
        assert (a.name, a.patient, a.metadata) == (b.name, b.patient, b.metadata)
    assert len({r.name for r in long}) == 9


def test_another_seed_gives_other_patients():
    a, b = next(cohort(1, seed=1)), next(cohort(1, seed=2))
    assert not np.array_equal(a.signal, b.signal)
    assert a.patient != b.patient


def test_hiding_metadata_does_not_touch_a_signal_and_reveals_what_it_was():
    hidden, full = list(cohort(40, seed=3, missing_rate=0.6)), list(cohort(40, seed=3, missing_rate=0.0))
    for a, b in zip(hidden, full):
        assert a.signal.tobytes() == b.signal.tobytes()
        for name in ("sbp", "total_chol", "hdl_chol"):
            known = getattr(a.metadata, name)
            assert math.isnan(known) or known == getattr(b.metadata, name)
            assert not math.isnan(getattr(b.metadata, name))


def test_metadata_is_missing_about_as_often_as_asked_and_often_together():
    people = list(cohort(600, seed=4, missing_rate=0.25))
    lost = np.array(
        [
            [math.isnan(r.metadata.sbp), math.isnan(r.metadata.total_chol), math.isnan(r.metadata.hdl_chol)]
            for r in people
        ]
    )
    lost = np.column_stack([lost, [r.metadata.smoker is None for r in people]])
    assert np.abs(lost.mean(0) - 0.25).max() < 0.08  # 4.5 standard errors of 600
    assert lost.all(1).mean() > 2 * 0.25**4, "independent losses would almost never coincide"
    assert not np.isnan(metadata(people, "age")).any()
    assert {r.metadata.sex for r in people} == {"male", "female"}


@pytest.mark.slow
def test_leads_obey_einthoven_and_goldberger(recordings):
    for r in recordings[:20]:
        one, two = lead(r, "I"), lead(r, "II")
        expected = {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
        for name, signal in expected.items():
            np.testing.assert_allclose(lead(r, name), signal, atol=2e-6)  # float32 of a few millivolts


@pytest.mark.slow
def test_signals_are_those_of_a_recorder(recordings):
    assert all(r.signal.dtype == np.float32 and r.signal.shape == (12, 2500) for r in recordings)
    assert all(r.leads == STANDARD_LEADS and r.sampling_rate == RATE for r in recordings)
    assert all(np.isfinite(r.signal).all() for r in recordings)
    tall = [np.ptp(lead(r, "V5")) for r in recordings]
    assert 0.9 < np.median(tall) < 2.2  # mV, R to S
    assert max(np.abs(r.signal).max() for r in recordings) < 8


def test_intervals_are_clinically_plausible(recordings):
    assert 120 < np.median(values(recordings, "pr_interval")) < 190
    assert 75 < np.median(values(recordings, "qrs_duration")) < 110
    assert 340 < np.median(values(recordings, "qt_interval")) < 440
    rate = values(recordings, "heart_rate")
    assert 55 < np.median(rate) < 85
    assert rate.min() > 35
    assert rate.max() < 130


def test_beats_found_in_the_signal_are_the_beats_simulated(recordings):
    regular = [r for r in recordings if not r.metadata.labels["ectopy"]][:150]
    wrong = 0
    for r in regular:
        peaks = r_peaks(r)
        found = 60 * (len(peaks) - 1) / ((peaks[-1] - peaks[0]) / RATE)
        wrong += abs(found - r.metadata.values["heart_rate"]) > 2.5  # a beat at the edge may count on one side only
    assert wrong <= 0.05 * len(regular)


def test_premature_beats_are_where_the_labels_say(recordings):
    def irregularity(r: Recording) -> float:
        rr = np.diff(r_peaks(r))
        return float(np.max(np.abs(rr / np.median(rr) - 1)))

    early = [irregularity(r) for r in recordings if r.metadata.labels["ectopy"]]
    regular = [irregularity(r) for r in recordings if not r.metadata.labels["ectopy"]]
    assert 10 < len(early) < 0.5 * N
    assert np.median(early) > 0.25
    assert np.median(regular) < 0.15


def test_risk_factors_move_the_ecg_as_documented(recordings):
    age, female = metadata(recordings, "age"), np.array([r.metadata.sex == "female" for r in recordings], float)
    voltage = [np.quantile(np.linalg.norm(r.signal, axis=0), 0.99) for r in recordings]
    assert correlation(age, voltage) < -THREE_ERRORS
    assert correlation(age, values(recordings, "pr_interval")) > THREE_ERRORS
    axis = [
        np.arctan2(lead(r, "aVF").max() + lead(r, "aVF").min(), lead(r, "I").max() + lead(r, "I").min())
        for r in recordings
    ]
    assert correlation(age, axis) < -THREE_ERRORS
    assert correlation(female, values(recordings, "qrs_duration")) < -THREE_ERRORS
    qtc = values(recordings, "qt_interval") / np.cbrt(60 / values(recordings, "heart_rate"))
    assert correlation(female, qtc) > THREE_ERRORS
    assert correlation(metadata(recordings, "smoker"), values(recordings, "heart_rate")) > THREE_ERRORS
    hypertrophy = np.array(["LVH" in r.metadata.labels["hypertrophy"] for r in recordings], float)
    assert 0.05 < hypertrophy.mean() < 0.25
    assert correlation(metadata(recordings, "sbp"), hypertrophy) > THREE_ERRORS
    sokolow_lyon = [lead(r, "V5").max() - lead(r, "V1").min() for r in recordings]  # the clinic's voltage criterion
    assert correlation(hypertrophy, sokolow_lyon) > THREE_ERRORS


def test_nuisance_tells_nothing_about_risk(recordings):
    """Noise above 45 Hz comes from muscles and mains, the phase of the first beat from chance."""
    age = metadata(recordings, "age")
    noise = []
    for r in recordings:
        spectrum = np.abs(np.fft.rfft(lead(r, "V2").astype(float))) ** 2
        noise.append(np.log(spectrum[np.fft.rfftfreq(2500, 1 / RATE) > 70].sum()))
    first = [r_peaks(r)[0] for r in recordings]
    for nuisance in (noise, first):
        assert abs(correlation(nuisance, age)) < THREE_ERRORS
        assert abs(correlation(nuisance, metadata(recordings, "sbp"))) < THREE_ERRORS


def test_an_ecg_tells_about_risk_and_never_gives_it_away(recordings):
    hypertrophy = np.array(["LVH" in r.metadata.labels["hypertrophy"] for r in recordings], float)
    sokolow_lyon = [lead(r, "V5").max() - lead(r, "V1").min() for r in recordings]
    assert abs(correlation(hypertrophy, sokolow_lyon)) < 0.8
    assert abs(correlation(metadata(recordings, "age"), values(recordings, "pr_interval"))) < 0.8


def test_two_recordings_of_a_patient_share_the_heart_and_not_the_day(recordings):
    by_patient: dict[str, list[Recording]] = {}
    for r in recordings:
        by_patient.setdefault(r.patient, []).append(r)
    pairs = [group for group in by_patient.values() if len(group) == 2]
    assert 0.05 < len(pairs) / len(by_patient) < 0.16
    for a, b in pairs:
        assert a.metadata.age == b.metadata.age
        assert a.metadata.values["pr_interval"] == b.metadata.values["pr_interval"]
        assert not np.array_equal(a.signal, b.signal)
        assert a.name != b.name


def test_recordings_come_one_at_a_time():
    stream = cohort(10**9, seed=0)
    assert next(stream).signal.shape == (12, 1000)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 3), st.floats(100, 1000), st.floats(5, 15), st.integers(0, 2**32))
def test_any_rate_and_length(n, rate, seconds, seed):
    made = list(cohort(n, seed=seed, sampling_rate=rate, seconds=seconds))
    assert len(made) == n
    for r in made:
        assert r.signal.shape == (12, round(seconds * rate))
        assert np.isfinite(r.signal).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "n must be at least 0, got -1"),
        ({"n": 1, "seed": -1}, "seed must be at least 0"),
        ({"n": 1, "sampling_rate": 50}, "sampling_rate must be at least 100 Hz, got 50"),
        ({"n": 1, "sampling_rate": math.inf}, "sampling_rate"),
        ({"n": 1, "seconds": 1}, "seconds must be at least 5"),
        ({"n": 1, "missing_rate": 1.5}, "missing_rate"),
    ],
)
def test_bad_arguments_are_named_at_the_call(arguments, message):
    with pytest.raises(ValueError, match=message):
        cohort(**arguments)
