"""The scores of the Challenge 2021 and of CPSC 2020 against cases worked out by hand, and against slow definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from ecgloss.data.challenge_classes import CHALLENGE_CLASSES, challenge_targets
from ecgloss.evaluate.beat_matching import BeatCounts, count_beats, match_beats
from ecgloss.evaluate.challenge_score import challenge_score, challenge_weights, weighted_challenge_score
from ecgloss.evaluate.cpsc2020_score import cpsc2020_penalty, cpsc2020_score, premature_beat_counts

NAMES = [c.name for c in CHALLENGE_CLASSES]


def classes(*recordings: tuple[str, ...]) -> np.ndarray:
    return challenge_targets(recordings)


def drawn(rng: np.random.Generator, n: int, chance: float) -> np.ndarray:
    return (rng.random((n, len(NAMES))) < chance).astype(float)


# Challenge 2021


def test_the_true_diagnoses_score_one_and_sinus_rhythm_everywhere_zero():
    targets = classes(("AF", "LAD"), ("SNR",), ("PVC",), (), ("SNR", "PAC"))
    assert challenge_score(targets, targets) == 1
    assert challenge_score(classes(*[("SNR",)] * 5), targets) == 0


def test_nothing_predicted_is_worse_than_sinus_rhythm():
    # AF alone: sinus would earn (W[AF, SNR] = 0.25) / 2 classes, the truth 1, nothing 0.
    targets = classes(("AF",))
    assert challenge_score(classes(()), targets) == pytest.approx((0 - 0.125) / (1 - 0.125))


def test_recordings_worked_out_by_hand():
    # true AF+PVC, said AF+SB: W[AF,AF] + W[AF,SB] + W[PVC,AF] + W[PVC,SB] = 1 + 0.3 + 0.375 + 0.425 over 3 classes;
    # the truth 1 + 2 * 0.375 + 1 over 2, sinus 0.25 + 0.375 over 3.
    targets, said = classes(("AF", "PVC")), classes(("AF", "SB"))
    gained, truth, inactive = 2.1 / 3, 2.75 / 2, 0.625 / 3
    assert challenge_score(said, targets) == pytest.approx((gained - inactive) / (truth - inactive))
    # a second recording without a scored diagnosis earns nothing, whatever is said
    targets, said = classes(("AF", "PVC"), ()), classes(("AF", "SB"), ("TInv",))
    assert challenge_score(said, targets) == pytest.approx((gained - inactive) / (truth - inactive))


def test_equivalent_diagnoses_are_one_class():
    targets = classes(("713427006",), ("PVC",), ("CLBBB", "SB"))
    assert challenge_score(classes(("59118001", "RBBB"), ("17338001",), ("164909002", "SB")), targets) == 1


def test_a_score_that_is_not_defined_is_zero_as_in_the_organisers_program():
    targets = classes(("SNR",), ())
    assert challenge_score(targets, targets) == challenge_score(classes((), ("AF",)), targets) == 0


def test_the_weights_are_the_published_ones():
    weights = challenge_weights()
    assert weights.shape == (26, 26)
    np.testing.assert_array_equal(weights, weights.T)
    assert (np.diag(weights) == 1).all()
    assert (weights.min(), np.sort(weights[weights < 1])[-1]) == (0.15, 0.5)
    for true, said, value in (  # read from the published table
        ("BBB", "LBBB", 0.475),
        ("LQRSV", "PRWP", 0.475),
        ("QAb", "SNR", 0.15),
        ("PAC", "NSIVCB", 0.4875),
        ("LQT", "PAC", 0.3875),
        ("STach", "PVC", 0.5),
        ("TAb", "RBBB", 0.4),
    ):
        assert weights[NAMES.index(true), NAMES.index(said)] == value
    with pytest.raises(ValueError, match="read-only"):
        weights[0, 0] = 2


def test_many_recordings_agree_with_the_definition_and_resamples_with_repeated_rows():
    rng = np.random.default_rng(0)
    targets, said = drawn(rng, 40, 0.1), drawn(rng, 40, 0.1)
    weights, sinus = challenge_weights(), np.eye(26)[[NAMES.index("SNR")] * 40]

    def total(outputs: np.ndarray, rows: np.ndarray) -> float:
        total = 0.0
        for i in rows:
            size = max(1, int(np.logical_or(targets[i], outputs[i]).sum()))
            for j in np.flatnonzero(targets[i]):
                for k in np.flatnonzero(outputs[i]):
                    total += weights[j, k] / size
        return total

    def slow(rows: np.ndarray) -> float:
        inactive = total(sinus, rows)
        return (total(said, rows) - inactive) / (total(targets, rows) - inactive)

    every, some = np.arange(40), rng.integers(0, 40, 40)
    assert challenge_score(said, targets) == pytest.approx(slow(every))
    counts = np.stack([np.ones(40), np.bincount(some, minlength=40)])
    np.testing.assert_allclose(weighted_challenge_score(counts, said, targets), [slow(every), slow(some)])


def test_other_shapes_and_values_are_refused():
    with pytest.raises(ValueError, match="need 26 columns"):
        challenge_score(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="predictions: must be 0 or 1, got values such as"):
        challenge_score(np.full((2, 26), 0.5), np.ones((2, 26)))
    with pytest.raises(ValueError, match="targets: 26 values are NaN"):  # a recording that is not labelled
        challenge_score(np.ones((1, 26)), challenge_targets([None]))


# CPSC 2020


@pytest.mark.parametrize(
    ("found", "reference", "points"),
    [
        ([], [500, 2000, 9000], -15),  # nothing found: -5 per reference beat
        ([500, 2000], [500, 2000], 0),
        ([440, 2060], [500, 2000], 0),  # 60 samples are in reach
        ([500, 561], [500], 0),  # a stray one at 61 samples costs nothing
        ([561], [500], -5),
        ([500, 560], [500], -1),  # a duplicate
        ([10, 20, 30], [], -3),  # no reference beat: every detection is false
        ([], [], 0),
        ([550], [500, 600], 0),  # one in reach of two serves both
        ([500, 550, 600], [500, 600], -2),  # near each reference beat there are two
        ([9000, 1], [500], -5),  # far from it: missed, and no false one
    ],
)
def test_points_of_a_record_worked_out_by_hand(found, reference, points):
    assert cpsc2020_penalty(found, reference) == points
    assert cpsc2020_penalty(np.array(found[::-1], float), np.array(reference)) == points


def test_reach_is_150_ms_at_any_rate():
    for rate, reach in ((360, 54), (250, 37), (100, 15)):  # 37.5 samples at 250 Hz
        assert cpsc2020_penalty([1000 + reach], [1000], rate) == 0
        assert cpsc2020_penalty([1000 + reach + 1], [1000], rate) == -5


def test_points_agree_with_a_direct_count():
    rng = np.random.default_rng(1)
    for _ in range(50):
        found, reference = rng.integers(0, 3000, rng.integers(0, 20)), rng.integers(0, 3000, rng.integers(0, 20))
        points = -len(found) if len(reference) == 0 else 0
        for beat in reference:
            near = int((abs(found - beat) <= 60).sum())
            points -= near - 1 if near else 5
        assert cpsc2020_penalty(found, reference) == points


def test_the_score_is_the_sum_over_records_for_each_kind():
    found = [{"S": [500], "V": [100, 120]}, {"V": [800]}, {}]
    reference = [{"S": [505], "V": [110]}, {"S": [1]}, {"V": [5, 6]}]
    assert cpsc2020_score(found, reference) == {"S": 0 - 5 + 0, "V": -1 - 1 - 10}
    counts = premature_beat_counts(found, reference)
    assert counts["S"] == [BeatCounts(1, 0, 0), BeatCounts(0, 0, 1), BeatCounts(0, 0, 0)]
    assert counts["V"] == [BeatCounts(1, 1, 0), BeatCounts(0, 1, 0), BeatCounts(0, 0, 2)]
    with pytest.raises(ValueError, match="got 1 and 2"):
        cpsc2020_score([{}], [{}, {}])
    with pytest.raises(ValueError, match="kinds of beat are S, V; got N"):
        cpsc2020_score([{"N": [1]}], [{}])


def test_matching_is_one_to_one_and_prefers_the_nearest():
    assert count_beats([440, 500, 560], [500], 60) == BeatCounts(1, 2, 0)
    assert match_beats([440, 500, 560], [500], 60).found.tolist() == [1]
    assert count_beats([550], [500, 600], 60) == BeatCounts(1, 0, 1)
    # more pairs before nearer pairs: 45 is nearer to 0, but then 100 would stay alone
    pairs = match_beats([45, -58], [100, 0], 60)
    assert sorted(zip(pairs.found.tolist(), pairs.reference.tolist())) == [(0, 0), (1, 1)]
    assert count_beats([], [], 60) == BeatCounts(0, 0, 0)
    assert math.isnan(BeatCounts(0, 0, 0).f1)


def test_matching_agrees_with_an_assignment_solver():
    rng = np.random.default_rng(2)
    for trial in range(60):
        n, m, span = rng.integers(0, 15), rng.integers(0, 15), (300, 1500)[trial % 2]
        found, reference = rng.integers(0, span, n), rng.integers(0, span, m)
        distance = abs(found[:, None] - reference[None, :]).astype(float)
        rows, columns = linear_sum_assignment(np.where(distance <= 60, distance - 1e4, 0.0))
        in_reach = distance[rows, columns] <= 60
        i, j = match_beats(found, reference, 60)
        assert (len(set(i)), len(set(j))) == (len(i), len(j))
        assert (len(i), distance[i, j].sum()) == (in_reach.sum(), distance[rows, columns][in_reach].sum())
        assert (distance[i, j] <= 60).all()


def test_lists_of_beats_that_are_none_are_refused():
    with pytest.raises(ValueError, match="found must be a list of beats"):
        match_beats([[1, 2]], [1], 60)
    with pytest.raises(ValueError, match="reference: 1 beats are NaN"):
        cpsc2020_penalty([1], [np.nan])
    with pytest.raises(ValueError, match="tolerance must be at least 0"):
        match_beats([1], [1], -1)
    with pytest.raises(ValueError, match="sampling_rate must be positive"):
        cpsc2020_penalty([1], [1], 0)
