"""Recordings that were trained on are found by content in other copies, and others are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import resample_poly

from ecgloss._files import read_json
from ecgloss.cli import main
from ecgloss.data import Preprocessing, from_arrays, open_dataset
from ecgloss.data.overlap import Contents, contents, seen_before


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return open_dataset("synthetic:40", preprocessing=Preprocessing(), cache_dir=folder, progress=False)


def copy_of(cohort, rows, tmp_path, rate: float, change=lambda x: x, leads=None):
    """Some recordings as arrays of another rate, changed."""
    x = np.stack([cohort.signal(i) for i in rows])
    x = change(resample_poly(x, int(rate), 500, axis=-1))
    names = list(cohort.leads(0)) if leads is None else leads
    x = x[:, [cohort.leads(0).index(lead) for lead in names]]
    return from_arrays(x, sampling_rate=rate, leads=names, units="mV", cache_dir=tmp_path, progress=False)


@pytest.mark.parametrize("rate", [100, 250, 500])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("same", lambda x: x),
        ("gain", lambda x: 1.7 * x),
        ("noise", lambda x: x + np.random.default_rng(0).normal(0, 0.02, x.shape)),
        ("offset", lambda x: x + 0.5),
    ],
)
def test_copies_at_other_rates_gains_and_offsets_are_seen_and_other_recordings_are_not(
    cohort, tmp_path, rate, name, change
):
    trained = contents(cohort, range(20))
    again = contents(copy_of(cohort, range(10, 30), tmp_path, rate, change))
    assert seen_before(again, trained).tolist() == [True] * 10 + [False] * 10


def test_a_lead_is_enough_and_a_flat_recording_is_like_nothing(cohort, tmp_path):
    trained = contents(cohort)
    one = copy_of(cohort, range(5), tmp_path, 250, leads=["II"])
    assert seen_before(contents(one), trained).all()
    flat = copy_of(cohort, range(3), tmp_path, 500, lambda x: 0 * x)
    assert not seen_before(contents(flat), Contents(*map(np.concatenate, zip(trained, contents(flat))))).any()


@pytest.mark.real_data
@pytest.mark.exhaustive
def test_ptbxl_at_100_hz_is_known_again_at_500_hz_and_georgia_is_not(real_data, tmp_path):
    def opened(name: str, rate: float):
        folder = real_data(name)
        return open_dataset(folder, preprocessing=Preprocessing(rate), cache_dir=tmp_path, progress=False)

    low, high = opened("ptbxl/records100", 100.0), opened("ptbxl/records500", 500.0)
    number = [{name.rpartition("/")[2][:5] for name in d.index["name"]} for d in (low, high)]
    both = number[0] & number[1]
    assert len(both) > 100
    seen = seen_before(contents(high), contents(low))
    expected = [name.rpartition("/")[2][:5] in both for name in high.index["name"]]
    assert seen.tolist() == expected
    georgia = opened("challenge2021/georgia", 500.0)
    assert not seen_before(contents(georgia), contents(high)).any()


@pytest.mark.slow
def test_an_evaluation_excludes_patients_of_a_copy_under_other_names(cohort, tmp_path, capsys):
    """The copy is an array at another rate: no name, folder or database in common."""
    cache = ["--cache", str(cohort.folder.parent)]
    words = [
        "--data",
        "synthetic:40",
        "--loss",
        "simclr",
        "--sampling_rate",
        "100",
        "--seconds",
        "5",
        "--batch_size",
        "8",
    ]
    assert main(["pretrain", *words, "--epochs", "1", "--out", str(tmp_path / "run"), *cache]) == 0
    x = np.stack([cohort.signal(i) for i in range(40)])
    np.save(tmp_path / "copy.npy", x[::-1])
    (tmp_path / "t.csv").write_text("record,value\n" + "\n".join(f"{i},{i}" for i in range(40)))
    source = ["--data", str(tmp_path / "copy.npy"), "--units", "mV", "--source_rate", "500"]
    source += [
        "--leads",
        ",".join(cohort.leads(0)),
        "--table",
        str(tmp_path / "t.csv"),
        "--columns",
        "value:value=value",
    ]
    capsys.readouterr()
    status = main(
        [
            "evaluate",
            "--checkpoint",
            str(tmp_path / "run"),
            *source,
            *cache,
            "--task",
            "value",
            "--out",
            str(tmp_path / "e"),
        ]
    )
    shown = capsys.readouterr()
    if status:  # nobody is left to test on
        assert "test patients were trained on" in shown.err
    else:
        assert "test patients overlap with pretraining: excluded" in read_json(tmp_path / "e" / "results.json")["split"]
