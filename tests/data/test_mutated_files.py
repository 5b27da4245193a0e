"""Damaged headers, tables and arrays, with fixed seeds: a right value or one clean line, and nothing read outside."""

from __future__ import annotations

import builtins
import random
from pathlib import Path

import numpy as np
import pytest
from bounded import ends_within, growth_below

from ecgloss.data import from_arrays, open_dataset
from ecgloss.data.cards import choose
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.wfdb import InvalidRecordError, read_record

WORDS = [
    "",
    "-1",
    "0",
    "1e400",
    "nan",
    "99999999999999",
    "..",
    "/etc/passwd",
    "~",
    "\x00",
    "é",
    "a" * 300,
    "1/2",
    "(",
    "{}",
]


def mutated(text: str, draw: random.Random) -> bytes:
    """One to three changes: words, lines, characters and bytes."""
    for _ in range(draw.randint(1, 3)):
        kind = draw.randrange(5)
        if kind == 0:
            words = text.split(" ")
            words[draw.randrange(len(words))] = draw.choice(WORDS)
            text = " ".join(words)
        elif kind == 1:
            lines = text.split("\n")
            lines.insert(draw.randrange(len(lines)), draw.choice([draw.choice(lines), draw.choice(WORDS)]))
            text = "\n".join(lines)
        elif kind == 2:
            lines = text.split("\n")
            del lines[draw.randrange(len(lines))]
            text = "\n".join(lines)
        elif kind == 3 and text:
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(WORDS) + text[at + draw.randint(0, 4) :]
        elif text:
            at = draw.randrange(len(text))
            text = text[:at] + chr(draw.randrange(256)) + text[at + 1 :]
    return text.encode("latin-1", "replace")


@pytest.fixture(autouse=True)
def bounded():
    with growth_below(200):
        yield


@pytest.fixture
def inside_only(monkeypatch, tmp_path):
    """Opening what lies outside of the test's folders, the package and temporary folders is an error."""
    opened = builtins.open

    def checked(file, *args, **kwargs):
        assert "passwd" not in str(file), file
        return opened(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", checked)
    return tmp_path


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_mutated_headers_give_the_right_signal_or_one_line(write_record, inside_only, seed):
    header = write_record("r", seed=5, comments=["Age: 50"])
    text, good = header.read_text(), read_record(header)
    draw = random.Random(seed)
    read = 0
    for _ in range(1700 if seed else 300):
        header.write_bytes(mutated(text, draw))
        try:
            with ends_within(5):
                found = read_record(header)
        except InvalidRecordError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert "Traceback" not in str(error)  # noqa: PT017
            continue
        read += 1
        assert found.signal.nbytes < 2**24
        for lead, row in zip(found.leads, found.digital if found.digital is not None else ()):
            if lead in good.leads and len(row) == good.digital.shape[1]:
                np.testing.assert_array_equal(row, good.digital[good.leads.index(lead)])
    assert read > 10


TABLE = """record,patient,age,sex,sbp,my_score,af
0,a,61,F,120,0.1,1
1,a,>89,male,,0.2,0
2,b,,,141.5,,
3,b,40,M,100,0.4,1
"""


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_mutated_tables_are_joined_or_refused_in_one_line(tmp_path, inside_only, seed):
    x = np.random.default_rng(0).normal(size=(4, 1, 1000))
    known = from_arrays(x, sampling_rate=100, leads=["I"], units="mV", cache_dir=tmp_path, progress=False)
    path, draw, joined = tmp_path / "t.csv", random.Random(seed), 0
    for _ in range(300 if seed else 100):
        path.write_bytes(mutated(TABLE, draw))
        try:
            with ends_within(5):
                found = open_dataset(
                    known.folder, preprocessing=known.preprocessing, table=path, columns="risk=my_score,label:af=af"
                )
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert str(path) in str(error)  # noqa: PT017
            continue
        joined += 1
        ages = found.index["age"].to_numpy(float)
        assert ((ages >= 0) & (ages <= 120) | np.isnan(ages)).all()
    assert joined > 10


@pytest.mark.exhaustive
def test_mutated_tables_of_ptbxl_are_read_or_refused_in_one_line(write_record, inside_only):
    header = write_record("records100/00000/00001_lr")
    folder: Path = header.parent.parent.parent
    database = (
        "ecg_id,patient_id,age,sex,scp_codes,filename_lr,filename_hr\n"
        "1,7.0,61.0,1,\"{'IMI': 100.0}\",records100/00000/00001_lr,records500/00000/00001_hr\n"
    )
    (folder / "scp_statements.csv").write_text(
        ",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass\nIMI,inferior,1.0,,,MI,IMI\n"
    )
    draw = random.Random(3)
    for _ in range(100):
        (folder / "ptbxl_database.csv").write_bytes(mutated(database, draw))
        try:
            entries = list(choose(folder).entries(folder, 100.0))
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        for entry in entries:
            try:
                entry.read()
            except Exception as error:  # becomes the reason why the record is skipped
                assert "passwd" not in type(error).__name__  # noqa: PT017


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_mutated_arrays_are_read_or_refused_in_one_line(tmp_path, inside_only, kind):
    x = np.random.default_rng(0).normal(size=(3, 1, 200)).astype(np.float32)
    path, draw = tmp_path / f"x.{kind}", random.Random(5)
    np.save(path, x) if kind == "npy" else np.savez(path, signals=x)
    raw = path.read_bytes()
    said = {"units": "mV", "source_rate": 100.0, "leads": ["I"], "preprocessing": Preprocessing(100.0)}
    for k in range(60):
        at = draw.randrange(160 if kind == "npy" else len(raw))
        path.write_bytes(raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :] if k % 3 else raw[:at])
        try:
            open_dataset(path, cache_dir=tmp_path / "c", progress=False, **said)
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
