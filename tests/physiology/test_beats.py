"""Shuffled beats lose nothing and come back; masks cover the waves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgloss.physiology import Delineation, peak_mask, shuffle_beats

LENGTH = 200
PEAKS = st.lists(st.lists(st.integers(-5, LENGTH + 5), max_size=12), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(peaks=PEAKS, seed=st.integers(0, 2**31))
def test_shuffling_moves_whole_beats_of_all_leads_alike_and_is_undone(peaks, seed):
    x = torch.rand(len(peaks), 3, LENGTH, generator=torch.Generator().manual_seed(seed))
    state = torch.get_rng_state()
    shuffled = shuffle_beats(x, peaks, torch.Generator().manual_seed(seed))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(shuffled.inverse(shuffled.x), x)
    assert torch.equal(shuffled.x.sort(dim=2).values, x.sort(dim=2).values)
    assert torch.equal(shuffled.x, shuffle_beats(x, peaks, torch.Generator().manual_seed(seed)).x)
    unchanged = 0
    for b, found in enumerate(peaks):
        places = np.unique([p for p in found if 0 <= p < LENGTH])
        cuts = np.unique((places[:-1] + places[1:] + 1) // 2) if len(places) else places
        whole = torch.arange(LENGTH)
        if len(cuts) < 3:
            unchanged += 1
            assert torch.equal(shuffled.source[b], whole)
            continue
        assert not torch.equal(shuffled.source[b], whole)
        first, last = int(cuts[0]), int(cuts[-1])
        assert torch.equal(shuffled.source[b, :first], whole[:first])
        assert torch.equal(shuffled.source[b, last:], whole[last:])
        breaks = 1 + torch.nonzero(shuffled.source[b].diff() != 1)[:, 0]
        assert set(shuffled.source[b, breaks].tolist()) <= set(cuts.tolist())  # cut nowhere else
    assert shuffled.unchanged == unchanged


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"must be \(B, C, T\)"):
        shuffle_beats(torch.zeros(3, 5), [[1]], torch.Generator())
    with pytest.raises(ValueError, match="one entry per recording: 2; got 1"):
        shuffle_beats(torch.zeros(2, 1, 5), [[1]], torch.Generator())


def test_the_mask_covers_each_wave_from_onset_to_offset():
    nan = np.array([np.nan])
    marks = {"p_onsets": nan, "p_peaks": nan, "p_offsets": nan, "qrs_onsets": np.array([3.0])}
    marks |= {
        "qrs_offsets": np.array([5.0]),
        "t_onsets": np.array([8.0]),
        "t_peaks": nan,
        "t_offsets": np.array([30.0]),
    }
    mask = peak_mask(Delineation(np.array([4.0]), **marks, quality=1.0), 12)
    assert mask.nonzero()[:, 0].tolist() == [3, 4, 5, 8, 9, 10, 11]
