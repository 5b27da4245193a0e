from __future__ import annotations

import numpy as np
import pytest

from ecgloss.data.duplicates import groups, same_signal, signature
from ecgloss.data.opening import open_dataset
from ecgloss.data.preprocess import Preprocessing

LEADS = ("I", "II")


def noise(seed: int, samples: int = 1000) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, samples)).astype(np.float32)


def group(patients, signals, leads=LEADS):
    signatures = np.stack([signature(leads, signal, 100.0) for signal in signals])
    return groups(patients, signatures, lambda i: (leads, signals[i]))


def test_equal_signals_of_different_patients_join_their_patients():
    signals = [noise(0), noise(1), noise(2), noise(1) + 0.02 * noise(9), noise(3)]
    # a-b through the signal, and everything else of a and b with them
    assert group(["a", "a", "b", "b", "c"], signals) == ["a", "a", "a", "a", "c"]


def test_joining_is_transitive_and_does_not_depend_on_the_order():
    x, y = noise(0), noise(1)
    assert group(["a", "b", "b", "c", "d"], [x, x, y, y, noise(5)]) == ["a", "a", "a", "a", "d"]
    assert group(["d", "c", "b", "b", "a"], [noise(5), y, y, x, x]) == ["d", "c", "c", "c", "c"]


def test_recordings_alike_in_one_lead_only_stay_apart():
    x, y = noise(0), noise(1)
    y[1] = x[1]  # lead II decides the signature, all leads decide the verdict
    assert group(["a", "b"], [x, y]) == ["a", "b"]


def test_flat_recordings_are_not_duplicates_of_each_other():
    assert group(["a", "b"], [np.zeros((2, 1000), np.float32)] * 2) == ["a", "b"]


def test_a_flat_lead_does_not_hide_a_duplicate():
    x = noise(0)
    x[1] = 0
    assert group(["a", "b"], [x, x.copy()]) == ["a", "a"]


def test_copies_of_other_gain_and_length_are_found():
    x = noise(0, samples=3000)
    assert same_signal((LEADS, x), (("II", "V1", "I"), np.stack([x[1], x[0] * 7, x[0]])[:, :1500] * 2))
    assert group(["a", "b"], [x, 2 * x[:, :1500]]) == ["a", "a"]


def test_recordings_without_a_common_lead_are_not_compared():
    assert not same_signal((("I",), noise(0)[:1]), (("II",), noise(0)[:1]))


@pytest.mark.slow
def test_many_recordings_are_compared_in_blocks_without_missing_a_pair():
    signals = [noise(seed, 500) for seed in range(2100)]
    signals[2099] = signals[5]  # first and last block
    signals[1030] = signals[1023]  # both sides of a border between blocks
    found = group([str(i) for i in range(2100)], signals)
    assert found == [{2099: "5", 1030: "1023"}.get(i, str(i)) for i in range(2100)]


def test_one_signature_per_recording_is_required():
    with pytest.raises(ValueError, match=r"one row per recording \(2\), got 1"):
        groups(["a", "b"], np.zeros((1, 96)), lambda i: (LEADS, noise(0)))


def joined(dataset):
    """Pairs of different patients that share a group."""
    pairs = set()
    for _, rows in dataset.index.groupby("group"):
        if rows["patient"].nunique() > 1:
            pairs.add(tuple(sorted(name.rpartition("/")[2] for name in rows["name"])))
    return pairs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ("ptbxl", {("00145_lr", "00463_lr")}),
        ("challenge2021", {("E07509", "E07510"), ("E00271", "E00271")}),  # the latter with two headers
        pytest.param("ludb", set(), marks=pytest.mark.exhaustive),
        pytest.param("mitdb", set(), marks=pytest.mark.exhaustive),
    ],
)
def test_on_real_recordings_exactly_the_known_duplicates_are_joined(real_data, tmp_path, database, expected):
    dataset = open_dataset(
        real_data(database), preprocessing=Preprocessing(sampling_rate=100.0), cache_dir=tmp_path, progress=False
    )
    assert joined(dataset) == expected


def test_simulated_patients_are_not_taken_for_each_other(tmp_path):
    dataset = open_dataset(
        "synthetic:150", preprocessing=Preprocessing(sampling_rate=100.0), cache_dir=tmp_path, progress=False
    )
    assert joined(dataset) == set()
    assert dataset.index["group"].nunique() == dataset.index["patient"].nunique()
