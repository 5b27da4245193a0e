"""Databases of twelve leads as they are published: millivolts, leads by name, patients, labels, sentinels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from card_reading import read

from ecgloss.data import open_dataset
from ecgloss.data.cards import choose
from ecgloss.data.cards.mimic_iv_ecg import LEADS, values_of
from ecgloss.data.challenge_classes import CHALLENGE_CLASSES, challenge_targets
from ecgloss.data.recording import STANDARD_LEADS


def write_mat(header: Path, *comments: str, rate: int = 500, samples: int = 1000, leads=STANDARD_LEADS) -> np.ndarray:
    """A record as the Challenges write it, .hea with .mat of MATLAB 4 and 1000 counts per mV; returns mV."""
    header.parent.mkdir(parents=True, exist_ok=True)
    counts = np.random.default_rng(list(header.stem.encode())).integers(-2000, 2000, (len(leads), samples), np.int16)
    scipy.io.savemat(header.with_suffix(".mat"), {"val": counts}, format="4")
    lines = [f"{header.stem} {len(leads)} {rate} {samples}"]
    lines += [f"{header.stem}.mat 16+24 1000/mV 16 0 {row[0]} {int(row.sum())} 0 {n}" for n, row in zip(leads, counts)]
    header.write_text("\n".join([*lines, *(f"#{comment}" for comment in comments)]) + "\n")
    return counts / 1000


# MIMIC-IV-ECG

RECORDS = """subject_id,study_id,file_name,ecg_time,path
10000032,40689238,40689238,2180-07-23 08:44:00,files/p1000/p10000032/s40689238/40689238
10000032,44458630,44458630,2180-07-23 09:54:00,files/p1000/p10000032/s44458630/44458630
10000117,49036311,49036311,2181-03-04 17:14:00,files/p1000/p10000117/s49036311/49036311
10000999,49999999,49999999,2181-03-04 17:14:00,files/p1000/p10000117/s49999999/49999999
19999999,41111111,41111111,2181-03-04 17:14:00,files/p1999/p19999999/s41111111/41111111
10000117,42222222,42222222,2181-03-04 17:14:00,../../etc/p10000117/s42222222/42222222
"""
MEASUREMENTS = """subject_id,study_id,cart_id,ecg_time,report_0,report_1,bandwidth,filtering,rr_interval,p_onset,p_end,\
qrs_onset,qrs_end,t_end,p_axis,qrs_axis,t_axis
10000032,40689238,6848296,2180-07-23 08:44:00,Sinus,"Normal, maybe",0.005-150 Hz,60 Hz,659,40,128,170,258,518,81,77,65
10000032,44458630,6848296,2180-07-23 09:54:00,Atrial fibrillation,,0.005-150 Hz,60 Hz,65535,29999,29999,170,258,29999,\
32767,-32768,65
"""


@pytest.fixture
def mimic(write_record) -> Path:
    for name in ("p10000032/s40689238/40689238", "p10000032/s44458630/44458630", "p10000117/s49036311/49036311"):
        header = write_record(f"files/p1000/{name}", leads=LEADS, rate=500, samples=5000, seed=len(name))
    folder = header.parents[4]
    (folder / "record_list.csv").write_text(RECORDS)
    (folder / "machine_measurements.csv").write_text(MEASUREMENTS)
    return folder


def test_mimic_patients_leads_and_measurements(mimic):
    recordings, refused = read(mimic, "mimic-iv-ecg")
    assert [(r.name[-8:], r.patient, r.leads) for r in recordings.values()] == [
        ("40689238", "10000032", LEADS),
        ("44458630", "10000032", LEADS),
        ("49036311", "10000117", LEADS),
    ]
    assert LEADS[3:6] == ("aVR", "aVF", "aVL")  # not the usual order
    first, second, third = (dict(r.metadata.values) for r in recordings.values())
    assert first == pytest.approx(
        {"rr_interval": 659, "heart_rate": 60000 / 659, "p_duration": 88, "pr_interval": 130, "qrs_duration": 88}
        | {"qt_interval": 348, "p_axis": 81, "qrs_axis": 77, "t_axis": 65}
    )
    assert second == {"qrs_duration": 88, "t_axis": 65}  # all else has one of the numbers that stand for nothing
    assert third == {}
    assert {name[-8:]: reason for name, reason in refused.items()} == {
        "49999999": "record_list.csv says subject 10000999, and its path is files/p1000/p10000117/s49999999/49999999",
        "42222222": "file name '../../etc/p10000117/s42222222/42222222.hea' leads outside the folder of the dataset",
    }  # and the patient who was not downloaded is not listed


def test_mimic_times_and_axes_out_of_range_are_missing():
    row = {"rr_interval": "0", "p_onset": "600", "qrs_onset": "500", "qrs_end": "5001", "qrs_axis": "361", "t_axis": ""}
    assert values_of(row) == {}
    assert values_of({"qrs_axis": "-90"}) == {"qrs_axis": -90}


def test_mimic_takes_diagnoses_ejection_fractions_and_risks_from_tables_beside_it(mimic, at_100hz, tmp_path):
    names = RECORDS.splitlines()[1:]
    (mimic / "records_w_diag_icd10.csv").write_text(
        "file_name,study_id,subject_id,all_diag_all,ed_diag_ed,gender,age,strat_fold\n"
        "a,40689238,10000032,\"['I4891', 'I480', 'I10']\",[],M,61,18\n"
        "b,44458630,10000032,[],[],missing,61,19\n"
        "c,49036311,10000117,[],\"['R074']\",F,91,0\n"
    )
    paths = {name.split(",")[1]: name.split(",")[-1] for name in names}
    (mimic / "LVEF.csv").write_text(
        f"subject_id,waveform_path,LVEF,class\n10000032,{paths['40689238']},35,0\n"
        f"10000032,{paths['44458630']},7065,1\n10000117,{paths['49036311']},50,1\n"
    )
    (mimic / "mimiciv_metadata_with_score2.csv").write_text(
        f"path,gender,age_at_ecg,Blood Pressure,score2_risk\n{paths['40689238']},M,60,131/80,7.5\n"
        f"{paths['49036311']},F,,700/80,\n"
    )
    first, second, third = (recording.metadata for recording in read(mimic, "mimic-iv-ecg")[0].values())
    assert (first.age, first.sex, first.sbp, first.part) == (61.0, "male", 131.0, "validation")
    assert first.labels == {"icd10": ("I10", "I48"), "reduced_lvef": ("reduced",)}
    assert first.values["lvef"] == 35
    assert first.values["score2_risk"] == 7.5
    assert first.values["qt_interval"] == 348  # as without the tables
    assert second.labels == {}  # no stay, and no ejection fraction that can be true
    assert (second.sex, second.part) == (None, "test")
    assert third.labels == {"icd10": (), "reduced_lvef": ()}
    assert (third.part, np.isnan(third.sbp)) == ("train", True)
    (mimic / "records_w_diag_icd10.csv").write_text("study_id,all_diag_all\n1,__import__('os')\n")
    with pytest.raises(ValueError, match=r"records_w_diag_icd10.csv: all_diag_all is not a list of codes"):
        open_dataset(mimic, preprocessing=at_100hz, cache_dir=tmp_path / "caches", progress=False)


def test_mimic_goes_through_the_whole_conversion(mimic, at_100hz, tmp_path):
    dataset = open_dataset(mimic, preprocessing=at_100hz, cache_dir=tmp_path / "caches", progress=False)
    assert dataset.index["patient"].tolist() == ["10000032", "10000032", "10000117"]
    assert "qt_interval" in dataset.tasks()
    assert dataset.leads(0) == LEADS


# Chapman-Shaoxing and Ningbo

CONDITIONS = """Acronym Name,Full Name,Snomed_CT
AF,Atrial Flutter,164890007
AFIB,Atrial Fibrillation,164889003
ST,Sinus Tachycardia,427084000
ERV,Early repolarization of the ventricles,428417006
LVH,left ventricle hypertrophy,164873001
LVHV,left ventricle high voltage,164873001
"""


@pytest.fixture
def chapman(tmp_path) -> Path:
    folder = tmp_path / "ecg-arrhythmia"
    write_mat(
        folder / "WFDBRecords/01/010/JS00001.hea", "Age: 85", "Sex: Male", "Dx: 164890007,428417006,", "Rx: Unknown"
    )
    write_mat(
        folder / "WFDBRecords/03/032/JS03287.hea", "Age: NaN", "Sex: Unknown", "Dx: 427084000,,251238007,164873001"
    )
    header = folder / "WFDBRecords/01/019/JS01052.hea"
    write_mat(header, "Age: 50", "Dx: 426177001")
    header.write_text("JS01052 12 500 5000\nJS01052.mat\n")
    (folder / "ConditionNames_SNOMED-CT.csv").write_text(CONDITIONS)
    return folder


@pytest.mark.parametrize("part", [".", "WFDBRecords"])
def test_chapman_flutter_is_not_fibrillation(chapman, part):
    recordings, refused = read(chapman / part, "ecg-arrhythmia")
    found = {name[-7:]: r.metadata for name, r in recordings.items()}
    assert found["JS00001"].labels == {"diagnosis": ("AFL", "early repolarization of the ventricles")}
    assert found["JS03287"].labels == {"diagnosis": ("STach", "251238007", "164873001")}  # a code of two names has none
    assert (found["JS00001"].age, found["JS00001"].sex, found["JS03287"].sex) == (85, "male", None)
    assert np.isnan(found["JS03287"].age)
    (reason,) = refused.values()
    assert "12 signals announced, 1 described" in reason
    targets = challenge_targets([found["JS00001"].labels["diagnosis"]])
    assert [CHALLENGE_CLASSES[k].name for k in targets[0].nonzero()[0]] == ["AFL"]


def test_chapman_signals_are_millivolts(chapman):
    header = chapman / "WFDBRecords/20/200/JS20000.hea"
    signal = write_mat(header, "Dx: 426783006")
    (recording,) = (r for name, r in read(chapman, "ecg-arrhythmia")[0].items() if name.endswith("JS20000"))
    np.testing.assert_allclose(recording.signal, signal, atol=1e-6)
    assert recording.leads == STANDARD_LEADS


def test_chapman_table_beside_the_signals_makes_a_new_cache(chapman):
    folder = chapman / "WFDBRecords"
    assert list(choose(folder).extra_files(folder)) == [chapman / "ConditionNames_SNOMED-CT.csv"]


def test_chapman_table_without_names_is_an_error_that_names_it(chapman):
    (chapman / "ConditionNames_SNOMED-CT.csv").write_text("Acronym,Code\nAF,1\n")
    with pytest.raises(ValueError, match=r"ConditionNames_SNOMED-CT.csv has no column Full Name; its columns are"):
        read(chapman, "ecg-arrhythmia")


# CPSC 2018


def test_cpsc2018_has_the_nine_classes_whatever_the_challenge_scores(tmp_path):
    write_mat(tmp_path / "g1/A0001.hea", "Age: 92", "Sex: Female", "Dx: 59118001,429622005")
    write_mat(tmp_path / "g1/A0002.hea", "Age: -1", "Sex: Male", "Dx: 164884008")
    write_mat(tmp_path / "g2/A1001.hea", "Age: 61", "Sex: Male", "Dx: 10370003")
    recordings, refused = read(tmp_path, "cpsc2018")
    assert not refused
    found = [r.metadata for r in recordings.values()]
    assert [m.labels["cpsc2018"] for m in found] == [("RBBB", "STD"), ("PVC",), ()]
    assert found[0].labels["diagnosis"] == ("59118001", "429622005")
    assert found[0].age == 90
    assert np.isnan(found[1].age)
    assert found[2].age == 61


def test_cpsc2018_beside_other_parts_is_read_as_the_challenge(tmp_path):
    write_mat(tmp_path / "cpsc_2018/A0001.hea", "Dx: 59118001")
    write_mat(tmp_path / "georgia/E00001.hea", "Dx: 59118001")
    assert choose(tmp_path).name == "challenge"
    assert choose(tmp_path / "cpsc_2018").name == "cpsc2018"


def test_cpsc2018_real_recordings(real_data):
    recordings, refused = read(real_data("challenge2021") / "cpsc_2018", "cpsc2018")
    assert not refused
    assert len(recordings) == 4
    assert all(r.metadata.labels["cpsc2018"] for r in recordings.values())


# CinC 2017


@pytest.fixture
def cinc2017(tmp_path) -> Path:
    folder = tmp_path / "challenge-2017"
    for part in ("training", "validation"):
        write_mat(folder / part / "A00/A00001.hea", rate=300, samples=3000, leads=("ECG",))
        (folder / part / "REFERENCE.csv").write_text("A00/A00001,N\n")
    write_mat(folder / "training/A00/A00002.hea", rate=300, samples=3000, leads=("ECG",))
    (folder / "training/REFERENCE.csv").write_text("A00/A00001,N\nA00/A00002,~\nA00/A00003,A\n")
    return folder


def test_cinc2017_classes_and_no_copies_of_the_validation_folder(cinc2017):
    recordings, refused = read(cinc2017, "cinc2017")
    assert {name: r.metadata.labels["rhythm"] for name, r in recordings.items()} == {
        "training/A00/A00001": ("normal",),
        "training/A00/A00002": ("noisy",),
    }
    assert refused == {"training/A00/A00003": "A00003.hea is missing"}
    assert {(r.leads, r.sampling_rate, r.patient) for r in recordings.values()} == {
        (("ECG",), 300.0, name) for name in recordings
    }


def test_cinc2017_of_the_flat_archive(tmp_path):
    signal = write_mat(tmp_path / "A00001.hea", rate=300, samples=3000, leads=("ECG",))
    (tmp_path / "REFERENCE.csv").write_text("A00001,O\n")
    recordings, refused = read(tmp_path, "cinc2017")
    assert not refused
    np.testing.assert_allclose(recordings["A00001"].signal, signal, atol=1e-6)
    assert recordings["A00001"].metadata.labels == {"rhythm": ("other",)}


def test_cinc2017_rows_that_are_none_are_named(cinc2017):
    with (cinc2017 / "training/REFERENCE.csv").open("a") as file:
        file.write("../../A00004,N\n")
    with pytest.raises(ValueError, match=r"REFERENCE.csv has the row '../../A00004,N'; rows are such as A00/A00001,N"):
        choose(cinc2017)
