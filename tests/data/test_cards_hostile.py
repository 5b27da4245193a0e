"""Folders that are not what they seem: links to other files of the machine, tables that are none, columns that lack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import wfdb
from card_reading import read

from ecgloss.data import hdf5
from ecgloss.data.cards import choose
from ecgloss.data.wfdb.annotations import read_annotations

OUTSIDE = "is a link that leads outside the folder"


@pytest.mark.parametrize("name", ["exams.csv", "metadata.csv", "subject-info.csv", "REFERENCE.csv"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x81" * 50, b"exam_id,age\n", b"\n\n"])
def test_tables_that_are_none_make_no_database(write_record, name, content):
    folder = write_record("a").parent
    (folder / name).write_bytes(content)
    assert choose(folder).name == "wfdb"


@pytest.mark.parametrize("name", ["exams.csv", "metadata.csv", "REFERENCE.csv", "visits.csv", "record_list.csv"])
def test_a_folder_called_like_a_table_makes_no_database(write_record, name):
    folder = write_record("a").parent
    (folder / name).mkdir()
    assert choose(folder).name == "wfdb"


def test_annotations_that_are_a_link_elsewhere_are_refused(write_record, tmp_path):
    header = write_record("a")
    wfdb.wrann("secret", "atr", np.array([5]), symbol=["N"], fs=100, write_dir=str(tmp_path))
    header.with_suffix(".atr").symlink_to(tmp_path / "secret.atr")
    with pytest.raises(ValueError, match=OUTSIDE):
        read_annotations(header)


def test_signals_that_are_a_link_elsewhere_are_refused(tmp_path):
    folder, secret = tmp_path / "db", tmp_path / "secret.mat"
    for part in ("data", "ref"):
        (folder / part).mkdir(parents=True)
    scipy.io.savemat(secret, {"ecg": np.zeros((5000, 1))})
    (folder / "data/A01.mat").symlink_to(secret)
    recordings, refused = read(folder, "cpsc2020")
    assert not recordings
    assert OUTSIDE in refused["A01"]
    (folder / "a.h5").symlink_to(secret)
    pytest.importorskip("h5py")
    with pytest.raises(ValueError, match=OUTSIDE), hdf5.dataset(folder / "a.h5", "x"):
        pass


@pytest.mark.parametrize(
    ("card", "table", "text", "column"),
    [
        ("mimic-iv-ecg", "record_list.csv", "subject_id,study_id\n1,2\n", "path"),
        ("mc-med", "visits.csv", "CSN,Age\n1,2\n", "MRN"),
        ("aurorabp", "participants.tsv", "pid\tage\na000\t61\n", "gender"),
        ("music", "subject-info.csv", "Patient ID;Cause of death;Age\nP0001;0;61\n", "Exit of the study"),
    ],
)
def test_a_table_without_a_column_is_an_error_that_names_both(tmp_path, card, table, text, column):
    for part in ("files", "waveforms", "Holter_ECG"):
        (tmp_path / part).mkdir()
    (tmp_path / table).write_text(text)
    if card == "aurorabp":
        (tmp_path / "measurements_auscultatory.tsv").write_text("pid\tsbp\tdbp\twaveform_file_path\n")
    with pytest.raises(ValueError, match=rf"the table .*{table} has no column {column}; its columns are"):
        read(tmp_path, card)


def test_links_to_folders_are_not_followed(write_record, tmp_path):
    elsewhere = write_record("outside/II/98000123_1", leads=("II",)).parents[1]
    folder: Path = tmp_path / "mc-med"
    (folder / "waveforms/123").mkdir(parents=True)
    (folder / "waveforms/123/98000123").symlink_to(elsewhere)
    (folder / "visits.csv").write_text("MRN,CSN\n7,98000123\n")
    assert read(folder, "mc-med") == ({}, {})
