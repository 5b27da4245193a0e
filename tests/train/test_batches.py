"""Batches: every recording once, and recordings of a patient together."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecgloss.train.batches import patient_batches, random_batches


@given(st.lists(st.integers(0, 12), min_size=2, max_size=40), st.integers(2, 12), st.integers(0, 9))
def test_batches_hold_every_recording_at_most_once_and_leave_out_less_than_a_batch(patients, size, seed):
    rows, patient = np.arange(100, 100 + len(patients)), np.array(patients)
    for make in (lambda d: patient_batches(rows, patient, size, d), lambda d: random_batches(rows, size, d)):
        batches = make(torch.Generator().manual_seed(seed))
        width = min(size, len(rows))
        assert batches.shape == (len(rows) // width, width)
        seen = batches.flatten().tolist()
        assert len(seen) == len(set(seen))
        assert set(seen) <= set(rows.tolist())


def test_nearly_all_recordings_of_patients_with_several_meet_one_of_their_patient():
    patient = np.random.default_rng(0).integers(0, 600, 1000)
    several = np.bincount(patient)
    most = int((several - several % 2).sum())  # the last of an odd number has no partner

    def meetings(batches: torch.Tensor) -> int:
        return sum(int((patient[b][:, None] == patient[b]).sum(0).__gt__(1).sum()) for b in batches.numpy())

    draw = torch.Generator().manual_seed(1)
    for size in (32, 33):
        assert meetings(patient_batches(np.arange(1000), patient, size, draw)) > 0.95 * most
    assert meetings(random_batches(np.arange(1000), 32, draw)) < 0.15 * most


def test_pairs_are_others_in_every_epoch():
    patient = np.repeat(np.arange(8), 6)
    partners = set()
    for epoch in range(20):
        batches = patient_batches(np.arange(48), patient, 2, torch.Generator().manual_seed(epoch))
        assert (patient[batches[:, 0]] == patient[batches[:, 1]]).all()
        partners |= {tuple(sorted(pair)) for pair in batches.tolist() if 0 in pair}
    assert len(partners) == 5
