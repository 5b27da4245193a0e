"""How many altered copies of real recordings are found, and how many strangers: python bench/near_duplicates.py DATA

DATA is a folder with WFDB databases (ludb, ptbxl/records500, challenge2021, mitdb). Every recording is altered in every
way, and compared with all originals. Also measured is the time for many made-up recordings. Writes
results/near-duplicates.{json,md}.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

import ecgloss
from ecgloss._files import write_json, write_text
from ecgloss.data import Preprocessing, open_dataset
from ecgloss.data.near_duplicates import near_duplicates
from ecgloss.data.preprocess import prepare
from ecgloss.data.thumbnail import RATE, SAMPLES, SLOTS, thumbnail

RESULTS = Path(__file__).parent / "results"
DATABASES = {"ludb": 4, "ptbxl/records500": 4, "challenge2021": 2, "mitdb": 48}  # every how many recordings
HZ = 500
MADE_UP = 100_000


class Kind(NamedTuple):
    """One way to alter a recording: cut seconds at its ends, keep a lead, change the rate and the scale."""

    name: str
    start_s: float = 0.0
    end_s: float = 0.0
    lead: str | None = None
    rate: int = HZ
    scale: float = 1.0


KINDS = (
    Kind("inverted and scaled", scale=-0.37),
    Kind("shifted by 0.3 s", start_s=0.3),
    Kind("shifted by 1 s", start_s=1.0),
    Kind("cropped by 1 s at the end", end_s=1.0),
    Kind("cropped by 1 s at both ends", start_s=1.0, end_s=1.0),
    Kind("cropped by 3 s at the start", start_s=3.0),
    Kind("at 100 Hz", rate=100),
    *(Kind(f"lead {lead} alone", lead=lead) for lead in ("I", "aVL", "V1", "V3")),
    Kind("lead II alone, inverted, shifted by 0.5 s, at 100 Hz", start_s=0.5, lead="II", rate=100, scale=-1.0),
)


def altered(leads: tuple[str, ...], signal: NDArray[np.float32], kind: Kind) -> NDArray[np.int8] | None:
    """Thumbnail of an altered copy, filtered again as a new recording would be; None where it lacks the lead."""
    if kind.lead is not None:
        if kind.lead not in leads or len(leads) == 1:
            return None
        signal, leads = signal[[leads.index(kind.lead)]], (kind.lead,)
    begin, end = round(kind.start_s * HZ), round(kind.end_s * HZ)
    if end:
        signal = signal[:, : min(signal.shape[1], 10 * HZ) - end]
    x = kind.scale * signal[:, begin:].astype(np.float64)
    if kind.rate != HZ:
        x = resample_poly(x, kind.rate, HZ, axis=1)
    if begin or end or kind.rate != HZ:
        x = prepare(x, float(kind.rate), Preprocessing(float(HZ)))
    return thumbnail(leads, x, float(HZ))


def made_up(n: int) -> NDArray[np.int8]:
    """Thumbnails of strangers: irregular beats of random shapes in eight leads, with noise."""
    draw = np.random.default_rng(0)
    time_s = np.arange(SAMPLES, dtype=np.float32) / RATE
    found = np.zeros((n, SLOTS, SAMPLES), np.int8)
    for i in range(n):
        spread = draw.choice([0.005, 0.02, 0.04, 0.15])
        intervals = np.maximum(0.35, draw.normal(0.85, 0.15) + spread * draw.standard_normal(24))
        peaks = np.cumsum(intervals) - draw.uniform(0, 0.8)
        moments, widths = draw.normal((-0.16, -0.02, 0.02, 0.28), 0.02), draw.uniform(0.015, 0.07, 4)
        waves = [np.exp(-(((time_s - peaks[:, None] - m) / w) ** 2)).sum(axis=0) for m, w in zip(moments, widths)]
        x = draw.normal(0, (0.15, 1, 1, 0.3), (SLOTS, 4)) @ np.stack(waves) + draw.normal(0, 0.02, (SLOTS, SAMPLES))
        found[i] = np.rint(x * (127 / np.abs(x).max(axis=1, keepdims=True)))
    return found


def measure_made_up(n: int) -> tuple[int, float]:
    """How many pairs of n strangers are joined, and in how many seconds."""
    many = made_up(n)
    begin = time.perf_counter()
    joined = len(near_duplicates(many))
    return joined, time.perf_counter() - begin


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--made_up", type=int, default=MADE_UP, help="how many recordings the time is measured with")
    given = parser.parse_args()
    timing = ProcessPoolExecutor(1).submit(measure_made_up, given.made_up)  # beside the rest
    recordings, patients = [], []
    with tempfile.TemporaryDirectory() as cache:
        for name, every in DATABASES.items():
            dataset = open_dataset(
                given.data / name, preprocessing=Preprocessing(float(HZ)), cache_dir=cache, progress=False
            )
            for i in range(0, len(dataset), every):
                recordings.append((dataset.leads(i), dataset.signal(i)))
                patients.append(f"{name} {dataset.index['group'].iloc[i]}")
    _, patient = np.unique(patients, return_inverse=True)
    originals = np.stack([thumbnail(leads, x, float(HZ)) for leads, x in recordings])
    pairs = near_duplicates(originals)
    strangers = patient[:, None] != patient
    compared = int(strangers.sum()) // 2
    false = int(strangers[pairs[:, 0], pairs[:, 1]].sum())
    rows, lines = [], []
    for kind in KINDS:
        copies = [altered(leads, x, kind) for leads, x in recordings]
        which = np.array([i for i, copy in enumerate(copies) if copy is not None])
        pairs = near_duplicates(np.stack([copy for copy in copies if copy is not None]), originals)
        found = which[pairs[:, 0]] == pairs[:, 1]
        wrong = int(strangers[which[pairs[:, 0]], pairs[:, 1]].sum())
        n_found = int(found.sum())
        rows.append({"kind": kind.name, "copies": len(which), "found": n_found, "false": wrong})
        lines.append(f"| {kind.name} | {len(which)} | {100 * n_found / len(which):.1f} % |\n")
        compared += int(strangers[which].sum())
        false += wrong
        print(rows[-1], flush=True)
    joined, took = timing.result()
    content = {
        "version": ecgloss.__version__,
        "recordings": len(originals),
        "patients": int(patient.max()) + 1,
        "kinds": rows,
        "pairs_of_strangers": compared,
        "false_joins": false,
        "made_up": {"recordings": given.made_up, "seconds": took, "joined": joined},
    }
    write_json(RESULTS / "near-duplicates.json", content)
    text = (
        "# Altered copies of recordings\n\n"
        f"`python bench/near_duplicates.py data`: {len(originals)} recordings of {content['patients']} patients of "
        f"{', '.join(DATABASES)}, altered in each way and compared with all originals.\n\n"
        "| altered copy | copies | found |\n|---|---|---|\n"
        + "".join(lines)
        + f"\nPairs of different patients: {compared:,}; taken for copies: {false}.\n\n"
        f"{given.made_up:,} made-up recordings of strangers: {took:.0f} s on one core, {joined} pairs joined.\n"
    )
    write_text(RESULTS / "near-duplicates.md", text)
    print(text)


if __name__ == "__main__":
    main()
