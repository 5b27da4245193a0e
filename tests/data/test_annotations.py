"""Beats and rhythms of a window: what is annotated in it, and the rhythm that began before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgloss.data.cards.windows import windows
from ecgloss.data.recording import Metadata
from ecgloss.data.wfdb.annotations import read_annotations
from ecgloss.data.wfdb.records import WfdbRecord


@pytest.fixture
def annotated(tmp_path: Path):
    def write(*marks: tuple[int, str, str]) -> Path:
        samples, symbols, notes = zip(*marks)
        wfdb.wrann(
            "a", "atr", np.array(samples), symbol=list(symbols), aux_note=list(notes), fs=100, write_dir=str(tmp_path)
        )
        return tmp_path / "a.hea"

    return write


def test_a_rhythm_lasts_until_the_next_and_a_closing_mark_ends_it(annotated):
    header = annotated((0, "+", "(N"), (100, "+", "(AFIB"), (200, "+", ")"), (300, "+", "(AFL"))
    found = read_annotations(header)
    assert found.rhythms(0, 100) == ("N",)
    assert found.rhythms(100, 200) == ("AFIB",)  # the one before ends where this one begins
    assert found.rhythms(50, 150) == ("AFIB", "N")
    assert found.rhythms(200, 300) == ()
    assert found.rhythms(250, 350) == ("AFL",)
    assert found.rhythms(1000, 2000) == ("AFL",)


def test_before_the_first_annotation_no_rhythm_is_known(annotated):
    assert read_annotations(annotated((500, "+", "(N"))).rhythms(0, 500) == ()


def test_marks_of_noise_and_comments_are_no_beats_and_no_rhythms(annotated):
    header = annotated((10, "N", ""), (20, "~", ""), (30, '"', "MISSB"), (40, "V", "None"), (50, "+", "(N)"))
    found = read_annotations(header)
    assert found.beats(0, 100) == ("N", "V")
    assert found.beats(11, 40) == ()
    assert found.rhythms(0, 100) == ("N",)


def test_windows_may_lie_apart_and_a_short_record_stays_whole():
    record = WfdbRecord(np.arange(4500, dtype=np.float32)[None], ("II",), 100.0, None)
    cut = windows(record, "a", "p", Metadata(), lambda start, stop: {"at": (str(start),)}, every_s=20)
    assert [(w.name, w.signal[0, 0], w.signal.shape[1], w.metadata.labels["at"]) for w in cut] == [
        ("a/0000", 0, 1000, ("0",)),
        ("a/0001", 2000, 1000, ("2000",)),
    ]
    short = WfdbRecord(record.signal[:, :300], ("II",), 100.0, None)
    assert [w.signal.shape for w in windows(short, "a", "p", Metadata())] == [(1, 300)]
