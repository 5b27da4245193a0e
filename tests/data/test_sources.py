"""A source's key changes with everything that its records are read with, and with nothing else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ecgloss.data import conversion, sources
from ecgloss.data.cards import CARDS, choose
from ecgloss.data.sources import resolve

TABLE = "dx_mapping_scored.csv"


def write_table(folder: Path, abbreviation: str) -> None:
    (folder / TABLE).write_text(f"Dx,SNOMEDCTCode,Abbreviation\nsinus rhythm,426783006,{abbreviation}\n")


@pytest.fixture
def georgia(write_record) -> Path:
    """A folder of the Challenge whose table of codes may lie in one of its parents."""
    return write_record("georgia/E1", comments=["Dx: 426783006"]).parent


def test_a_table_in_a_parent_folder_counts(georgia, at_100hz):
    before = resolve(georgia, at_100hz)
    write_table(georgia.parent, "NSR")
    after = resolve(georgia, at_100hz)
    assert before.card == after.card == "challenge"
    assert before.key != after.key == resolve(georgia, at_100hz).key
    write_table(georgia.parent, "SNR!")
    assert resolve(georgia, at_100hz).key != after.key


def test_extra_files_of_databases_in_sub_folders_count_too(georgia, write_record, at_100hz):
    above = georgia.parent
    write_record("other/a")  # without the Challenge's comments: the folder as a whole has no card of its own
    before = resolve(above, at_100hz)
    assert before.card == "wfdb"
    write_table(above.parent, "NSR")  # outside the folder, and read by the card of georgia
    assert list(choose(above).extra_files(above)) == [above.parent / TABLE]
    assert resolve(above, at_100hz).key != before.key
    assert not list(choose(above / "other").extra_files(above / "other"))


def test_a_card_with_a_file_of_its_own_needs_no_change_elsewhere(write_record, at_100hz, tmp_path, monkeypatch):
    folder, outside = write_record("a").parent, tmp_path / "codes.csv"
    outside.write_text("1")
    card = replace(CARDS[-1], name="new", matches=lambda folder: True, extra_files=lambda folder: [outside])
    monkeypatch.setattr("ecgloss.data.cards.CARDS", (card, *CARDS))
    before = resolve(folder, at_100hz)
    assert before.card == "new"
    os.utime(outside, ns=(0, 0))
    assert resolve(folder, at_100hz).key != before.key
    outside.unlink()  # a file that has gone is no error
    assert resolve(folder, at_100hz).key != before.key


def test_no_database_is_known_by_name_outside_its_card():
    for module in (sources, conversion):
        text = Path(module.__file__).read_text().lower()
        assert not [card.name for card in CARDS[:-1] if card.name in text]
