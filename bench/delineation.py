"""Errors of the delineation against the manual marks of LUDB: python bench/delineation.py LUDB [--limit N]

LUDB is the folder of the database (physionet.org/content/ludb). Writes results/delineation-ludb.{json,md}. Constant
errors were taken from the odd recordings (the _SHIFT constants of ecgloss.physiology.waves); those of the even ones
show what is left. Compared are methods of NeuroKit2 as they are, on its own R peaks.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
from numpy.typing import NDArray

import ecgloss
from ecgloss._extras import require
from ecgloss._files import write_json, write_text
from ecgloss.data.preprocess import Preprocessing, prepare
from ecgloss.physiology import delineate

Marks = dict[str, NDArray[np.float64]]  # by name, one per R peak ("r_peaks")
EDGES = ("p_onsets", "p_offsets", "qrs_onsets", "qrs_offsets", "t_onsets", "t_offsets")
INTERVALS = {"PR": ("p_onsets", "qrs_onsets"), "QRS": ("qrs_onsets", "qrs_offsets"), "QT": ("qrs_onsets", "t_offsets")}
R_TOLERANCE_S, MARK_TOLERANCE_S = 0.15, 0.15
COUNTS_PER_MV = 1000.0
WAVES = {"p": "p", "N": "qrs", "t": "t"}
NEUROKIT = {"p_onsets": "ECG_P_Onsets", "p_offsets": "ECG_P_Offsets", "qrs_onsets": "ECG_R_Onsets"}
NEUROKIT |= {"qrs_offsets": "ECG_R_Offsets", "t_onsets": "ECG_T_Onsets", "t_offsets": "ECG_T_Offsets"}


def reference(path: Path) -> tuple[NDArray[np.float64], Marks, float]:
    """Lead II in mV, and its manual marks per beat: waves that follow one another belong to one beat.

    The gains of LUDB scale every lead to a range of 1; its integers are microvolts (ecgloss.data.cards.ludb).
    """
    record, notes = wfdb.rdrecord(str(path), physical=False), wfdb.rdann(str(path), "ii")
    lead = [name.lower() for name in record.sig_name].index("ii")
    waves: list[tuple[str, float, float, float]] = []
    onset, peak = np.nan, None
    for sample, symbol in zip(notes.sample, notes.symbol):
        if symbol == "(":
            onset, peak = float(sample), None
        elif symbol in WAVES:
            peak = (WAVES[symbol], float(sample))
        elif symbol == ")" and peak is not None:
            waves.append((peak[0], onset, peak[1], float(sample)))
            onset, peak = np.nan, None
    qrs = [k for k, wave in enumerate(waves) if wave[0] == "qrs"]
    marks = {name: np.full(len(qrs), np.nan) for name in ("r_peaks", *EDGES)}
    for beat, k in enumerate(qrs):
        for at, wave in ((k - 1, "p"), (k, "qrs"), (k + 1, "t")):
            if 0 <= at < len(waves) and waves[at][0] == wave:
                marks[f"{wave}_onsets"][beat], marks[f"{wave}_offsets"][beat] = waves[at][1], waves[at][3]
        marks["r_peaks"][beat] = waves[k][2]
    return record.d_signal[:, lead] / COUNTS_PER_MV, marks, float(record.fs)


def ours(x: NDArray[np.float64], fs: float) -> Marks:
    """Marks by ecgloss."""
    found = delineate(x, fs)
    return {name: getattr(found, name) for name in ("r_peaks", *EDGES)}


def ours_in_the_cache(x: NDArray[np.float64], fs: float, rate: float = 500.0) -> Marks:
    """Marks by ecgloss on the signal as a converted cache has it: band-passed and resampled."""
    prepared = prepare(x[None].astype(np.float32), fs, Preprocessing(sampling_rate=rate))[0]
    return {name: marks * fs / rate for name, marks in ours(prepared.astype(np.float64), rate).items()}


def neurokit(x: NDArray[np.float64], fs: float, method: str) -> Marks:
    """Marks by NeuroKit2 on the R peaks of its default detector; none where it fails."""
    nk = require("neurokit2", "features")
    nothing = {name: np.zeros(0) for name in ("r_peaks", *EDGES)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clean = nk.ecg_clean(x, sampling_rate=fs, method="neurokit")
            peaks = nk.ecg_peaks(clean, sampling_rate=fs, method="neurokit")[1]["ECG_R_Peaks"]
            found = nk.ecg_delineate(clean, peaks, sampling_rate=fs, method=method)[1]
    except Exception:  # NeuroKit2 raises many types; the recording then counts as missed
        return nothing
    marks = {name: np.asarray(found.get(key, ()), np.float64) for name, key in NEUROKIT.items()}
    n = len(peaks)
    return {name: m if len(m) == n else np.full(n, np.nan) for name, m in marks.items()} | {
        "r_peaks": np.asarray(peaks, np.float64)
    }


METHODS: dict[str, Callable[[NDArray[np.float64], float], Marks]] = {
    "ecgloss": ours,
    "ecgloss, 500 Hz cache": ours_in_the_cache,
    "ecgloss, 100 Hz cache": lambda x, fs: ours_in_the_cache(x, fs, 100.0),
    "NeuroKit2 dwt": lambda x, fs: neurokit(x, fs, "dwt"),
    "NeuroKit2 prominence": lambda x, fs: neurokit(x, fs, "prominence"),
}


def errors(truth: Marks, found: Marks, fs: float) -> dict[str, Any]:
    """Counts of R peaks, and errors in ms of marks and intervals of matched beats; beats outside the marked part are
    not counted."""
    r, d = truth["r_peaks"], found["r_peaks"]
    tolerance = R_TOLERANCE_S * fs
    inside = np.flatnonzero((d >= r.min() - tolerance) & (d <= r.max() + tolerance)) if len(d) else np.zeros(0, int)
    pairs, used = [], set()
    for beat, place in enumerate(r):
        near = [k for k in inside if k not in used and abs(d[k] - place) <= tolerance]
        if near:
            best = min(near, key=lambda k: abs(d[k] - place))
            used.add(best)
            pairs.append((beat, best))
    result: dict[str, Any] = {"beats": len(r), "matched": len(pairs), "extra": len(inside) - len(pairs)}
    matched = dict(pairs)
    for name in EDGES:
        marked = [k for k in range(len(r)) if np.isfinite(truth[name][k])]
        values = np.array([found[name][matched[k]] - truth[name][k] if k in matched else np.nan for k in marked])
        values[np.abs(values) > MARK_TOLERANCE_S * fs] = np.nan
        result[name] = (values / fs * 1000).tolist()
    none = [matched[k] for k in range(1, len(r)) if k in matched and np.isnan(truth["p_onsets"][k])]
    result |= {"no p": len(none), "false p": int(np.isfinite(found["p_onsets"][none]).sum())}
    for name, (begin, end) in INTERVALS.items():
        both = [(k, m) for k, m in pairs if np.isfinite(truth[begin][k]) and np.isfinite(truth[end][k])]
        values = np.array([found[end][m] - found[begin][m] - truth[end][k] + truth[begin][k] for k, m in both])
        result[name] = (values / fs * 1000).tolist()
    return result


def measure(path: Path) -> dict[str, dict[str, Any]]:
    """Errors of every method on one recording."""
    x, truth, fs = reference(path)
    return {name: errors(truth, method(x, fs), fs) for name, method in METHODS.items()}


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Sensitivity, precision, and mean, SD and share not found of every mark and interval."""
    beats, matched, extra = (sum(f[key] for f in found) for key in ("beats", "matched", "extra"))
    result: dict[str, Any] = {"sensitivity": matched / beats, "precision": matched / max(matched + extra, 1)}
    result["false p"] = sum(f["false p"] for f in found) / max(sum(f["no p"] for f in found), 1)
    for name in (*EDGES, *INTERVALS):
        values = np.concatenate([np.asarray(f[name], np.float64) for f in found])
        known = values[np.isfinite(values)]
        mean, sd = (float(known.mean()), float(known.std())) if len(known) else (np.nan, np.nan)
        result[name] = {"mean": mean, "sd": sd, "missed": 1 - len(known) / max(len(values), 1), "n": len(values)}
    return result


def table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per method and half."""
    head = [
        "method, recordings",
        "R: sensitivity",
        "R: precision",
        *(name.replace("_", " ") for name in EDGES),
        *INTERVALS,
        "P where none",
    ]
    lines = [head, ["---"] * len(head)]
    for name, s in summaries.items():
        cells = [name, f"{s['sensitivity']:.4f}", f"{s['precision']:.4f}"]
        for key in (*EDGES, *INTERVALS):
            q = s[key]
            cells.append("-" if np.isnan(q["mean"]) else f"{q['mean']:.1f} ± {q['sd']:.1f} ({100 * q['missed']:.1f} %)")
        lines.append([*cells, f"{100 * s['false p']:.0f} %"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Measure, and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ludb", type=Path, help="Folder of the database.")
    parser.add_argument("--limit", type=int, default=200, help="The first so many recordings.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    numbers = range(1, options.limit + 1)
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(measure, [options.ludb / "data" / str(k) for k in numbers]))
    summaries = {}
    for half, rest in (("even", 0), ("odd", 1)):
        for name in METHODS:
            chosen = [f[name] for k, f in zip(numbers, found) if k % 2 == rest]
            summaries[f"{name}, {half}"] = summary(chosen)
    header = f"LUDB 1.0.1, {options.limit} recordings, lead II; ecgloss {ecgloss.__version__}"
    header += f", NeuroKit2 {require('neurokit2', 'features').__version__}"
    text = (
        f"# Delineation against LUDB\n\n{header} (`python bench/delineation.py LUDB`)\n\n"
        "Marks and intervals: mean error ± SD in ms (share not found within 150 ms of the manual mark, or of an "
        "interval: without both marks). R peaks within 150 ms. The choices and constant corrections come from the odd "
        "recordings; the even ones are held out. P where none: share of beats without a manual P "
        "wave (atrial fibrillation and flutter, pacing, ectopic beats) in which one was found.\n\n"
        + table(summaries)
        + "\n"
    )
    write_json(options.out / "delineation-ludb.json", {"header": header, "results": summaries})
    write_text(options.out / "delineation-ludb.md", text)
    print(text)


if __name__ == "__main__":
    main()
