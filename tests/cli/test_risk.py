"""ecgloss risk: scores of a table, said and written; pictures, and the check against recordings."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ecgloss._files import read_json
from ecgloss.cli import main
from ecgloss.risk import clinical_risk, score2

HEADINGS = "patient_id,Age,sex,smoker,sbp,total_chol,hdl,diabetes,HbA1c,BP_treated"
ROWS = (
    "1,50,M,1,140,6.3,1.4,0,,",
    "2,30,F,0,120,5,1.4,0,,",
    "3,75,F,,17,5.5,1.3,1,,",
    "4,60,M,0,140,230,45,0,,",
    "5,66,F,0,,,,,,",
    "6,55,M,0,130,5,1.2,yes,7.5,1",
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text("\n".join([HEADINGS, *ROWS]))
    return path


def risk(table: Path, out: Path, *more: str) -> int:
    return main(["risk", "--table", str(table), "--out", str(out), "--country", "Germany", *more])


def test_every_patient_gets_score_model_imputed_inputs_and_flags(table, tmp_path, capsys):
    assert risk(table, tmp_path / "out.csv", "--glucose-unit", "%") == 0
    captured = capsys.readouterr()
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["patient_id"] for row in rows] == list("123456")
    assert [row["score"] for row in rows] == ["SCORE2"] * 2 + ["SCORE2-OP"] + ["SCORE2"] * 2 + ["SCORE2-Diabetes"]
    man = {"sex": "male", "age": 50, "smoker": 1, "sbp": 140, "total_chol": 6.3, "hdl_chol": 1.4}
    assert float(rows[0]["risk"]) == score2(**man, region="moderate")
    diabetic = {"sex": "male", "age": 55, "smoker": 0, "sbp": 130, "total_chol": 5, "hdl_chol": 1.2, "diabetes": 1}
    hba1c = (7.5 - 2.15) * 10.929
    assert float(rows[5]["risk"]) == clinical_risk(score="auto", **diabetic, hba1c=hba1c, region="moderate").risk[0]
    assert rows[1] | {"patient_id": ""} == {
        "patient_id": "", "risk": "", "score": "SCORE2", "n_missing": "0", "missing": "0.0", "imputed": "", "flags": "",
        "clipped": "False", "out_of_range": "True",
    }  # fmt: skip
    assert rows[2]["flags"] == "sbp_in_kPa"
    assert rows[2]["imputed"] == "sbp;smoker"
    assert rows[3]["flags"] == "total_chol_in_mg/dL;hdl_chol_in_mg/dL"
    assert rows[4]["imputed"] == "sbp;total_chol;hdl_chol"
    assert rows[5]["imputed"] == "egfr;age_at_diagnosis" or rows[5]["imputed"] == "age_at_diagnosis;egfr"
    said = captured.out
    assert said.startswith("5 of 6 patients have a score\nquantiles: 5% ")
    assert "imputed inputs 66.7%, clipped 0.0%, out of range 16.7%, flagged 33.3%" in said
    assert "sbp_in_kPa: 1 of 6 patients, not used: looks like kPa" in said
    assert "bp_treated = BP_treated" in captured.err


def test_options_reach_the_score(table, tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    out = tmp_path / "out.parquet"
    assert risk(table, out, "--extrapolate", "clip", "--missing_inputs", "nan", "--score", "score2_only") == 0
    frame = pandas.read_parquet(out)
    assert frame["clipped"].tolist() == [False, True, False, False, False, False]  # without an input there is no score
    assert np.isnan(frame["risk"]).tolist() == [False, False, True, True, True, False]
    assert "clipped 16.7%" in capsys.readouterr().out
    assert risk(table, out, "--chol_unit", "mg/dL", "--population", "sex_means") == 0
    assert "total_chol_in_mmol/L: 4 of 6 patients" in capsys.readouterr().out


def test_points_are_no_percentages(tmp_path, capsys):
    path = tmp_path / "points.csv"
    path.write_text("age,sex,chf,htn,diabetes,stroke,vascular\n70,F,1,1,0,1,0\n80,M,0,0,0,0,0\n")
    assert main(["risk", "--table", str(path), "--out", str(tmp_path / "o.csv"), "--score", "cha2ds2_vasc"]) == 0
    assert "quantiles: 5% 2.2, 25% 3.0, 50% 4.0, 75% 5.0, 95% 5.8" in capsys.readouterr().out


def test_the_picture_warns_of_degenerate_weights(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "alike.csv"
    rows = [f"{50 + i / 100},M,0,130,5,1.3" for i in range(40)]
    path.write_text("\n".join(["age,sex,smoker,sbp,tc,hdl", *rows, "89,M,1,190,8,0.8"]))
    assert risk(path, tmp_path / "out.csv", "--plot", str(tmp_path / "p.png")) == 0
    said = capsys.readouterr().err
    assert "warning: one risk (" in said
    assert "clef.risk_scale" in said
    assert "warning: weights are degenerate: 9" in said
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".p.png*"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--out", "o.csv"], 2, "risk needs --table and --out, or --check and --data"),
        (["--table", "TABLE"], 2, "risk needs --table and --out"),
        (["--table", "TABLE", "--out", "o.txt"], 2, "--out o.txt must end in .csv or .parquet"),
        (["--table", "TABLE", "--out", "o.csv", "--data", "synthetic"], 2, "--data belongs to --check"),
        (["--check"], 2, "risk --check needs --data, the recordings"),
        (["--check", "--data", "synthetic", "--plot", "p.png"], 2, "risk --check takes no --plot"),
        (["--check", "--data", "synthetic", "--out", "o.csv"], 2, "--out o.csv must end in .json with --check"),
        (["--table", "TABLE", "--out", "o.csv"], 1, 'score "auto" needs region or country'),
        (
            ["--table", "TABLE", "--out", "o.csv", "--score", "grace", "--region", "low"],
            1,
            "score must be one of score2",
        ),
        (["--table", "nowhere.csv", "--out", "o.csv", "--region", "low"], 1, "cannot read the table nowhere.csv"),
        (
            ["--table", "TABLE", "--out", "o.csv", "--region", "low", "--columns", "age=sex"],
            1,
            "is not an age in years",
        ),
    ],
)
def test_errors_name_the_option_and_the_way_out(table, tmp_path, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(tmp_path)
    assert main(["risk", *(str(table) if word == "TABLE" else word for word in words)]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o.csv").exists()


def test_a_table_without_inputs_is_refused(tmp_path, capsys):
    path = tmp_path / "empty.csv"
    path.write_text("id,note\n1,x\n")
    assert risk(path, tmp_path / "o.csv") == 1
    assert "has no column that is recognised as an input of a score" in capsys.readouterr().err


@pytest.mark.exhaustive
def test_simulated_recordings_are_checked_with_and_without_shuffled_ids(tmp_path, capsys):
    from ecgloss.data import Preprocessing, open_dataset
    from ecgloss.data.recording_risk import risk_inputs

    cache, data = tmp_path / "cache", "synthetic:200"
    dataset = open_dataset(data, preprocessing=Preprocessing(100.0), cache_dir=cache, progress=False)
    inputs = risk_inputs(dataset)
    names = dataset.index["name"].tolist()
    words = ["risk", "--check", "--data", data, "--sampling_rate", "100", "--cache", str(cache), "--score", "score2"]
    words += ["--region", "moderate", "--out", str(tmp_path / "check.json")]
    for shuffled in (False, True):
        order = np.random.default_rng(1).permutation(len(names)) if shuffled else np.arange(len(names))
        lines = [",".join(["record", *inputs])]
        for name, k in zip(names, order):
            lines.append(",".join([name, *("" if x[k] != x[k] else str(x[k]) for x in inputs.values())]))
        path = tmp_path / "metadata.csv"
        path.write_text("\n".join(lines))
        assert main([*words, "--table", str(path)]) == 0
        said = capsys.readouterr().out
        assert "200 of 200 recordings found by record" in said
        related = read_json(tmp_path / "check.json")["related"]
        assert bool(related) == (not shuffled)
        assert ("ids do not match" in said) == shuffled
