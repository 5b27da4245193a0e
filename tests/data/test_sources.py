"""A source's key changes with everything that its records are read with, and with nothing else."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecgloss.data import conversion, sources
from ecgloss.data.cache import source_files
from ecgloss.data.cards import CARDS, choose
from ecgloss.data.opening import open_dataset
from ecgloss.data.sources import resolve

TABLE = "dx_mapping_scored.csv"


def write_table(folder: Path, abbreviation: str) -> None:
    (folder / TABLE).write_text(f"Dx,SNOMEDCTCode,Abbreviation\nsinus rhythm,426783006,{abbreviation}\n")


@pytest.fixture
def georgia(write_record) -> Path:
    """A folder of the Challenge whose table of codes may lie in one of its parents."""
    return write_record("georgia/E1", comments=["Dx: 426783006"]).parent


def test_a_table_in_a_parent_folder_counts(georgia, at_100hz):
    before = resolve(georgia, at_100hz).listing
    write_table(georgia.parent, "NSR")
    after = resolve(georgia, at_100hz).listing
    assert before.card == after.card == "challenge"
    assert before.key != after.key == resolve(georgia, at_100hz).listing.key
    write_table(georgia.parent, "SNR!")
    assert resolve(georgia, at_100hz).listing.key != after.key


def test_extra_files_of_databases_in_sub_folders_count_too(georgia, write_record, at_100hz):
    above = georgia.parent
    write_record("other/a")  # without the Challenge's comments: the folder as a whole has no card of its own
    before = resolve(above, at_100hz).listing
    assert before.card == "wfdb"
    write_table(above.parent, "NSR")  # outside the folder, and read by the card of georgia
    assert list(choose(above).extra_files(above)) == [above.parent / TABLE]
    assert resolve(above, at_100hz).listing.key != before.key
    assert not list(choose(above / "other").extra_files(above / "other"))


def test_a_card_with_a_file_of_its_own_needs_no_change_elsewhere(write_record, at_100hz, tmp_path, monkeypatch):
    folder, outside = write_record("a").parent, tmp_path / "codes.csv"
    outside.write_text("1")
    card = replace(CARDS[-1], name="new", matches=lambda folder: True, extra_files=lambda folder: [outside])
    monkeypatch.setattr("ecgloss.data.cards.CARDS", (card, *CARDS))
    before = resolve(folder, at_100hz).listing
    assert before.card == "new"
    os.utime(outside, ns=(0, 0))
    assert resolve(folder, at_100hz).listing.key != before.key
    outside.unlink()  # a file that has gone is no error
    assert resolve(folder, at_100hz).listing.key != before.key


def test_an_unchanged_folder_is_not_walked_again_and_any_change_is_noticed(georgia, at_100hz, tmp_path, monkeypatch):
    walks, real = [], sources.choose
    monkeypatch.setattr(sources, "choose", lambda folder: walks.append(folder) or real(folder))

    def opened():
        found = open_dataset(georgia, preprocessing=at_100hz, cache_dir=tmp_path / "caches", progress=False)
        return found.labels("diagnosis"), len(walks)

    assert opened() == ([("426783006",)], 1)
    assert opened() == ([("426783006",)], 1)
    write_table(georgia.parent, "NSR")
    assert opened() == ([("NSR",)], 2)
    assert opened() == ([("NSR",)], 2)
    header = georgia / "E1.hea"
    header.write_text(header.read_text().replace("426783006", "164889003"))
    assert opened() == ([("164889003",)], 3)
    for end in (".hea", ".dat"):
        (georgia / f"E2{end}").write_bytes((georgia / f"E1{end}").read_bytes().replace(b"E1", b"E2"))
    assert opened()[0] == [("164889003",)] * 2
    (georgia / "E2.hea").unlink()
    assert opened()[0] == [("164889003",)]
    walked = len(walks)
    (georgia / ".hidden").write_text("")  # changes the time of the folder, but no record: the cache is still good
    assert opened() == ([("164889003",)], walked + 1)
    assert opened() == ([("164889003",)], walked + 1)


def test_of_many_files_some_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(source_files, "LOOKED_AT", 10)
    folder, cache = tmp_path / "data", tmp_path / "cache"
    cache.mkdir()
    for k in range(95):
        (folder / str(k % 5)).mkdir(parents=True, exist_ok=True)
        (folder / str(k % 5) / f"{k}.dat").write_text(str(k))
    source_files.keep(list(source_files.walk(folder)), cache)
    noted = json.loads((cache / "source.json").read_text())
    assert len([size for _, size, _ in noted if size >= 0]) == 10
    assert len([size for _, size, _ in noted if size < 0]) == 6
    assert source_files.unchanged(cache)
    (folder / "3" / "new.dat").write_text("")
    assert not source_files.unchanged(cache)


def test_entries_of_every_card_can_be_sent_to_another_process(georgia, write_record, at_100hz):
    write_record("other/a")
    for source in (georgia, georgia.parent, "synthetic:3"):
        entries = resolve(source, at_100hz).listing.entries
        again = pickle.loads(pickle.dumps(entries))  # noqa: S301
        for entry, same in zip(entries, again):
            [a], [b] = entry.read(), same.read()
            assert a.name == b.name
            np.testing.assert_array_equal(a.signal, b.signal)


def test_no_database_is_known_by_name_outside_its_card():
    for module in (sources, conversion):
        text = Path(module.__file__).read_text().lower()
        assert not [card.name for card in CARDS[:-1] if card.name in text]
