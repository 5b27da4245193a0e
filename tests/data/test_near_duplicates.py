"""Altered copies of a recording join its group; strangers, however regular, do not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.signal import resample_poly

from ecgloss.data import Preprocessing, from_arrays, open_dataset
from ecgloss.data.cache.writer import groups  # the function that conversion calls
from ecgloss.data.near_duplicates import near_duplicates
from ecgloss.data.overlap import Contents, contents, seen_before
from ecgloss.data.preprocess import prepare
from ecgloss.data.sources import resolve
from ecgloss.data.splits import PARTS, split_by_patient
from ecgloss.data.thumbnail import thumbnail
from ecgloss.evaluate.evaluation import matching_split

HZ, N = 500, 16
P = Preprocessing(float(HZ))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return open_dataset("synthetic:40", preprocessing=P, cache_dir=folder, progress=False)


@pytest.fixture(scope="module")
def originals(cohort):
    return np.stack([thumbnail(cohort.leads(i), cohort.signal(i), HZ) for i in range(len(cohort))])


def again(x: np.ndarray, rate: int = HZ) -> np.ndarray:
    """Signals of another rate, filtered like a new recording."""
    return prepare(resample_poly(x.astype(np.float64), rate, HZ, axis=-1), float(rate), P)


ALTERATIONS = {
    "inverted": lambda x: -x,
    "scaled": lambda x: 0.3 * x,
    "shifted by 0.4 s": lambda x: again(x[:, 200:]),
    "shifted by 1 s": lambda x: again(x[:, 500:]),
    "cropped at the end": lambda x: again(x[:, :-600]),
    "cropped at both ends": lambda x: again(x[:, 400:-400]),
    "at 100 Hz": lambda x: again(x, 100),
    "lead II": lambda x: x[1:2],
    "lead aVR": lambda x: x[3:4],
    "lead V3": lambda x: x[8:9],
    "lead V6, inverted, scaled, shifted, at 250 Hz": lambda x: again(-2 * x[11:], 250)[:, 200:],
}


def test_strangers_that_fit_by_chance_far_from_the_beginning_stay_apart():
    """Two simulated patients whose beats fall together for the last five seconds of one and the first of the other."""
    entries = resolve("synthetic:2000", Preprocessing(sampling_rate=100.0)).listing.entries
    pairs = [[entries[i].read()[0] for i in pair] for pair in ((182, 1781), (1320, 1442))]
    for pair in pairs:
        assert len({recording.patient for recording in pair}) == 2
        signals = [prepare(r.signal, r.sampling_rate, Preprocessing(100.0)) for r in pair]
        own = np.stack([thumbnail(r.leads, x, 100.0) for r, x in zip(pair, signals)])
        assert not len(near_duplicates(own))


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_an_altered_copy_is_found_and_is_no_copy_of_a_stranger(cohort, originals, kind):
    leads = {1: {"lead II": ("II",), "lead aVR": ("aVR",), "lead V3": ("V3",)}.get(kind, ("V6",))}
    copies = [ALTERATIONS[kind](cohort.signal(i)) for i in range(N)]
    own = np.stack([thumbnail(leads.get(len(x), cohort.leads(0)), x, HZ) for x in copies])
    pairs = near_duplicates(own, originals)
    assert (pairs[:, 0] == pairs[:, 1]).all()
    assert len(pairs) >= N - 3


def regular(rng, interval: float, noise: float, shapes: np.ndarray) -> np.ndarray:
    """Eight leads of one wave that repeats exactly, with noise."""
    time = np.arange(10 * HZ) / HZ
    peaks = np.arange(rng.uniform(0, interval), 12, interval)
    wave = np.exp(-(((time[:, None] - peaks) / 0.03) ** 2)).sum(1)
    late = np.exp(-(((time[:, None] - peaks - 0.25) / 0.06) ** 2)).sum(1)
    return shapes[:, :1] * wave + shapes[:, 1:] * late + noise * rng.standard_normal((len(shapes), len(time)))


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_regular_recordings_of_one_template_and_rate_stay_apart(noise):
    rng = np.random.default_rng(0)
    shapes = rng.normal(0, 1, (8, 2))
    names = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
    signals = [prepare(regular(rng, 0.8, noise, shapes), HZ, P) for _ in range(4)]
    thumbnails = np.stack([thumbnail(names, x, HZ) for x in signals])
    assert not len(near_duplicates(thumbnails))
    single = np.stack([thumbnail(("V2",), x[3:4], HZ) for x in signals])
    pairs = near_duplicates(single[:2], thumbnails[2:])
    assert not len(pairs)


def test_flat_recordings_and_strangers_have_no_copies(originals):
    assert not len(near_duplicates(np.zeros_like(originals[:3])))
    assert not len(near_duplicates(originals[:0]))
    assert not len(near_duplicates(originals[:20], originals[20:]))


def planted(cohort, tmp_path):
    """The cohort again, with altered copies of five recordings that claim to be of other patients."""
    whole = np.stack([cohort.signal(i)[:, :4500] for i in range(30)])
    copies = np.stack([-0.5 * cohort.signal(i)[:, 450:4950] for i in range(5)])
    return from_arrays(
        np.concatenate([whole, copies]),
        sampling_rate=HZ,
        leads=cohort.leads(0),
        units="mV",
        patient=np.arange(35),
        cache_dir=tmp_path,
        progress=False,
    )


def test_altered_copies_are_in_the_part_of_their_original_and_leave_a_test_of_what_was_trained_on(cohort, tmp_path):
    dataset = planted(cohort, tmp_path)
    found = dataset.index["group"].tolist()
    assert found[30:] == found[:5]
    assert len(set(found[5:30])) >= 24  # the cohort has two recordings of some patients
    for seed in range(5):
        split = split_by_patient(dataset, seed=seed)
        part = {int(i): name for name in PARTS for i in getattr(split, name)}
        assert [part[i] for i in range(30, 35)] == [part[i] for i in range(5)]
    alone = Contents(*(x[30:] for x in contents(dataset)))
    rest = seen_before(contents(cohort), alone)
    assert rest[:5].sum() >= 4
    assert not rest[10:].any()

    checkpoint = tmp_path / "run" / "checkpoints" / "step-1"
    checkpoint.mkdir(parents=True)
    known = {name: torch.from_numpy(x.copy()) for name, x in alone._asdict().items()}
    save_file(known, checkpoint / "trained_on.safetensors")
    card = SimpleNamespace(data={"fingerprint": "another", "name": "another"}, training={"seed": 0})
    counted = []
    for seed in range(4):
        card.training["seed"] = seed
        split, origin = matching_split(checkpoint, card, cohort)
        assert set(np.flatnonzero(rest)) <= set(split.train.tolist())
        counted.append("overlap with pretraining: excluded" in origin)
    assert any(counted)


def test_without_thumbnails_groups_are_those_of_equal_signals():
    x = np.random.default_rng(0).standard_normal((2, 1, 5000)).astype(np.float32)
    signatures = np.eye(96, dtype=np.float32)[:2]
    assert groups(["a", "b"], signatures, lambda i: (("II",), x[i])) == ["a", "b"]
