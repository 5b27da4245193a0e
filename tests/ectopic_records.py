"""Simulated records with premature beats, in the layout of CPSC 2020."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io

from ecgloss.data.synthetic.heart_vector import render
from ecgloss.data.synthetic.patient import draw_patient
from ecgloss.data.synthetic.population import draw_latent_state, draw_risk_factors
from ecgloss.data.synthetic.recorder import DOWER, disturbances
from ecgloss.data.synthetic.rhythm import PAC, PVC, RhythmTraits, draw_rhythm

RATE = 400.0


def ectopic_record(
    seed: int, seconds: float = 60.0, pvc: float = 0.12, pac: float = 0.12
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Lead II in mV, (samples,), and the samples of the beats "S" and "V" of a patient, counted from 0."""
    rng = np.random.default_rng(seed)
    factors = draw_risk_factors(rng)
    patient = draw_patient(factors, draw_latent_state(factors, rng), rng)
    rhythm = draw_rhythm(RhythmTraits(rng.uniform(60, 90), 0.03, pvc, pac), seconds, rng)
    n = round(seconds * RATE)
    vector = render(patient.heart, rhythm, np.ones(len(rhythm.times)), RATE, n)
    signal = (DOWER @ vector)[1] + disturbances(n, RATE, rhythm.breath(np.arange(n) / RATE), rng)[1]
    inside = rhythm.inside(seconds)
    marks = {k: rhythm.times[inside & (rhythm.origins == o)] * RATE for k, o in (("S", PAC), ("V", PVC))}
    return signal, {kind: np.rint(at) for kind, at in marks.items()}


def write_cpsc2020(folder: Path, patients: int, seconds: float = 60.0) -> dict[str, dict[str, np.ndarray]]:
    """Write records A01, A02, ... below ``folder/TrainingSet``; returns their premature beats by name."""
    data, ref = folder / "TrainingSet" / "data", folder / "TrainingSet" / "ref"
    data.mkdir(parents=True)
    ref.mkdir()
    written = {}
    for k in range(1, patients + 1):
        signal, marks = ectopic_record(k, seconds)
        scipy.io.savemat(data / f"A{k:02d}.mat", {"ecg": signal[:, None]})
        fields = {f"{kind}_ref": at[:, None] + 1 for kind, at in marks.items()}  # MATLAB counts from 1
        scipy.io.savemat(ref / f"R{k:02d}.mat", {"ref": fields})
        written[f"A{k:02d}"] = marks
    return written
