"""Databases that are no WFDB: HDF5, MATLAB and tables of text, in the layout they are published in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from card_reading import read

from ecgloss._extras import MissingExtraError
from ecgloss.data import hdf5, open_dataset
from ecgloss.data.cards import choose
from ecgloss.data.recording import STANDARD_LEADS

# CPSC 2020


@pytest.fixture
def cpsc2020(tmp_path) -> Path:
    data, ref = tmp_path / "TrainingSet/data", tmp_path / "TrainingSet/ref"
    data.mkdir(parents=True)
    ref.mkdir()
    signal = np.sin(np.arange(9000) / 40)[:, None]
    for k in (1, 2):
        scipy.io.savemat(data / f"A{k:02d}.mat", {"ecg": signal})
    beats = {"S_ref": np.array([[4001]]), "V_ref": np.array([[10], [8000], [8000]])}
    scipy.io.savemat(ref / "R01.mat", {"ref": beats})
    scipy.io.savemat(ref / "R02.mat", {"ref": {"S_ref": np.zeros((0, 1)), "V_ref": np.zeros((0, 1))}})
    return tmp_path


def test_cpsc2020_premature_beats_of_windows(cpsc2020):
    recordings, refused = read(cpsc2020, "cpsc2020")
    assert not refused
    assert {name: r.metadata.labels["premature_beats"] for name, r in recordings.items()} == {
        "A01/0000": ("V",),
        "A01/0001": ("S", "V"),  # sample 4001 of MATLAB is the first of the second window; 8000 its last
        "A02/0000": (),
        "A02/0001": (),
    }
    found = recordings["A01/0001"]
    np.testing.assert_allclose(found.signal[0], np.sin(np.arange(4000, 8000) / 40), atol=1e-6)
    assert (found.leads, found.sampling_rate, found.patient) == (("ECG",), 400, "A01")


def test_cpsc2020_damaged_files_are_skipped_with_a_reason(cpsc2020):
    (cpsc2020 / "TrainingSet/data/A02.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b"\0" * 200)
    scipy.io.savemat(cpsc2020 / "TrainingSet/data/A03.mat", {"other": np.zeros(3)})
    _, refused = read(cpsc2020, "cpsc2020")
    assert refused["A03"] == "A03.mat has no variable ecg"
    assert refused["A02"].startswith("A02.mat ")


# Aurora-BP

PARTICIPANTS = "pid\tage\theight\tweight\tgender\tdiabetes\na000\t56.0\t63.0\t108.0\tF\t0\no001\t45.0\t70\t170\tM\t1\n"
COLUMNS = "pid\tphase\tmeasurement\tsbp\tdbp\tduration\twaveform_file_path\twaveforms_generated\n"


@pytest.fixture
def aurora(tmp_path) -> Path:
    rows = [
        ("a000", "110.0", "74.0", "measurements_auscultatory/a000/a000.initial.Calibration_start_1.tsv"),
        ("a000", "150.0", "0.0", "measurements_auscultatory/a000/a000.initial.Exercise_challenge_start_2.tsv"),
        ("a000", "118.0", "71.0", ""),
        ("a000", "118.0", "71.0", "../secret.tsv"),
        ("a000", "118.0", "71.0", "measurements_auscultatory/a000/a000.return.Temporal_challenge_start_1.tsv"),
    ]
    lines = [f"{pid}\tinitial\tx\t{sbp}\t{dbp}\t18.5\t{path}\t1\n" for pid, sbp, dbp, path in rows]
    (tmp_path / "participants.tsv").write_text(PARTICIPANTS)
    (tmp_path / "measurements_auscultatory.tsv").write_text(COLUMNS + "".join(lines))
    folder = tmp_path / "measurements_auscultatory/a000"
    folder.mkdir(parents=True)
    for name, missing in (("initial.Calibration_start_1", ""), ("initial.Exercise_challenge_start_2", "NaN")):
        samples = [f"{k / 500:.5g}\t{6.5 + np.sin(k / 50):.4f}\t-5.8e+05\t2901.6\t0\t0\t0" for k in range(1, 1000)]
        first = f"1.1369e-13\t{missing or 6.5}\t-5.8138e+05\t2901.6\t-0.8\t0.04\t0.42"
        text = "\n".join(["t\tekg\toptical\tpressure\taccel_x\taccel_y\taccel_z", first, *samples])
        (folder / f"a000.{name}.tsv").write_text(text + "\n")
    return tmp_path


def test_aurora_pressures_are_those_of_the_measurement(aurora):
    recordings, refused = read(aurora, "aurorabp")
    assert [(r.patient, dict(r.metadata.values), r.metadata.sbp) for r in recordings.values()] == [
        ("a000", {"sbp": 110, "dbp": 74}, 110),
        ("a000", {"sbp": 150}, 150),
    ]
    first, second = recordings.values()
    assert (first.metadata.age, first.metadata.sex, first.metadata.diabetes) == (56, "female", False)
    assert (first.leads, first.sampling_rate, first.signal.shape) == (("I",), 500, (1, 1000))
    np.testing.assert_allclose(first.signal[0], 6.5 + np.sin(np.arange(1000) / 50), atol=1e-4)
    assert np.isnan(second.signal[0, 0])
    assert list(refused.values()) == [
        "file name '../secret.tsv' leads outside the folder of the dataset",
        "a000.return.Temporal_challenge_start_1.tsv is missing",
    ]


def test_aurora_columns_and_times_that_cannot_be_used_are_named(aurora):
    folder = aurora / "measurements_auscultatory/a000"
    (folder / "a000.initial.Calibration_start_1.tsv").write_text("t\tecg\n0\t1\n")
    (folder / "a000.initial.Exercise_challenge_start_2.tsv").write_text("t\tekg\n0\t1\n0.002\t1\n0.1\t1\n")
    _, refused = read(aurora, "aurorabp")
    reasons = list(refused.values())
    assert reasons[0] == "a000.initial.Calibration_start_1.tsv has the columns t, ecg; t and ekg are needed"
    assert reasons[1] == "the times in a000.initial.Exercise_challenge_start_2.tsv are not equally spaced"


# CODE-15 % and SPH

EXAMS = """exam_id,age,is_male,nn_predicted_age,1dAVb,RBBB,LBBB,SB,ST,AF,patient_id,death,timey,normal_ecg,trace_file
1002,61,False,60.2,True,False,False,False,False,True,9001,,,False,exams_part0.hdf5
1001,50,True,51.0,False,False,False,False,False,False,9000,False,1.0,False,exams_part0.hdf5
1003,44,True,45.1,False,False,False,False,False,False,9000,True,3.5,True,exams_part1.hdf5
"""


@pytest.fixture
def code15(tmp_path) -> Path:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "exams.csv").write_text(EXAMS)
    tracings = np.zeros((4, 4096, 12), np.float32)
    tracings[0, 581:3515] = 1 + np.arange(12) / 10
    tracings[1, 48:4048] = 2
    tracings[1, 100:200] = 0  # zeros within the recording are samples
    with h5py.File(tmp_path / "exams_part0.hdf5", "w") as file:
        file["exam_id"] = np.array([1001, 1002, 1999, 0])
        file["tracings"] = tracings
    return tmp_path


def test_code15_exams_are_found_by_number_and_cut_to_what_was_recorded(code15):
    recordings, refused = read(code15, "code15")
    first, second = recordings["exams_part0/1001"], recordings["exams_part0/1002"]
    assert len(recordings) == 2
    assert (first.signal.shape, second.signal.shape) == ((12, 2934), (12, 4000))
    np.testing.assert_allclose(first.signal[:, 0], 1 + np.arange(12) / 10, rtol=1e-6)
    assert (first.patient, first.metadata.age, first.metadata.sex) == ("9000", 50, "male")
    assert (second.patient, second.metadata.age, second.metadata.sex) == ("9001", 61, "female")
    assert first.metadata.labels == {"abnormality": (), "normal": ("no",)}  # none of the six, and yet not normal
    assert second.metadata.labels == {"abnormality": ("1dAVb", "AF"), "normal": ("no",)}
    assert (first.leads, first.sampling_rate) == (STANDARD_LEADS, 400)
    assert refused == {"exams_part0/1999": "the exam is not in exams.csv"}


def test_code15_goes_through_the_whole_conversion(code15, at_100hz, tmp_path):
    dataset = open_dataset(code15, preprocessing=at_100hz, cache_dir=tmp_path / "caches", progress=False)
    assert len(dataset) == 2
    assert [skipped.name for skipped in dataset.skipped] == ["exams_part0/1999"]


def test_code15_that_was_not_unpacked_says_so(tmp_path):
    (tmp_path / "exams.csv").write_text(EXAMS)
    with pytest.raises(ValueError, match=r"has no file exams_part\*.hdf5; unpack the archives exams_part0.zip"):
        read(tmp_path, "code15")


def test_hdf5_arrays_in_other_files_are_not_opened(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.arange(3)
    (tmp_path / "raw.bin").write_bytes(bytes(24))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["linked"] = h5py.ExternalLink("secret.h5", "/x")
        file["soft"] = h5py.SoftLink("/linked")
        file.create_dataset("raw", (3,), "f8", external=[("raw.bin", 0, 24)])
        layout = h5py.VirtualLayout((3,), "i8")
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "x", (3,))
        file.create_virtual_dataset("virtual", layout)
        file["own"] = np.arange(4)
    for name in ("linked", "soft", "raw", "virtual"):
        with (
            pytest.raises(ValueError, match=f"the array {name} of a.h5 lies in another file"),
            hdf5.dataset(tmp_path / "a.h5", name),
        ):
            pass
    with hdf5.dataset(tmp_path / "a.h5", "own") as found:
        assert found[:].tolist() == [0, 1, 2, 3]
    with (
        pytest.raises(ValueError, match=r"a\.h5 has no array ecg; it has linked"),
        hdf5.dataset(tmp_path / "a.h5", "ecg"),
    ):
        pass
    (tmp_path / "b.h5").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"b\.h5 cannot be read: "), hdf5.dataset(tmp_path / "b.h5", "ecg"):
        pass


def test_hdf5_without_h5py_says_what_to_install(code15, monkeypatch):
    def absent(module, extra):
        raise MissingExtraError(f"{module} is not installed, which the extra {extra} brings")

    monkeypatch.setattr(hdf5, "require", absent)
    with pytest.raises(MissingExtraError, match="h5py is not installed, which the extra hdf5 brings"):
        read(code15, "code15")


def test_sph_statements_have_names_and_no_modifiers(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "records").mkdir()
    signal = np.linspace(-1, 1, 12 * 5000).reshape(12, 5000).astype(np.float16)
    for name in ("A00001", "A00002", "A00003"):
        with h5py.File(tmp_path / f"records/{name}.h5", "w") as file:
            file["ecg"] = signal if name != "A00003" else signal.T
    (tmp_path / "code.csv").write_text(
        'Category,Code,Description\nA,1,Normal ECG\nC,22,Sinus bradycardia\nF,60,"Ventricular premature complex(es)"\n'
    )
    (tmp_path / "metadata.csv").write_text(
        "ECG_ID,AHA_Code,Patient_ID,Age,Sex,N,Date\nA00001,60+310;22,S1,44,M,5000,2020-01-01\n"
        "A00002,1;1,S1,61,F,5000,2020-01-01\nA00003,1,S2,61,F,5000,2020-01-01\n../../a,1,S2,61,F,5000,2020-01-01\n"
    )
    recordings, refused = read(tmp_path, "sph")
    first, second = recordings.values()
    assert first.metadata.labels == {"diagnosis": ("Sinus bradycardia", "Ventricular premature complex(es)")}
    assert second.metadata.labels == {"diagnosis": ("Normal ECG",)}
    assert first.patient == second.patient == "S1"
    assert (first.metadata.age, first.metadata.sex, first.leads, first.sampling_rate) == (
        44,
        "male",
        STANDARD_LEADS,
        500,
    )
    assert first.signal.dtype == np.float32
    np.testing.assert_array_equal(first.signal, signal.astype(np.float32))
    assert list(refused.values()) == [
        "ecg of A00003.h5 has the shape (5000, 12), not (12, samples)",
        "file name 'records/../../a.h5' leads outside the folder of the dataset",
    ]


def test_tables_of_others_with_the_same_names_are_not_taken_for_these(write_record):
    folder = write_record("a").parent
    (folder / "metadata.csv").write_text("id,age\n1,61\n")
    (folder / "exams.csv").write_text("exam,mark\n1,A\n")
    (folder / "visits.csv").write_text("a,b\n")
    assert choose(folder).name == "wfdb"
