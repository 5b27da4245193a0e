"""Arrays as recordings: right millivolts, nothing guessed, and a run from the command line."""

from __future__ import annotations

import numpy as np
import pytest
import wfdb
from pyarrow import parquet

from ecgloss._files import read_json
from ecgloss.cli import main
from ecgloss.data import Metadata, Preprocessing, from_arrays, open_dataset
from ecgloss.data.preprocess import prepare

SAID = {"sampling_rate": 250, "leads": ["ii", "V5"], "units": "mV"}


def signals(n: int = 5, samples: int = 2500) -> np.ndarray:
    """(n, 2, samples) in mV, smooth enough to be resampled."""
    t = np.arange(samples) / 250
    return np.stack([[np.sin(2 * np.pi * (i + 2) * t), 0.1 * np.cos(2 * np.pi * (i + 3) * t)] for i in range(n)])


@pytest.mark.parametrize(("units", "factor"), [("mV", 1.0), ("uV", 1e3), ("V", 1e-3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_are_read_in_their_units(tmp_path, units, factor, dtype):
    x = signals()
    np.save(tmp_path / "x.npy", (x * factor).astype(dtype))
    preprocessing = Preprocessing(sampling_rate=100.0)
    found = open_dataset(
        tmp_path / "x.npy",
        preprocessing=preprocessing,
        cache_dir=tmp_path / "cache",
        units=units,
        source_rate=250,
        leads=["II", "V5"],
        progress=False,
    )
    for i in range(len(x)):
        expected = prepare(x[i].astype(np.float32), 250.0, preprocessing)
        for row, lead in enumerate(("II", "V5")):
            got = found.signal(i, lead)
            np.testing.assert_allclose(got, expected[row], atol=np.abs(expected[row]).max() / 32_000)


def test_integers_npz_and_what_the_file_says_itself(tmp_path):
    x = signals()
    counts = np.rint(x * 1000).astype(np.int16)
    np.savez(
        tmp_path / "x.npz", signals=counts, units="uV", sampling_rate=250.0, leads=["II", "V5"], patient=[1, 1, 2, 3, 4]
    )
    found = open_dataset(tmp_path / "x.npz", preprocessing=Preprocessing(250.0), cache_dir=tmp_path, progress=False)
    direct = from_arrays(x, patient=[1, 1, 2, 3, 4], cache_dir=tmp_path, progress=False, **SAID)
    assert found.index["patient"].tolist() == ["1", "1", "2", "3", "4"]
    np.testing.assert_allclose(found.signal(3), direct.signal(3), atol=1e-3)
    assert found.leads(0) == ("II", "V5")


def test_metadata_and_one_lead(tmp_path):
    known = [Metadata(age=50.0 + i, labels={"af": ("af",) if i else ()}, values={"ef": 0.1 * i}) for i in range(3)]
    said = {**SAID, "leads": ["I"]}
    found = from_arrays(signals(3)[:, 0], metadata=known, cache_dir=tmp_path, progress=False, **said)
    assert found.index["age"].tolist() == [50, 51, 52]
    assert found.labels("af") == [(), ("af",), ("af",)]
    assert found.values("ef").tolist() == pytest.approx([0, 0.1, 0.2])


def test_other_content_or_description_is_another_cache(tmp_path):
    x = signals()
    folders = {
        from_arrays(data, cache_dir=tmp_path, progress=False, **{**SAID, **said}).folder
        for data, said in (
            (x, {}),
            (x + 0.01, {}),
            (x, {"units": "uV"}),
            (x, {"leads": ["I", "V5"]}),
            (x, {"patient": [1] * 5}),
        )
    }
    assert len(folders) == 5
    assert from_arrays(x, cache_dir=tmp_path, progress=False, **SAID).folder in folders


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"units": None}, r"say --units; the file does not hold it"),
        ({"units": None, "source_rate": None}, r"say --source_rate \(sampling_rate\), --units"),
        ({"units": "millivolt"}, r"units must be one of mV, uV, µV, V; got millivolt"),
        ({"source_rate": -1.0}, r"source_rate must be positive, in Hz; got -1"),
        ({"leads": ["I"]}, r"x.npy must be \(n, 1 leads, samples\); got shape \(5, 2, 2500\)"),
        ({"leads": ["I", "i"]}, r"leads must be different names"),
    ],
)
def test_what_is_not_said_or_does_not_fit_is_named(tmp_path, said, message):
    np.save(tmp_path / "x.npy", signals())
    options = {"units": "mV", "source_rate": 250.0, "leads": ["II", "V5"], **said}
    with pytest.raises(ValueError, match=message):
        open_dataset(tmp_path / "x.npy", preprocessing=Preprocessing(), cache_dir=tmp_path, progress=False, **options)


def test_objects_and_damaged_files_are_refused(tmp_path):
    preprocessing, said = Preprocessing(), {"units": "mV", "source_rate": 250.0, "leads": ["II", "V5"]}
    np.save(tmp_path / "objects.npy", np.array([{}, []], object), allow_pickle=True)
    np.save(tmp_path / "words.npy", np.full((5, 2, 9), "a"))
    (tmp_path / "damaged.npy").write_bytes(b"no array")
    np.savez(tmp_path / "several.npz", a=signals(), b=signals())
    for name, message in {
        "objects.npy": "objects.npy cannot be read",
        "words.npy": "must hold real numbers",
        "damaged.npy": "damaged.npy cannot be read",
        "several.npz": "must have one array of signals, called signals, .*; it has a .*, b",
    }.items():
        with pytest.raises(ValueError, match=message):
            open_dataset(tmp_path / name, preprocessing=preprocessing, cache_dir=tmp_path, progress=False, **said)
    with pytest.raises(ValueError, match="units describe own files"):
        open_dataset("synthetic:3", preprocessing=preprocessing, cache_dir=tmp_path, units="mV")
    with pytest.raises(ValueError, match=r"seems to be \(n, samples, leads\)"):
        from_arrays(signals().swapaxes(1, 2), cache_dir=tmp_path, **SAID)


@pytest.mark.slow
def test_clef_trains_on_an_array_with_an_own_risk_and_is_evaluated_on_its_labels(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "ecg.npy", rng.normal(size=(40, 2, 1000)))
    rows = [f"{i},{i // 2},{'' if i == 5 else i / 40},{int(i % 4 == 0)}" for i in range(40)]
    (tmp_path / "patients.csv").write_text("row,pid,my_score,af\n" + "\n".join(rows))
    source = ["--data", str(tmp_path / "ecg.npy"), "--units", "mV", "--source_rate", "250", "--leads", "II,V5"]
    source += ["--table", str(tmp_path / "patients.csv"), "--cache", str(tmp_path / "cache")]
    source += ["--columns", "record=row,patient=pid,risk=my_score,label:af=af"]
    run = ["--risk", "my_score", "--sampling_rate", "100", "--seconds", "3", "--batch_size", "8", "--epochs", "1"]
    assert main(["pretrain", *source, *run, "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().err
    assert "patients.csv: 40 of 40 recordings found by row" in shown
    assert "have no known risk" in shown
    (card,) = (tmp_path / "run").rglob("card.json")
    assert read_json(card)["loss"]["risk"] == "my_score"
    parts = read_json(tmp_path / "run" / "split.json")["recordings"]
    assert all(parts[str(2 * k)] == parts[str(2 * k + 1)] for k in range(20))
    assert main(["evaluate", "--checkpoint", str(tmp_path / "run"), *source, "--task", "my_score", "--lead", "II"]) == 0
    assert "checkpoint minus random encoder, MAE" in capsys.readouterr().out


def test_an_unknown_risk_says_where_one_comes_from(tmp_path, capsys):
    options = ["--data", "synthetic:12", "--risk", "mine", "--epochs", "1", "--cache", str(tmp_path)]
    assert main(["pretrain", *options, "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "risk: " in said
    assert "no regression task 'mine'" in said
    assert "--columns risk=HEADING" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_recordings_that_lack_leads_are_left_out_and_counted(tmp_path, capsys):
    """In training, in embeddings and in evaluation; WFDB records of two and of one lead."""
    (tmp_path / "db").mkdir()
    rng = np.random.default_rng(0)
    for i in range(30):
        names = ["I", "II"] if i % 5 else ["II"]
        wfdb.wrsamp(
            f"r{i:02d}",
            fs=100,
            units=["mV"] * len(names),
            sig_name=names,
            p_signal=rng.normal(0, 0.3, (600, len(names))),
            fmt=["16"] * len(names),
            write_dir=str(tmp_path / "db"),
        )
    (tmp_path / "t.csv").write_text("record,af\n" + "\n".join(f"r{i:02d},{i % 2}" for i in range(30)))
    source = ["--data", str(tmp_path / "db"), "--table", str(tmp_path / "t.csv"), "--columns", "label:af=af"]
    source += ["--cache", str(tmp_path / "cache")]
    run = ["--loss", "simclr", "--in_channels", "2", "--leads", "I,II", "--sampling_rate", "100", "--seconds", "3"]
    run += ["--epochs", "1", "--batch_size", "8", "--out", str(tmp_path / "run")]
    assert main(["pretrain", *source, *run]) == 0
    assert "training recordings are left out: they lack some of I" in capsys.readouterr().err
    where = ["--checkpoint", str(tmp_path / "run"), *source]
    assert main(["embed", *where, "--out", str(tmp_path / "z.parquet")]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("24 embeddings")
    assert "6 of 30 recordings are left out: they lack leads (r00 has no I)" in said.err
    names = parquet.read_table(tmp_path / "z.parquet")["record"].to_pylist()
    assert names == [f"r{i:02d}" for i in range(30) if i % 5]
    assert main(["evaluate", *where, "--task", "af"]) == 0
    assert "6 of 30 recordings are left out" in capsys.readouterr().err
