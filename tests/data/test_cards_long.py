"""Databases of long records, cut into windows: right windows, rhythms and beats, patients, outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb
from card_reading import read

from ecgloss.data.cards import afdb, choose, icentia11k, music
from ecgloss.data.recording import STANDARD_LEADS


def annotate(header: Path, rate: int, *marks: tuple[int, str, str]) -> None:
    samples, symbols, notes = zip(*marks)
    wfdb.wrann(
        header.stem,
        "atr",
        np.array(samples),
        symbol=list(symbols),
        aux_note=list(notes),
        fs=rate,
        write_dir=str(header.parent),
    )


# INCART


def test_incart_patients_are_those_of_the_comments(write_record):
    upper = tuple(lead.upper() for lead in STANDARD_LEADS)
    age = "<age>: 65 <sex>: F <diagnoses> Coronary artery disease, arterial hypertension"
    for name, patient in (("I01", 1), ("I02", 1), ("I03", 2)):
        comments = [age, f" patient {patient}", " PVCs, noise"] if name != "I02" else [f" patient {patient}"]
        header = write_record(name, leads=upper, rate=257, samples=257 * 25, seed=patient, comments=comments)
    annotate(header.with_name("I01.hea"), 257, (100, "N", ""), (2600, "V", ""), (5200, "N", ""))
    recordings, refused = read(header.parent, "incartdb")
    assert not refused
    assert len(recordings) == 6  # 25 s each: two windows
    assert {r.leads for r in recordings.values()} == {STANDARD_LEADS}
    assert {name[:3]: r.patient for name, r in recordings.items()} == {
        "I01": "patient 1",
        "I02": "patient 1",
        "I03": "patient 2",
    }
    assert recordings["I01/0000"].metadata.labels == {"beats": ("N",)}
    assert recordings["I01/0001"].metadata.labels == {"beats": ("V",)}
    assert recordings["I02/0000"].metadata.labels == {}  # no annotations: not labelled
    assert (recordings["I01/0000"].metadata.age, recordings["I01/0000"].metadata.sex) == (65, "female")
    assert recordings["I02/0000"].metadata.sex is None


def test_incart_needs_its_rate(write_record):
    assert choose(write_record("I01", rate=500).parent).name == "wfdb"


def test_incart_gain_without_a_unit_is_per_millivolt(tmp_path):
    counts = np.arange(12 * 2570, dtype="<i2").reshape(2570, 12) % 700
    counts.tofile(tmp_path / "I01.dat")
    lines = [f"I01.dat 16 306 16 0 {counts[0, k]} 0 0 {lead}" for k, lead in enumerate(STANDARD_LEADS)]
    (tmp_path / "I01.hea").write_text("\n".join(["I01 12 257 2570", *lines]) + "\n")
    (recording,) = read(tmp_path, "incartdb")[0].values()
    np.testing.assert_allclose(recording.signal, counts.T / 306, rtol=1e-6)


# AFDB

AFDB_COUNTS = (np.arange(2 * 12500).reshape(12500, 2) * 7) % 2001 - 1000


@pytest.fixture
def afdb_folder(tmp_path, monkeypatch) -> Path:
    """Records of 50 s, of which the first 30 s count as annotated."""
    monkeypatch.setattr(afdb, "_ANNOTATED_S", 30.0)
    wfdb.wrsamp(
        "04015",
        fs=250,
        units=["mV", "mV"],
        sig_name=["ECG1", "ECG2"],
        d_signal=AFDB_COUNTS,
        fmt=["212", "212"],
        adc_gain=[200.0, 200.0],
        baseline=[0, 0],
        write_dir=str(tmp_path),
    )
    header = tmp_path / "04015.hea"
    first, *signals = header.read_text().splitlines()
    (tmp_path / "04015.hea").write_text("\n".join([first, *(s.replace("200.0(0)/mV", "0") for s in signals)]) + "\n")
    annotate(header, 250, (30, "+", "(N"), (2500, "+", "(AFIB"), (6000, "+", "(N"))
    (tmp_path / "00735.hea").write_text("00735 0 250 0\n")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "04015.atr").write_bytes(b"")
    return tmp_path


def test_afdb_rhythms_of_windows_end_with_the_annotations(afdb_folder):
    recordings, refused = read(afdb_folder, "afdb")
    assert {name: dict(r.metadata.labels) for name, r in recordings.items()} == {
        "04015/0000": {"rhythm": ("N",)},
        "04015/0001": {"rhythm": ("AFIB",)},
        "04015/0002": {"rhythm": ("AFIB", "N")},
        "04015/0003": {},
        "04015/0004": {},
    }
    assert {r.patient for r in recordings.values()} == {"04015"}
    assert refused == {"00735": "the header describes no signals"}


def test_afdb_without_a_gain_has_204_8_counts_per_millivolt(afdb_folder):
    recording = read(afdb_folder, "afdb")[0]["04015/0001"]
    np.testing.assert_allclose(recording.signal, AFDB_COUNTS[2500:5000].T / 204.8, rtol=1e-6)


def test_afdb_with_a_gain_keeps_it(afdb_folder):
    header = afdb_folder / "04015.hea"
    header.write_text(header.read_text().replace("212 0 ", "212 100 "))
    recording = read(afdb_folder, "afdb")[0]["04015/0000"]
    assert recording.signal[0, 1] == pytest.approx((14 - 1000) / 100)


# Icentia11k


def test_icentia_windows_lie_apart_and_patients_are_in_the_names(write_record, monkeypatch):
    monkeypatch.setattr(icentia11k, "EVERY_S", 20.0)
    for name in ("p00/p00000/p00000_s00", "p00/p00000/p00000_s01", "p00/p00001/p00001_s00"):
        header = write_record(name, leads=("ECG",), rate=250, samples=250 * 35, seed=len(name))
    annotate(header, 250, (100, "N", ""), (200, "+", "(AFIB"), (2400, "+", ")"), (5100, "Q", "None"), (5200, "S", ""))
    folder = header.parents[2]
    recordings, refused = read(folder, "icentia11k")
    assert not refused
    assert {name: r.patient for name, r in recordings.items()} == {
        f"p00/{patient}/{patient}_{part}/{k:04d}": patient
        for patient, part in (("p00000", "s00"), ("p00000", "s01"), ("p00001", "s00"))
        for k in (0, 1)
    }
    assert recordings["p00/p00001/p00001_s00/0000"].metadata.labels == {"beats": ("N",), "rhythm": ("AFIB",)}
    assert recordings["p00/p00001/p00001_s00/0001"].metadata.labels == {"beats": ("Q", "S")}  # no rhythm is known there
    assert choose(folder / "p00").name == choose(folder / "p00" / "p00000").name == "icentia11k"


def test_icentia_is_not_every_folder_with_a_record_like_its(write_record):
    write_record("p00000_s00")
    header = write_record("other/a")
    assert choose(header.parents[1]).name == "wfdb"


# MUSIC

SUBJECTS = """Patient ID;Follow-up period from enrollment (days);Exit of the study;Cause of death;Age;Gender (male=1);\
Systolic blood pressure (mmHg);Diabetes (yes=1);daily smoking (cigarretes/day);smoke-free time (years);\
Total Cholesterol (mmol/L);HDL (mmol/L);LVEF (%)
P0001;2065;;0;58;1;120;0;0;0;5,4;1,29;35
P0002;2045;2;0;>89;0;100;1;20;0;;0,9;1,458,333,333
P0003;1;3;3;69;1;105;0;20;12,5;4,7;1;20,5
P0004;90;3;6;72;1;110;0;20;;4,7;1;40
P0005;90;1;0;72;1;110;0;0;0;4,7;1;40
"""


@pytest.fixture
def music_folder(write_record, monkeypatch) -> Path:
    monkeypatch.setattr(music, "EVERY_S", 20.0)
    for name in ("P0001", "P0002", "P0003", "P0004", "P0005", "P0099"):
        header = write_record(
            f"Holter_ECG/{name}", leads=("X", "Y", "Z"), rate=200, samples=200 * 55, seed=int(name[1:])
        )
    (header.parents[1] / "subject-info.csv").write_text(SUBJECTS)
    return header.parents[1]


def test_music_outcomes_are_not_only_deaths(music_folder):
    recordings, refused = read(music_folder, "music")
    first = {r.patient: r.metadata for r in recordings.values()}
    assert {patient: m.labels["outcome"] for patient, m in first.items()} == {
        "P0001": ("survivor",),
        "P0002": ("transplant",),
        "P0003": ("sudden cardiac death",),
        "P0004": ("pump failure death",),
        "P0005": ("lost to follow-up",),
    }
    assert refused == {"Holter_ECG/P0099": "patient P0099 is not in subject-info.csv"}
    assert sorted(name for name in recordings if "P0001" in name) == [f"Holter_ECG/P0001/{k:04d}" for k in range(3)]
    assert {(r.leads, r.sampling_rate, r.signal.shape) for r in recordings.values()} == {
        (("X", "Y", "Z"), 200, (3, 2000))
    }


def test_music_numbers_have_decimal_commas(music_folder):
    first = {r.patient: r.metadata for r in read(music_folder, "music")[0].values()}
    one, two, three = first["P0001"], first["P0002"], first["P0003"]
    assert (one.age, one.sex, one.sbp, one.diabetes, one.total_chol, one.hdl_chol) == (
        58,
        "male",
        120,
        False,
        5.4,
        1.29,
    )
    assert (two.age, two.sex, two.diabetes, two.hdl_chol) == (90, "female", True, 0.9)
    assert np.isnan(two.total_chol)
    assert two.values == {"follow_up_days": 2045}  # the decimal mark of its other number was lost
    assert three.values == {"follow_up_days": 1, "lvef": 20.5}
    smokers = {patient: m.smoker for patient, m in first.items()}
    assert smokers == {"P0001": False, "P0002": True, "P0003": False, "P0004": None, "P0005": False}


def test_another_table_of_that_name_is_not_music(write_record):
    folder = write_record("100001/100001_ECG").parents[1]
    (folder / "subject-info.csv").write_text("ID;Gender;Age\n100001;F;30\n")
    assert choose(folder).name == "wfdb"


def test_music_without_a_cause_of_death_or_with_an_unknown_one_has_no_outcome():
    row = {"Age": "61", "Exit of the study": ""}
    assert music.metadata_of({**row, "Cause of death": ""}).labels == {}
    assert music.metadata_of({**row, "Cause of death": "5"}).labels == {}
    assert music.metadata_of({**row, "Cause of death": "0"}).labels == {"outcome": ("survivor",)}


# MC-MED

VISITS = """MRN,CSN,Visit_no,Age,Gender,Triage_acuity,Triage_SBP,Triage_DBP,ED_dispo,DC_dispo,Dx_name
70001,98000123,1,90,F,3-Urgent,141,88,Discharge,"Home/Work (includes foster, group home)",Chest pain
70001,98000456,2,90,F,,,,ICU,,
"""


def test_mcmed_reads_lead_two_of_visits_and_keeps_patients_together(write_record):
    for name in ("123/98000123/II/98000123_1", "456/98000456/II/98000456_1", "789/98000789/II/98000789_1"):
        header = write_record(f"waveforms/{name}", leads=("II",), rate=500, samples=5500)
    write_record("waveforms/123/98000123/Pleth/98000123_1", leads=("Pleth",), unit="NU", rate=125)
    folder = header.parents[4]
    (folder / "visits.csv").write_text(VISITS)
    recordings, refused = read(folder, "mc-med")
    names = ("123/98000123/II/98000123_1", "456/98000456/II/98000456_1")
    first, second = (recordings[f"waveforms/{name}/0000"] for name in names)
    assert len(recordings) == 2
    assert first.patient == second.patient == "70001"
    assert first.leads == ("II",)
    assert (first.metadata.age, first.metadata.sex, first.metadata.sbp) == (90, "female", 141)
    assert first.metadata.labels == {
        "ed_disposition": ("Discharge",),
        "dc_disposition": ("Home/Work (includes foster, group home)",),
        "acuity": ("3",),
    }
    assert first.metadata.values == {"triage_sbp": 141, "triage_dbp": 88}
    assert second.metadata.labels == {"ed_disposition": ("ICU",)}
    assert second.metadata.values == {}
    assert list(refused.values()) == ["the visit of 98000789_1 is not in visits.csv"]
