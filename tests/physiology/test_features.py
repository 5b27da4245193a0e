"""The table of features, known answers, and physiological ranges."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ecgloss.physiology import Delineation, feature_lead, feature_table, features
from ecgloss.physiology.feature_table import SEGMENT, SERIES

UNITS = {"ms", "mV", "mV/ms", "1"}


def test_the_table_has_150_names_without_duplicates_and_every_unit():
    table = feature_table()
    assert len(table) == 150
    assert len({feature.name for feature in table}) == 150
    assert all(feature.unit in UNITS and feature.formula for feature in table)


def test_the_documentation_has_the_table():
    text = (
        (Path(__file__).resolve().parents[2] / "docs" / "physiology.md").read_text(encoding="utf-8").replace("\\", "")
    )
    rows = {
        cells[0].strip(" `"): [c.strip() for c in cells]
        for cells in re.findall(r"^\| (`\w+`) \| (\S+) \| (.*?) \|", text, re.M)
    }
    for name, series in SERIES.items():
        assert rows[name][1] == series.unit
        assert f"| {series.formula} |" in text
    for feature in SEGMENT:
        assert rows[feature.name][1] == feature.unit
        assert f"| {feature.formula} |" in text


def test_features_of_marks_that_are_known():
    """Four beats 800, 900 and 1,000 ms apart at 1,000 Hz, whose values are counted by hand."""
    r = np.array([1000.0, 1800, 2700, 3700])
    x = np.zeros(5000)
    for peak in r.astype(int):
        x[peak - 20 : peak + 1] = np.linspace(0, 1.0, 21)  # 0.05 mV per ms
        x[peak + 1 : peak + 21] = np.linspace(1.0, 0, 21)[1:]
        x[peak + 100] = 0.1 if peak != 2700 else 0.3  # at the time of ST
        x[peak + 250], x[peak - 130] = -0.2, 0.15
    marks = {"p_onsets": r - 170, "p_peaks": r - 130, "p_offsets": r - 100, "qrs_onsets": r - 40}
    marks |= {"qrs_offsets": r + 40, "t_onsets": r + 200, "t_peaks": r + 250, "t_offsets": r + 360}
    marks["p_onsets"][3] = marks["p_peaks"][3] = marks["p_offsets"][3] = np.nan
    found = features(x, 1000, Delineation(r, **marks, quality=1.0))
    assert list(found) == [feature.name for feature in feature_table()]
    expected = {"rr_2": 800, "rr_4": 1000, "rr_mean": 900, "rr_median": 900, "rr_iqr": 100, "rmssd": 100, "pnn50": 1}
    expected |= {"pr_1": 130, "pr_mean": 130, "qrs_mean": 80, "qtc_2": 400 / 0.8**0.5, "p_duration_1": 70}
    expected |= {"t_duration_4": 160, "r_amplitude_mean": 1, "t_amplitude_1": -0.2, "p_amplitude_1": 0.15}
    expected |= {"qrs_slope_1": 0.05, "absent_p": 0.25, "inverted_t": 1, "long_pr": 0, "wide_qrs_100": 0, "short_rr": 0}
    expected |= {"st_deviation": 1.0, "st_mad": 0.0, "long_qtc": 0, "rr_cv": np.std([800, 900, 1000]) / 900}
    for name, value in expected.items():
        assert np.isclose(found[name], value), (name, found[name], value)
    unknown = [name for name in ("rr_1", "pr_4", "rr_5", "qrs_10", "p_amplitude_4") if not np.isnan(found[name])]
    assert not unknown


def test_medians_of_clean_recordings_lie_in_physiological_ranges(cohort):
    found = [features(cohort.signal(i, "II"), 500) for i in range(len(cohort))]
    for name, low, high in (("pr", 90, 300), ("qrs", 60, 150), ("qtc", 300, 550), ("rr", 300, 1800)):
        medians = np.array([f[f"{name}_median"] for f in found])
        assert np.isfinite(medians).mean() > 0.8, name
        assert (low <= np.nanmedian(medians)) & (np.nanmedian(medians) <= high), (name, medians)


def test_pr_qrs_and_qtc_are_known_for_most_beats_of_every_real_recording(real_data):
    import wfdb

    known = {name: [] for name in ("pr", "qrs", "qtc")}
    for number in range(1, 201, 10):
        record = wfdb.rdrecord(str(real_data("ludb") / "data" / str(number)), physical=False)
        values = features(record.d_signal[:, 1] / 1000, record.fs)  # counts are microvolts
        beats = np.isfinite([values[f"qrs_{k}"] for k in range(1, 11)]).sum()
        assert beats >= 5, number
        for name in known:
            known[name].append(np.isfinite([values[f"{name}_{k}"] for k in range(1, 11)]).sum() / beats)
    assert min(known["qrs"]) == 1
    assert min(known["qtc"]) >= 0.5
    assert np.mean(np.array(known["pr"]) > 0.5) >= 0.9


def test_the_lead_falls_back_in_a_fixed_order():
    assert feature_lead(["V1", "MLII"]) == "MLII"
    assert feature_lead(["V5", "II"]) == "II"
    assert feature_lead(["VX", "VY"]) == "VX"
