"""Runs and evaluations that are killed at random moments; ``python tests/kills.py`` kills more of them."""

from __future__ import annotations

import os

import pytest
from kills import kill_all


@pytest.mark.exhaustive
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_killed_runs_end_with_the_same_weights_and_nothing_is_half_written(tmp_path):
    assert set(kill_all(tmp_path, 3, ["simclr"])) == {"simclr", "evaluation"}  # it checks what they leave
