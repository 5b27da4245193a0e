"""Own files of every format: right millivolts, nothing guessed, contradictions named, and nothing read outside."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ecgloss.cli import main
from ecgloss.data.files import SignalOptions, file_entries
from ecgloss.data.opening import open_dataset
from ecgloss.data.preprocess import Preprocessing

RATE = 200.0
LEADS = ("I", "II", "V5")
SAID = SignalOptions(units="uV", source_rate=RATE, leads=LEADS)


def signals(n: int = 4, leads: int = 3, samples: int = 600) -> np.ndarray:
    """(n, leads, samples) in microvolts."""
    return np.random.default_rng(0).normal(0, 400, (n, leads, samples)).astype(np.float32)


def read(path: Path, said: SignalOptions = SAID, fallback=None):
    """All recordings of a file."""
    return [recording for entry in file_entries(path, said, fallback) for recording in entry.read()]


def write_hdf5(path: Path, arrays: dict, attrs: dict | None = None) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
            for key, value in (attrs or {}).items():
                file[name].attrs[key] = value
    return path


def write_matlab73(path: Path, arrays: dict) -> Path:
    """As MATLAB writes it: axes in the opposite order after 512 bytes of text, classes as attributes."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in arrays.items():
            if isinstance(value, str):
                file[name] = np.array([[ord(c)] for c in value], np.uint16)
                kind = "char"
            elif isinstance(value, list):
                for k, word in enumerate(value):
                    file[f"#refs#/{k}"] = np.array([[ord(c)] for c in word], np.uint16)
                refs = [[file[f"#refs#/{k}"].ref] for k in range(len(value))]
                file.create_dataset(name, data=np.array(refs, h5py.ref_dtype), dtype=h5py.ref_dtype)
                kind = "cell"
            else:
                file[name] = np.asarray(value).T
                kind = {"f8": "double", "f4": "single", "i2": "int16"}[np.asarray(value).dtype.str[1:]]
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(512))
    return path


def write_edf(path: Path, channels, *, annotations=None, patient=None, recording=None, record_s: float | None = 1.0):
    """Channels are (label, unit, rate, samples)."""
    edfio = pytest.importorskip("edfio")
    bdf = path.suffix == ".bdf"
    signal, file = (edfio.BdfSignal, edfio.Bdf) if bdf else (edfio.EdfSignal, edfio.Edf)
    made = [signal(x, rate, label=label, physical_dimension=unit) for label, unit, rate, x in channels]
    extra = {} if patient is None else {"patient": patient, "recording": recording}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file(made, annotations=annotations, data_record_duration=record_s, **extra).write(path)
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def columns(x: np.ndarray, separator: str = ",") -> str:
    """(leads, samples) as rows of text."""
    return "\n".join(separator.join(f"{value:.4f}" for value in row) for row in x.T)


# ---- arrays


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "mat", "mat73"])
def test_arrays_of_every_format_are_read_in_either_order(tmp_path, kind, turned):
    x = signals()
    array = x.swapaxes(1, 2) if turned else x
    path = tmp_path / f"x.{kind[:3]}"
    if kind == "npy":
        np.save(path, array)
    elif kind == "npz":
        np.savez(path, signals=array)
    elif kind == "h5":
        write_hdf5(path := tmp_path / "x.h5", {"signals": array, "y": np.zeros(4)})
    elif kind == "mat":
        savemat(path, {"signals": array, "y": np.zeros(4)})
    else:
        write_matlab73(path, {"signals": array, "y": np.zeros(4)})
    found = read(path)
    assert [recording.name for recording in found] == ["0", "1", "2", "3"]
    for k, recording in enumerate(found):
        assert (recording.leads, recording.sampling_rate) == (LEADS, RATE)
        np.testing.assert_allclose(recording.signal, x[k] / 1000, rtol=1e-6)


def test_one_recording_needs_no_axis_of_its_own(tmp_path):
    x = signals(1)[0]
    savemat(tmp_path / "a.mat", {"ecg": x.T})
    np.save(tmp_path / "b.npy", x)
    for path, name in ((tmp_path / "a.mat", "a"), (tmp_path / "b.npy", "b")):
        [found] = read(path)
        assert found.name == found.patient == name
        np.testing.assert_allclose(found.signal, x / 1000, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1), (-1,)])
def test_the_layout_of_cpsc_2020_is_one_recording_of_one_lead(tmp_path, shape):
    x = signals(1, 1)[0, 0]
    write_hdf5(path := tmp_path / "A01.h5", {"ecg": x.reshape(shape)})
    if len(shape) == 2:
        savemat(path := tmp_path / "A01.mat", {"ecg": x.reshape(shape)})
    [found] = read(path, SignalOptions("uV", 400.0, ("II",)))
    np.testing.assert_allclose(found.signal, [x / 1000], rtol=1e-6)


def test_code15_and_sph_are_recognised_by_the_names_of_their_arrays(tmp_path):
    x = np.zeros((4, 500, 3), np.float32)
    x[:3, 50:450] = signals(3, 3, 400).swapaxes(1, 2)
    path = write_hdf5(tmp_path / "exams_part0.hdf5", {"tracings": x, "exam_id": np.array([70, 31, 4, 0])})
    found = read(path)
    assert [recording.name for recording in found] == ["70", "31", "4"]
    np.testing.assert_allclose(found[1].signal, x[1, 50:450].T / 1000, rtol=1e-6)
    half = signals(1)[0].astype(np.float16)
    [found] = read(write_hdf5(tmp_path / "A00001.h5", {"ecg": half}))
    np.testing.assert_allclose(found.signal, half.astype(np.float32) / 1000, rtol=1e-6)


def test_what_a_file_says_itself_need_not_be_said(tmp_path):
    x = signals()
    about = {"units": "uV", "sampling_rate": RATE, "leads": ["i", "II", "V5"]}
    np.savez(tmp_path / "a.npz", signals=x, patient=[1, 1, 2, 3], **about)
    write_hdf5(tmp_path / "b.h5", {"signals": x}, about)
    arrays = {"signals": x, "patient": [1, 1, 2, 3], "fs": RATE, "unit": "uV", "leads": "I,II,V5"}
    write_hdf5(tmp_path / "c.h5", arrays)
    cells = np.empty(3, object)
    cells[:] = LEADS
    savemat(tmp_path / "d.mat", {"signals": x, "fs": RATE, "units": "uV", "leads": cells})
    write_matlab73(tmp_path / "e.mat", {"signals": x, "fs": np.array([[RATE]]), "units": "uV", "leads": list(LEADS)})
    for path in sorted(tmp_path.iterdir()):
        for said in (SignalOptions(), SAID):
            found = read(path, said)
            assert (found[2].leads, found[2].sampling_rate) == (LEADS, RATE), path
            np.testing.assert_allclose(found[2].signal, x[2] / 1000, rtol=1e-6)
            assert path.name[0] not in "ac" or [r.patient for r in found] == ["1", "1", "2", "3"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"units": "mV"}, "--units says mV, the file says uV; leave --units out, or correct"),
        ({"source_rate": 500.0}, "--source_rate says 500 Hz, the file says 200 Hz; leave --source_rate out"),
        ({"leads": ("II", "I", "V5")}, "--leads says II, I, V5, the file says I, II, V5; leave --leads out"),
        ({"dataset_name": "tracing"}, r"x.h5 has no array tracing; it has signals"),
    ],
)
def test_contradictions_name_the_file_and_the_way_out(tmp_path, said, message):
    about = {"units": "uV", "sampling_rate": RATE, "leads": list(LEADS)}
    path = write_hdf5(tmp_path / "x.h5", {"signals": signals()}, about)
    with pytest.raises(ValueError, match=rf"x\.h5.*{message}|{message}"):
        read(path, SignalOptions(**said))


def test_what_is_ambiguous_or_unsaid_is_refused(tmp_path):
    for name, arrays, said, message in (
        ("a", {"signals": np.ones((5, 3, 3))}, SAID, "3 leads on either axis"),
        ("b", {"signals": signals()}, SignalOptions(), r"say --source_rate \(sampling_rate\), --leads, --units"),
        ("c", {"a": signals(), "b": signals()}, SAID, "must have one array of signals, .* named by --dataset_name"),
        ("d", {"signals": signals(leads=4)}, SAID, r"must be \(n, 3 leads, samples\); got shape \(4, 4, 600\)"),
        ("e", {"signals": signals(), "patient": [1, 2]}, SAID, "it has 4 recordings and 2 patients"),
    ):
        with pytest.raises(ValueError, match=message):
            read(write_hdf5(tmp_path / f"{name}.h5", arrays), said)
    named = SignalOptions("uV", RATE, LEADS, "b")
    assert len(read(tmp_path / "c.h5", named)) == 4


def test_an_array_in_a_group_is_named_by_its_path(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["study/raw/ecg"] = signals()
        file["study/raw"].attrs["units"] = "uV"
    found = read(tmp_path / "x.h5", SignalOptions(None, RATE, LEADS, "study/raw/ecg"))
    np.testing.assert_allclose(found[3].signal, signals()[3] / 1000, rtol=1e-6)


def test_links_external_storage_and_announced_sizes_lead_nowhere(tmp_path):
    h5py = pytest.importorskip("h5py")
    write_hdf5(tmp_path / "secret.h5", {"ecg": signals(), "g/ecg": signals()})
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["own"] = np.ones(3)
        file["outside"] = h5py.ExternalLink("secret.h5", "ecg")
        file["group"] = h5py.ExternalLink("secret.h5", "/g")
        file["soft"] = h5py.SoftLink("/outside")
        file.create_dataset("stored", (4, 3, 600), "f4", external=[(str(tmp_path / "secret.h5"), 0, 28800)])
        layout = h5py.VirtualLayout((4, 3, 600), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "ecg", (4, 3, 600))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("giant", (10**9, 3, 5000), "f8", chunks=(1, 3, 5000))
        file.create_dataset("chunk", (1, 3, 10**8), "f8", chunks=(1, 3, 10**8), compression="gzip")
    for name in ("outside", "group/ecg", "soft", "stored", "virtual", "giant", "chunk"):
        with pytest.raises(ValueError, match=f"the array {name} of x.h5 (lies in another file|should have)"):
            read(tmp_path / "x.h5", SignalOptions("uV", RATE, LEADS, name))
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "link.h5").symlink_to(tmp_path / "secret.h5")
    with pytest.raises(ValueError, match=r"no readable record.*a link that leads outside"):
        open_dataset(
            tmp_path / "far", preprocessing=Preprocessing(100.0), cache_dir=tmp_path / "c", progress=False, units="uV"
        )


def test_damaged_texts_of_hdf5_that_its_library_would_read_for_ever_are_refused(tmp_path):
    path = write_hdf5(tmp_path / "x.h5", {"signals": signals()}, {"units": "uV"})
    raw = path.read_bytes()
    at = raw.index(b"GCOL") + 16
    assert raw[at + 16 : at + 18] == b"uV"
    for damaged in (b"\0" * 16, raw[at : at + 8] + b"\xf8" + b"\xff" * 7):
        path.write_bytes(raw[:at] + damaged + raw[at + 16 :])
        with pytest.raises(ValueError, match=r"x\.h5 cannot be read: its texts are damaged"):
            read(path)


def test_what_is_no_plain_array_of_matlab_is_refused(tmp_path):
    from scipy.sparse import csc_matrix

    cell = np.empty(2, object)
    cell[:] = [signals(1), signals(1)]
    for name, value, message in (
        ("complex", signals() * (1 + 1j), "must hold real numbers; got complex"),
        ("sparse", csc_matrix(np.eye(3)), "no array of numbers; it has ecg .sparse"),
        ("cell", cell, "no array of numbers; it has ecg .cell"),
        ("struct", {"data": signals()}, "no array of numbers; it has ecg .struct"),
        ("text", "abc", "no array of numbers; it has ecg .char"),
        ("logical", np.ones((3, 600), bool), "no array of numbers; it has ecg .logical"),
    ):
        savemat(tmp_path / f"{name}.mat", {"ecg": value})
        with pytest.raises(ValueError, match=message):
            read(tmp_path / f"{name}.mat")
    write_matlab73(tmp_path / "text.mat", {"ecg": "abc"})
    with pytest.raises(ValueError, match="must have one array of signals"):
        read(tmp_path / "text.mat")


# ---- EDF and BDF


@pytest.mark.parametrize("suffix", ["edf", "bdf"])
def test_ecg_leads_are_read_and_other_signals_left_out(tmp_path, suffix):
    edfio = pytest.importorskip("edfio")
    x, t = signals(1)[0], np.arange(300) / 100
    path = write_edf(
        tmp_path / f"a.{suffix}",
        [
            ("EEG C3-M2", "uV", 100, 50 * np.sin(t)),
            ("ECG II", "uV", 200, x[0]),
            ("EKG V5", "mV", 200, x[1] / 1000),
            ("Thor", "mV", 100, np.sin(t)),
            ("SaO2", "%", 100, 90 + np.sin(t)),
        ],
        annotations=[edfio.EdfAnnotation(0.5, None, "lights off")],
        patient=edfio.Patient(code="P17", sex="F", birthdate=__import__("datetime").date(1950, 5, 2), name="N"),
        recording=edfio.Recording(startdate=__import__("datetime").date(2011, 1, 1)),
    )
    [found] = read(path, SignalOptions())
    assert (found.leads, found.sampling_rate, found.patient) == (("II", "V5"), 200.0, "P17")
    assert (found.metadata.sex, found.metadata.age) == ("female", 60.0)
    assert found.left_out == ("EEG C3-M2", "Thor", "SaO2")
    np.testing.assert_allclose(found.signal, x[:2] / 1000, atol=np.abs(x).max() / 1000 / 30_000)
    [one] = read(path, SignalOptions(leads=("V5",)))
    np.testing.assert_array_equal(one.signal[0], found.signal[1])
    [two] = read(path, SignalOptions(), ("I", "II"))
    assert two.leads == ("II",)


def test_bdf_is_read_in_blocks(tmp_path, monkeypatch):
    from ecgloss.data.files import edf

    x = signals(1, 1, 1000)[0, 0]
    path = write_edf(tmp_path / "a.bdf", [("II", "uV", 200, x), ("Resp", "Ohm", 100, x[::2])])
    [whole] = read(path, SignalOptions())
    monkeypatch.setattr(edf, "_BLOCK", 1000)
    [found] = read(path, SignalOptions())
    np.testing.assert_array_equal(found.signal, whole.signal)
    np.testing.assert_allclose(found.signal[0], x / 1000, atol=1e-6)


def test_rates_names_and_units_of_edf_that_do_not_fit_are_named(tmp_path):
    x = signals(1, 3, 400)[0]
    path = write_edf(
        tmp_path / "a.edf", [("I", "uV", 200, x[0]), ("II", "uV", 100, x[1, :200]), ("aux", "", 200, x[2])]
    )
    for said, message in (
        ({}, "different rates: I 200 Hz, II 100 Hz; take those of one by --leads"),
        ({"leads": ("V9",)}, "a.edf has no channel V9; the channels are I, II, aux; correct --leads"),
        ({"leads": ("I",), "units": "mV"}, "--units says mV, the file says uV"),
        ({"leads": ("I",), "source_rate": 250.0}, "--source_rate says 250 Hz, the file says 200 Hz"),
        ({"leads": ("aux",)}, "say --units"),
    ):
        with pytest.raises(ValueError, match=message):
            read(path, SignalOptions(**said))
    [found] = read(path, SignalOptions(leads=("aux",), units="uV"))
    np.testing.assert_allclose(found.signal[0], x[2] / 1000, atol=1e-4)
    other = write_edf(tmp_path / "b.edf", [("C3", "uV", 200, x[0]), ("ECG", "%", 200, x[1] / 100)])
    with pytest.raises(ValueError, match="no channel is an ECG lead by its unit and name; the channels are C3, ECG"):
        read(other, SignalOptions())
    unnamed = write_edf(tmp_path / "c.edf", [("ECG", "mV", 200, x[0] / 1000), ("Resp", "Ohm", 200, x[1])])
    assert read(unnamed, SignalOptions())[0].leads == ("ECG",)
    assert read(unnamed, SignalOptions(leads=("II",)))[0].leads == ("II",)


def edf_plus_d(path: Path, x: np.ndarray, onsets: list[float]) -> Path:
    """An EDF+D file with records of a second that begin at given times."""
    edfio = pytest.importorskip("edfio")
    write_edf(path, [("ECG II", "uV", 200, x)], annotations=[edfio.EdfAnnotation(0.1, None, "a")])
    raw = path.read_bytes().replace(b"EDF+C", b"EDF+D", 1)
    for k, onset in enumerate(onsets):
        raw = raw.replace(f"+{k}\x14\x14".encode(), f"+{onset:g}\x14\x14".encode().replace(b"+0\x14", b"+0\x14"), 1)
    path.write_bytes(raw)
    return path


def test_gaps_of_edf_plus_d_are_missing_samples(tmp_path):
    x = signals(1, 1, 800)[0, 0]
    [found] = read(edf_plus_d(tmp_path / "a.edf", x, [0, 1, 5, 6]), SignalOptions())
    assert found.signal.shape == (1, 1400)
    missing = np.isnan(found.signal[0])
    assert missing[400:1000].all()
    assert missing.sum() == 600
    np.testing.assert_allclose(found.signal[0, 1000:1200], x[400:600] / 1000, atol=1e-4)
    for name, onsets, message in (("b", [0, 1, 1, 3], "overlap"), ("c", [0, 1, 2, 99999], r"gaps of 100000 s")):
        path = edf_plus_d(tmp_path / f"{name}.edf", x, [0, 1, 2, 3])
        raw = path.read_bytes()
        for k, onset in enumerate(onsets):
            old, new = f"+{k}\x14\x14".encode(), f"+{onset}\x14\x14".encode()
            raw = raw.replace(old + b"\x00" * (len(new) - len(old)), new, 1)
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=message):
            read(path, SignalOptions())


def test_edf_headers_that_contradict_the_file_are_refused(tmp_path):
    x = signals(1, 1, 800)[0, 0]
    raw = write_edf(tmp_path / "a.edf", [("ECG", "uV", 200, x)]).read_bytes()
    flat = raw.replace(b"32767   ", b"-32768  ", 1)
    for bad, message in (
        (raw[:-2], "truncated"),
        (raw + b"\0\0", "longer than it says"),
        (raw[:252] + b"9999" + raw[256:], "announces 9999 signals"),
        (raw[:236] + b"99999999" + raw[244:], "truncated"),
        (raw[:244] + b"0       " + raw[252:], "cannot be read|makes no sense"),
        (b"GIF89a  " + raw[8:], "no EDF file"),
        (flat, "make no scale"),
        (b"", "number of signals"),
    ):
        (tmp_path / "a.edf").write_bytes(bad)
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "a.edf", SignalOptions())


# ---- CSV and TSV


def test_tables_of_samples_say_leads_units_and_times_in_their_heading(tmp_path):
    x = signals(1)[0]
    times = np.arange(600) / RATE
    with_times = np.concatenate([times[None], x])
    for name, text, said in (
        ("a.csv", "time_s,I (uV),II (uV),V5 (uV)\n" + columns(with_times), SignalOptions()),
        (
            "b.tsv",
            "time (ms)\tI [uV]\tII [uV]\tV5 [uV]\n" + columns(np.concatenate([times[None] * 1000, x]), "\t"),
            SAID,
        ),
        ("c.csv", "﻿I;II;V5\n" + columns(x, ";").replace(".", ","), SAID),
        ("d.csv", columns(x), SAID),
        ("e.csv", '"ECG I",II,V5,HR\n' + columns(np.concatenate([x, x[:1]])), SignalOptions("uV", RATE)),
    ):
        [found] = read(write(tmp_path / name, text), said)
        assert (found.name, found.leads, found.sampling_rate) == (name[0], LEADS, RATE)
        np.testing.assert_allclose(found.signal, x / 1000, atol=1e-7)
    assert found.left_out == ("HR",)


@pytest.mark.parametrize(
    ("text", "said", "message"),
    [
        ("I,II\n1,2\n3,4", {}, r"say --source_rate \(sampling_rate\), --units"),
        ("I (uV)\n1\n2", {"units": "mV", "source_rate": RATE}, "--units says mV, the file says uV"),
        ("time_s,I\n0,1\n0.005,2\n0.010,3", {"units": "mV", "source_rate": 500.0}, "the file says 200 Hz"),
        ("t,I\n0,1\n1,2\n2,3\n9,3\n10,3", {"units": "mV", "source_rate": 1.0}, "column t has a gap after row 3"),
        ("t,I\n0,1\n0,2", {"units": "mV", "source_rate": 1.0}, "does not grow"),
        ("I\n1\nabc", {"units": "mV", "source_rate": 1.0}, "column I, row 2 is no number: 'abc'"),
        ("1,2\n3,4", {"units": "mV", "source_rate": 1.0, "leads": ("I",)}, "has 2 columns without a heading"),
        ("a,b\n1,2", {"units": "mV", "source_rate": 1.0}, "no channel is an ECG lead .* a, b; --leads"),
        ("I,II\n1,2,3\n4,5,6", {"units": "mV", "source_rate": 1.0}, "x.csv has 2 headings over 3 columns"),
        ("", {}, "does not begin with a heading"),
        ("I\n", {}, "has no samples|cannot be read"),
    ],
)
def test_tables_that_do_not_say_or_contradict_themselves(tmp_path, text, said, message):
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / "x.csv", text), SignalOptions(**said))


def test_rounded_times_say_the_rate_and_what_is_said_is_exact(tmp_path):
    x = signals(1, 1, 3600)[0]
    times = np.arange(3600)[None] / 360
    write(tmp_path / "x.csv", "time_s,II\n" + "\n".join(f"{t:.4f},{v:.3f}" for t, v in np.concatenate([times, x]).T))
    assert read(tmp_path / "x.csv", SignalOptions("uV"))[0].sampling_rate == 360.0
    assert read(tmp_path / "x.csv", SignalOptions("uV", 360.05))[0].sampling_rate == 360.05


def test_empty_cells_are_missing_samples_and_any_column_can_be_named(tmp_path):
    write(tmp_path / "x.csv", "left arm,note\n1,a\n,b\n3,")
    [found] = read(tmp_path / "x.csv", SignalOptions("mV", 100.0, ("left arm",)))
    np.testing.assert_array_equal(found.signal, [[1, np.nan, 3]])


# ---- folders, caches and commands


def test_a_folder_of_own_files_skips_what_is_broken_and_counts_it(tmp_path, capsys):
    folder, x = tmp_path / "db", signals(1, 1, 1000)[0, 0]
    (folder / "p1").mkdir(parents=True)
    write_edf(folder / "p1" / "a.edf", [("ECG II", "uV", 200, x), ("SaO2", "%", 200, x / 100)])
    write_edf(folder / "b.EDF", [("II", "uV", 200, x[::-1])])
    savemat(folder / "c.mat", {"ecg": x, "fs": RATE, "units": "uV", "leads": "II"})
    (folder / "d.edf").write_bytes(b"0       nothing")
    (folder / "patients.csv").write_text("record,patient,sbp\np1/a,x,120\nb,x,130\n")
    options = ["--data", str(folder), "--sampling_rate", "100"]
    assert main(["cache", *options, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "3 recordings" in said.out
    assert "skipped 1 of 4 records" in said.err
    assert "d: d.edf" in said.err
    assert "left out, because they are no ECG leads: SaO2 (in 1 records)" in said.err
    dataset = open_dataset(
        folder,
        preprocessing=Preprocessing(100.0),
        cache_dir=tmp_path / "c",
        progress=False,
        table=folder / "patients.csv",
    )
    assert sorted(dataset.index["name"]) == ["b", "c", "p1/a"]
    patients = dict(zip(dataset.index["name"], dataset.index["patient"]))
    assert patients["b"] == patients["p1/a"] == "x"


def test_a_table_among_recordings_as_csv_is_no_recording(tmp_path):
    folder, x = tmp_path / "db", signals(3, 1, 600)
    folder.mkdir()
    for k in range(3):
        write(folder / f"r{k}.csv", "II\n" + columns(x[k]))
    table = write(folder / "patients.csv", "record,age\nr0,50\nr1,60\nr2,70\n")
    said = {"units": "uV", "source_rate": RATE, "cache_dir": tmp_path / "c", "progress": False}
    dataset = open_dataset(folder, preprocessing=Preprocessing(100.0), table=table, **said)
    assert dataset.index["name"].tolist() == ["r0", "r1", "r2"]
    assert dataset.index["age"].tolist() == [50, 60, 70]
    assert not dataset.skipped


def test_what_is_said_is_part_of_the_key_of_a_cache(tmp_path):
    path = write_hdf5(tmp_path / "x.h5", {"a": signals(leads=2), "b": signals(leads=2) + 5})
    said = {"units": "uV", "source_rate": RATE, "leads": ("I", "II"), "dataset_name": "a"}
    others = {}, {"units": "mV"}, {"source_rate": 250.0}, {"leads": ("II", "I")}, {"dataset_name": "b"}, {}
    folders = [
        open_dataset(
            path, preprocessing=Preprocessing(100.0), cache_dir=tmp_path / "c", progress=False, **{**said, **other}
        ).folder
        for other in others
    ]
    assert len(set(folders)) == 5
    assert folders[0] == folders[-1]


def test_large_files_in_a_folder_are_read_row_by_row(tmp_path):
    folder = tmp_path / "db"
    folder.mkdir()
    x = signals(150, 3, 2000)
    write_hdf5(folder / "part.h5", {"signals": x, "patient": np.arange(150) // 2})
    from ecgloss.data.files import folder_entries

    entries = folder_entries(folder, [folder / "part.h5"], SAID, None)
    assert [entry.name for entry in entries[:2]] == ["part/0", "part/1"]
    [found] = entries[149].read()
    assert found.patient == "74"
    np.testing.assert_allclose(found.signal, x[149] / 1000, rtol=1e-6)


def test_edf_among_wfdb_records_is_said_to_be_skipped(folder, open_):
    (folder / "x.edf").write_bytes(b"")
    dataset = open_()
    assert len(dataset) == 4
    assert [str(skip) for skip in dataset.skipped] == [
        "x.edf: is no WFDB record, as others in the folder are; open a folder of such files by itself"
    ]
    with pytest.raises(ValueError, match="units describe own files"):
        open_(units="mV")


@pytest.mark.parametrize("command", ["pretrain", "embed", "evaluate", "cache", "features", "risk"])
def test_every_command_that_reads_recordings_takes_what_is_said_about_them(command):
    import jsonargparse

    from ecgloss.commands import COMMANDS

    text = COMMANDS[command][0](jsonargparse).format_help()
    assert all(f"--{option} " in text for option in ("units", "source_rate", "leads", "dataset_name"))
