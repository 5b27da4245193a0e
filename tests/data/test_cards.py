"""Every known defect of the databases, on the real recordings."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgloss.data.cards import CARDS, choose
from ecgloss.data.cards.challenge import abbreviations, diagnoses, diagnosis_tables
from ecgloss.data.cards.mitdb import _RECORDS
from ecgloss.data.cards.ptbdb import metadata_of
from ecgloss.data.cards.ptbxl import labels_of
from ecgloss.data.opening import open_dataset
from ecgloss.data.recording import STANDARD_LEADS


def read(folder, rate=500.0):
    """All recordings of a folder by name, and what could not be read."""
    recordings, refused = {}, {}
    for entry in choose(folder).entries(folder, rate):
        try:
            recordings |= {recording.name: recording for recording in entry.read()}
        except Exception as error:
            refused[entry.name] = str(error)
    return recordings, refused


def counts(recordings, task):
    return Counter(label for r in recordings.values() for label in r.metadata.labels.get(task, ()))


@pytest.mark.parametrize("name", ["ptbxl", "ludb", "mitdb", "ptbdb"])
def test_each_database_is_recognised(real_data, name):
    assert choose(real_data(name)).name == name


@pytest.mark.parametrize("folder", [".", "georgia", "cpsc_2018_extra", "ptb-xl", "unrepaired_header"])
def test_every_part_of_the_challenge_is_recognised(real_data, folder):
    assert choose(real_data("challenge2021") / folder).name == "challenge"


def test_every_card_cites_and_licenses_its_data():
    assert len({card.name for card in CARDS}) == len(CARDS)
    for card in CARDS[:-1]:
        assert card.citation
        assert card.licence
        assert card.defects
        assert card.tasks
        assert card.download
        assert "doi:" in card.citation


def test_overlaps_name_cards_and_hold_both_ways():
    overlaps = {card.name: set(card.overlaps) for card in CARDS}
    for name, others in overlaps.items():
        assert all(name in overlaps[other] for other in others), name


# PTB-XL


@pytest.mark.slow
def test_ptbxl_superclasses_are_those_of_the_benchmark(real_data):
    recordings, refused = read(real_data("ptbxl"))
    assert not refused
    assert len(recordings) == 358
    assert counts(recordings, "superdiagnostic") == {"NORM": 203, "STTC": 73, "MI": 54, "CD": 52, "HYP": 31}
    assert sum(not r.metadata.labels["superdiagnostic"] for r in recordings.values()) == 12
    assert counts(recordings, "rhythm")["SR"] == 286
    assert len({r.patient for r in recordings.values()}) == 331
    assert Counter(r.metadata.sex for r in recordings.values()) == {"male": 186, "female": 172}
    ages = np.array([r.metadata.age for r in recordings.values()])
    assert np.isnan(ages).sum() == 2
    assert np.nanmax(ages) == 90


@pytest.mark.slow
def test_ptbxl_uses_one_rate_for_all_where_files_at_500_hz_are_missing(real_data):
    recordings, _ = read(real_data("ptbxl"), rate=500.0)
    assert {r.sampling_rate for r in recordings.values()} == {100.0}
    assert {r.leads for r in recordings.values()} == {STANDARD_LEADS}  # AVR, AVL, AVF in the headers


@pytest.fixture
def complete_ptbxl(real_data, tmp_path):
    """A copy with the three first recordings whose 500 Hz files are there."""
    source = real_data("ptbxl")
    shutil.copytree(source / "records500", tmp_path / "records500")
    shutil.copytree(source / "records100", tmp_path / "records100")
    shutil.copy(source / "scp_statements.csv", tmp_path)
    header, *rows = (source / "ptbxl_database.csv").read_text().splitlines(keepends=True)
    kept = [row for row in rows if (source / f"{row.strip().rpartition(',')[2]}.hea").is_file()][:3]
    (tmp_path / "ptbxl_database.csv").write_text(header + "".join(kept))
    for folder in [tmp_path, *tmp_path.rglob("*")]:
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    return tmp_path


def test_ptbxl_uses_the_500_hz_files_where_all_are_there_and_the_target_needs_them(complete_ptbxl):
    rates = {rate: {r.sampling_rate for r in read(complete_ptbxl, rate)[0].values()} for rate in (500.0, 250.0, 100.0)}
    assert rates == {500.0: {500.0}, 250.0: {500.0}, 100.0: {100.0}}
    first = next((complete_ptbxl / "records500/00000").glob("00009_hr.hea"))
    first.unlink()
    assert {r.sampling_rate for r in read(complete_ptbxl, 500.0)[0].values()} == {100.0}


def test_ptbxl_ages_of_300_become_90_and_codes_are_never_evaluated(complete_ptbxl):
    table = complete_ptbxl / "ptbxl_database.csv"
    header, *rows = table.read_text().splitlines(keepends=True)
    fields = rows[0].split(",")
    fields[2] = "300.0"
    hostile = rows[1].replace("{", "__import__('os').system('false') or {")
    outside = rows[2].replace("records100/00000", "../records100/00000")
    table.write_text(header + ",".join(fields) + hostile + outside)
    recordings, refused = read(complete_ptbxl, rate=100.0)
    assert [r.metadata.age for r in recordings.values()] == [90.0]
    assert len(refused) == 2
    assert {reason[:25] for reason in refused.values()} == {"scp_codes is not a dictio", "file name '../records100/"}


def test_ptbxl_codes_that_are_no_dictionary_are_refused():
    for codes in ("[1]", "", "{", "{'NORM': open('x')}", "(" * 10000):
        with pytest.raises(ValueError, match="scp_codes is not a dictionary"):
            labels_of(codes, {})


# LUDB


@pytest.mark.slow
def test_ludb_amplitudes_are_millivolts_although_the_gains_in_its_headers_are_not(real_data):
    recordings, refused = read(real_data("ludb"))
    assert not refused
    assert len(recordings) == 200
    for recording in recordings.values():
        i, ii, iii, avr, avl, avf = recording.signal[:6].astype(float)
        np.testing.assert_allclose(ii, i + iii, atol=1e-5)  # exact in counts; float32 here
        np.testing.assert_allclose(avr, -(i + ii) / 2, atol=0.00051)  # half a count of 1 microvolt
        np.testing.assert_allclose(avl, (i - iii) / 2, atol=0.00051)
        np.testing.assert_allclose(avf, (ii + iii) / 2, atol=0.00051)
    heights = [np.ptp(recording.signal, axis=1) for recording in recordings.values()]
    assert np.median(heights) == pytest.approx(1.537, abs=0.001)  # headers would make it 1.0 everywhere
    assert {r.leads for r in recordings.values()} == {STANDARD_LEADS}  # lower case in the headers


@pytest.mark.slow
def test_ludb_cells_with_line_breaks_and_the_age_above_89_are_read(real_data):
    recordings, _ = read(real_data("ludb"))
    assert counts(recordings, "rhythm") == {
        "Sinus rhythm": 143,
        "Sinus bradycardia": 25,
        "Atrial fibrillation": 15,
        "Sinus arrhythmia": 8,
        "Sinus tachycardia": 4,
        "Atrial flutter, typical": 3,
        "Irregular sinus rhythm": 2,
    }
    assert counts(recordings, "hypertrophy")["Left ventricular hypertrophy"] == 108
    assert sum(bool(r.metadata.labels["pacing"]) for r in recordings.values()) == 10
    assert sum("axis" in r.metadata.labels for r in recordings.values()) == 190
    assert Counter(r.metadata.sex for r in recordings.values()) == {"male": 115, "female": 85}
    ages = [r.metadata.age for r in recordings.values()]
    assert (min(ages), np.median(ages), max(ages)) == (11, 56, 90)
    assert recordings["data/34"].metadata.age == 90  # >89 in the table


# Challenge


def test_challenge_diagnoses_are_named_and_headers_as_first_published_are_read(real_data):
    recordings, refused = read(real_data("challenge2021"))
    assert len(recordings) == 97
    assert refused == {}
    first = recordings["unrepaired_header/E00271"]  # its record line: E00271.mat 12 500 5000 05-May-2020 14:50:55
    assert first.signal.shape == (12, 5000)
    assert first.sampling_rate == 500
    found = counts(recordings, "diagnosis")
    assert {name: found[name] for name in ("SNR", "SB", "NSSTTA", "STach", "LVH")} == {
        "SNR": 27,
        "SB": 15,
        "NSSTTA": 15,
        "STach": 13,
        "LVH": 9,
    }
    assert not any(name.isdigit() for name in found)
    assert len(found) == 40


def test_challenge_codes_are_named_from_a_sub_folder_too(real_data):
    recordings, _ = read(real_data("challenge2021") / "georgia")
    assert recordings["E00271"].metadata.labels["diagnosis"] == ("RBBB",)
    assert recordings["E00271"].metadata.age == 83
    assert len(recordings) == 60


def test_challenge_codes_stay_codes_without_the_tables(tmp_path):
    assert abbreviations(diagnosis_tables(tmp_path / "a" / "b" / "c")) == {}
    assert diagnoses("59118001,1", {}) == ("59118001", "1")


def test_challenge_tables_of_2021_are_read(tmp_path):
    (tmp_path / "dx_mapping_scored.csv").write_text("Dx,SNOMEDCTCode,Abbreviation\nsinus rhythm,426783006,NSR\n")
    assert abbreviations(diagnosis_tables(tmp_path / "part" / "g1")) == {"426783006": "NSR"}


def test_challenge_unit_mv_is_millivolt(real_data):
    folder = real_data("challenge2021") / "ptb-xl"
    recordings, refused = read(folder)
    assert not refused
    assert len(recordings) == 10
    digital = wfdb.rdrecord(str(folder / "HR06000"), physical=False).d_signal.T
    np.testing.assert_allclose(recordings["HR06000"].signal, digital / 1000, atol=1e-6)


def test_challenge_age_nan_and_unknown_sex_are_missing(write_record):
    header = write_record("JS1", comments=["Age: NaN", "Sex: Unknown", "Dx: 1", "Rx: Unknown"])
    assert choose(header.parent).name == "challenge"
    metadata = read(header.parent)[0]["JS1"].metadata
    assert np.isnan(metadata.age)
    assert metadata.sex is None


# MIT-BIH


def test_mitdb_is_cut_into_windows_with_the_rhythm_of_each(real_data):
    recordings, refused = read(real_data("mitdb"))
    assert not refused
    assert len(recordings) == 8 * 180  # 30 min 5.6 s each
    assert {r.signal.shape for r in recordings.values()} == {(2, 3600)}
    assert recordings["100/0000"].metadata.labels == {"rhythm": ("N",), "beats": ("A", "N")}
    assert recordings["217/0000"].metadata.labels["rhythm"] == ("P",)
    by_record = {name: set() for name in ("100", "106", "203", "217", "222")}
    for name, recording in recordings.items():
        if name[:3] in by_record:
            by_record[name[:3]] |= set(recording.metadata.labels["rhythm"])
    assert by_record["100"] == {"N"}
    assert "VT" in by_record["106"] & by_record["203"] & by_record["217"]
    assert "AFIB" in by_record["203"] & by_record["217"] & by_record["222"]
    whole = wfdb.rdrecord(str(real_data("mitdb") / "100")).p_signal.T
    np.testing.assert_allclose(recordings["100/0007"].signal, whole[:, 7 * 3600 : 8 * 3600], atol=1e-6)


def test_mitdb_leads_go_by_name_where_their_order_is_reversed(real_data):
    recordings, _ = read(real_data("mitdb"))
    assert recordings["114/0000"].leads == ("V5", "MLII")
    assert recordings["100/0000"].leads == ("MLII", "V5")
    assert recordings["106/0000"].leads == ("MLII", "V1")
    assert {r.patient: (r.metadata.age, r.metadata.sex) for r in recordings.values()} == {
        "100": (69, "male"),
        "106": (24, "female"),
        "109": (64, "male"),
        "114": (72, "female"),
        "118": (69, "male"),
        "203": (43, "male"),
        "217": (65, "male"),
        "222": (84, "female"),
    }


def test_mitdb_records_of_one_patient_are_one_patient(write_record):
    for name in ("201", "202", "203"):
        header = write_record(name, leads=("MLII", "V1"), rate=360, samples=4000)
    recordings, _ = read(header.parent)
    assert choose(header.parent).name == "mitdb"
    assert {name: r.patient for name, r in recordings.items()} == {
        "201/0000": "201",
        "202/0000": "201",
        "203/0000": "203",
    }
    assert recordings["201/0000"].metadata.labels == {}  # no annotations: not labelled, and not an error
    assert len(_RECORDS) == 48


# PTB


def test_ptbdb_gives_risk_factors_and_reads_twelve_leads_without_the_frank_leads(real_data):
    recordings, refused = read(real_data("ptbdb"))
    assert not refused
    complete, missing = recordings["s0010_re"], recordings["s0015lre"]
    assert complete.leads == (*STANDARD_LEADS, "VX", "VY", "VZ")
    assert missing.leads == STANDARD_LEADS
    a, b = complete.metadata, missing.metadata
    assert (a.age, a.sex, a.smoker, a.diabetes, a.sbp) == (81, "female", False, True, 140)
    assert (b.age, b.sex, b.smoker, b.diabetes, b.sbp) == (58, "female", True, False, 120)
    assert a.labels == {"diagnosis": ("Myocardial infarction",)}


def test_ptbdb_words_for_unknown_are_missing_values():
    metadata = metadata_of(
        ("age: n/a", "Smoker: unknown", "Additional diagnoses: unknown", "Reason for admission: n/a")
    )
    assert np.isnan(metadata.age)
    assert (metadata.smoker, metadata.diabetes, metadata.labels) == (None, None, {})


def test_ptbdb_patients_are_the_folders_of_the_original_layout(write_record):
    for name in ("patient001/s0010_re", "patient001/s0014lre", "patient002/s0015lre"):
        header = write_record(name, comments=["age: 81", "Reason for admission: n/a"])
    recordings, _ = read(header.parent.parent)
    assert [r.patient for r in recordings.values()] == ["patient001", "patient001", "patient002"]


# any other folder


def test_any_layout_is_read_with_age_and_sex_where_the_header_gives_them(write_record):
    write_record("a", comments=["<age>: 61 <sex>: F"])
    header = write_record("deep/er/b")
    recordings, refused = read(header.parent.parent.parent)
    assert not refused
    assert choose(header.parent.parent.parent).name == "wfdb"
    assert {name: (r.patient, r.metadata.sex) for name, r in recordings.items()} == {
        "a": ("a", "female"),
        "deep/er/b": ("deep/er/b", None),
    }


@pytest.mark.slow
def test_a_folder_of_databases_is_read_with_the_card_of_each(real_data):
    folder = real_data("ptbxl").parent
    recordings, refused = read(folder)
    assert refused == {}
    assert Counter(name.partition("/")[0] for name in recordings) == {
        "challenge2021": 97,
        "ludb": 200,
        "mitdb": 1440,
        "ptbdb": 2,
        "ptbxl": 358,
    }
    # LUDB's amplitude is right here too, and its patient 1 is not anybody else's
    assert np.ptp(recordings["ludb/data/1"].signal) > 1.1
    assert recordings["ludb/data/1"].patient == "ludb/1"
    assert json.dumps(recordings["ptbxl/records100/00000/00001_lr"].metadata.labels["form"]) == '["LVOLT"]'


# Layouts, tables and comments of other people


def test_folders_and_comments_that_name_patients_are_followed(write_record):
    for k, name in enumerate(("p10000001/s1/a", "p10000001/s2/b", "p10000002/s3/c")):
        write_record(f"files/p1000/{name}", seed=k)
    write_record("incart/I01", seed=5, comments=["patient 1"])
    header = write_record("incart/I02", seed=6, comments=["patient 1"])
    recordings, _ = read(header.parent.parent)
    patients = {name: r.patient for name, r in recordings.items()}
    assert patients == {
        "files/p1000/p10000001/s1/a": "files/p1000/p10000001",
        "files/p1000/p10000001/s2/b": "files/p1000/p10000001",
        "files/p1000/p10000002/s3/c": "files/p1000/p10000002",
        "incart/I01": "incart/patient 1",
        "incart/I02": "incart/patient 1",
    }


def test_one_record_without_diagnosis_does_not_take_those_of_the_others(write_record):
    write_record("E0000", seed=1, comments=["Age: 61"])
    header = write_record("E0001", seed=2, comments=["Age: 61", "Dx: 426783006"])
    recordings, _ = read(header.parent)
    assert recordings["E0001"].metadata.labels == {"diagnosis": ("426783006",)}
    assert recordings["E0000"].metadata.labels == {}


def ptbxl_folder(write_record, database: str, statements: str) -> Path:
    header = write_record("records100/00000/00001_lr")
    folder = header.parent.parent.parent
    (folder / "ptbxl_database.csv").write_text(database)
    (folder / "scp_statements.csv").write_text(statements)
    return folder


DATABASE = """ecg_id,patient_id,age,sex,scp_codes,filename_lr,filename_hr
1,7.0,61.0,1,"{'IMI': 100.0, 'SR': 0.0}",records100/00000/00001_lr,records500/00000/00001_hr
"""
STATEMENTS = """,description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass
IMI,inferior,1.0,,,MI,IMI
SR,sinus,,,1.0,,
"""


@pytest.mark.parametrize(
    ("database", "statements"),
    [
        (DATABASE, STATEMENTS),
        (DATABASE.replace(",", ";").replace("100.0; 'SR'", "100.0, 'SR'"), STATEMENTS),
        (DATABASE, "\n".join(f"{k - 1 if k else ''},{line}" for k, line in enumerate(STATEMENTS.splitlines()))),
        ("\ufeff" + DATABASE, STATEMENTS),
    ],
)
def test_tables_of_ptbxl_as_spreadsheets_and_pandas_save_them(write_record, database, statements):
    recordings, refused = read(ptbxl_folder(write_record, database, statements))
    assert refused == {}
    (recording,) = recordings.values()
    assert recording.metadata.labels["superdiagnostic"] == ("MI",)
    assert recording.metadata.labels["rhythm"] == ("SR",)
    assert recording.metadata.labels["all"] == ("IMI", "SR")


@pytest.mark.parametrize(
    ("database", "statements", "message"),
    [
        (
            DATABASE.replace("filename_lr", "file"),
            STATEMENTS,
            r"ptbxl_database.csv has no column filename_lr; its columns",
        ),
        (DATABASE, STATEMENTS.replace("rhythm", "r"), r"scp_statements.csv has no column rhythm"),
        (
            DATABASE,
            STATEMENTS.replace("IMI,inf", "X,inf").replace("SR,", "Y,"),
            r"none of the statements .* such as IMI, SR",
        ),
        (DATABASE.splitlines()[0], STATEMENTS, r"ptbxl_database.csv has no rows"),
    ],
)
def test_tables_that_cannot_be_used_are_named_with_their_column(write_record, database, statements, message):
    with pytest.raises(ValueError, match=message):
        read(ptbxl_folder(write_record, database, statements))


def test_median_beats_beside_their_records_are_no_recordings(write_record, at_100hz, tmp_path):
    for name in ("1001/a", "1001/b", "1002/c"):
        write_record(f"raw/{name}", seed=ord(name[-1]))
        write_record(f"medians/{name}", samples=120)
    write_record("medians/1002/alone", seed=7)  # there is no record of this name
    dataset = open_dataset(tmp_path / "db", preprocessing=at_100hz, cache_dir=tmp_path / "c", progress=False)
    assert dataset.index["name"].tolist() == ["medians/1002/alone", "raw/1001/a", "raw/1001/b", "raw/1002/c"]
    assert [skip.name for skip in dataset.skipped] == ["medians/1001/a", "medians/1001/b", "medians/1002/c"]
    assert dataset.skipped[0].reason.startswith("is the median beat of the record of the same name beside it")
