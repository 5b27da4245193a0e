"""A synthetic 12-lead cohort: patients with risk factors, and ECGs whose shape follows from them only in part."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ecgloss.data.recording import STANDARD_LEADS, Metadata, Recording
from ecgloss.data.synthetic.heart_vector import render
from ecgloss.data.synthetic.patient import Patient, draw_patient
from ecgloss.data.synthetic.population import draw_latent_state, draw_risk_factors, observe
from ecgloss.data.synthetic.recorder import DOWER, disturbances, placement_gain, twelve_leads
from ecgloss.data.synthetic.rhythm import Rhythm, RhythmTraits, draw_rhythm

REPEAT_RATE = 0.1
"""Fraction of patients with a second recording."""

_PERSON, _METADATA, _RECORDING = 0, 1, 2  # separate random streams, so that missing metadata do not change a signal
_RATE_LIMITS = (45.0, 115.0)  # 1/min; the T wave of a faster sinus rhythm would run into the next P


def cohort(
    n: int = 2000,
    *,
    seed: int = 0,
    sampling_rate: float = 100.0,
    seconds: float = 10.0,
    missing_rate: float = 0.25,
) -> Iterator[Recording]:
    """Simulate recordings one after the other; the same arguments give the same bits.

    Each patient has random streams of their own. A longer cohort therefore begins with the shorter one, and
    ``missing_rate`` changes no signal: with the same seed, ``missing_rate=0`` gives the values that were hidden. One
    recording is in memory at a time, and only numpy is needed.

    *People.* 85 % are 40 to 69 years old (the range of SCORE2), the rest 70 to 89; half are women. Systolic blood
    pressure, cholesterol, smoking and diabetes have hand-set distributions near those of European cohorts and are
    correlated through age, sex and a metabolic trait. Three latent liabilities (left-ventricular mass, ischaemia,
    fibrotic burden) are weighted sums of the risk factors plus individual chance of about twice their spread: an ECG is
    informative about risk but does not determine it. One patient in ten has two recordings, of one heart on two days.

    *Heart.* P, Q, R, S, ST and T are Gaussians in time, each along a 3-D dipole (McSharry et al. 2003; Sameni et al.
    2007), projected by Dower's matrix (1980) to I, II, V1..V6; III, aVR, aVL and aVF follow exactly. RR intervals carry
    respiratory and 0.1 Hz modulation, premature atrial beats (non-compensatory pause) and premature ventricular beats
    (wide QRS, opposite T, compensatory pause).

    *Links from risk to the ECG*, all moderate and in addition to individual variation of the same parameter; signs
    and orders of magnitude of those of age and sex follow tables of normal values (Rijnbeek et al., J Electrocardiol
    2014;47:914-921):

    ================== ======================================================================================
    age                QRS voltage and T wave -0.7 %/year, P wave -0.4 %/year, PR +0.4 ms/year, frontal axis
                       -0.5 degrees/year (leftward), QTc +0.2 ms/year, less respiratory sinus arrhythmia
    female sex         QRS voltage -5 % (V3 to V6 up to -14 %), QRS 8 ms shorter, T wave -18 %, lower J point in V2
                       and V3, QTc +12 ms, rate +2/min
    blood pressure     more left-ventricular mass: higher and wider QRS, axis to the left and back; from a high
                       mass on lateral ST depression and flat or inverted T ("strain")
    smoking            rate +7/min on average (each smoker reacts differently)
    diabetes           rate +4/min, RR variability -25 %
    cholesterol, and   more ischaemia: T lower by 14 % per unit; from a high liability on ST depression towards
    all factors        V4, V5 and II (subendocardial pattern)
    all factors        more fibrotic burden: QRS +3.5 % per unit, more frequent premature beats
    ================== ======================================================================================

    *Nuisance*, unrelated to risk: amplitude of each wave, axis and rotation, resting rate, conduction times, chest
    wall, electrode placement (gain per lead), breathing, baseline wander, muscle noise, mains hum, phase at the
    start. The signal is that of a diagnostic recorder before any filter for analysis.

    *Labels* come from the simulated truth: task ``"hypertrophy"`` is ``("LVH",)`` where the latent mass is over its
    threshold, ``"ectopy"`` lists ``"PAC"`` and ``"PVC"`` where such a beat lies within the recording. *Values*:
    ``heart_rate`` (1/min), ``pr_interval``, ``qrs_duration``, ``qt_interval`` (ms, sinus beats, at the mean rate).

    *Missing metadata.* Systolic pressure, both cholesterols and smoking are each lost with probability
    ``missing_rate``, often together; in 0.15 ``missing_rate`` of the patients diabetes is lost too, leaving age and
    sex.

    Args:
        n: Number of recordings (patients: about n / 1.1).
        seed: Non-negative; another seed is another cohort.
        sampling_rate: Hz, at least 100: QRS complexes have content up to about 45 Hz.
        seconds: Length, at least 5 s, so that two beats always fit.
        missing_rate: In [0, 1].

    Yields:
        Recordings with a (12, round(seconds * sampling_rate)) float32 signal in mV.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> first, second = cohort(2, seed=1)
        >>> first.leads[:3], first.signal.shape
        (('I', 'II', 'III'), (12, 1000))
        >>> sorted(first.metadata.values)
        ['heart_rate', 'pr_interval', 'qrs_duration', 'qt_interval']
    """
    _check(n, seed, sampling_rate, seconds, missing_rate)
    return _recordings(n, seed, sampling_rate, seconds, missing_rate)


def _recordings(n: int, seed: int, sampling_rate: float, seconds: float, missing_rate: float) -> Iterator[Recording]:
    """Yield n recordings, patient by patient."""
    for patient, visit in visits(n, seed):
        yield simulate(
            patient, visit, seed=seed, sampling_rate=sampling_rate, seconds=seconds, missing_rate=missing_rate
        )


def visits(n: int, seed: int) -> Iterator[tuple[int, int]]:
    """Number of the patient, and of the visit, of each of ``n`` recordings; no signal is made.

    Example:
        >>> list(visits(3, seed=1))
        [(0, 0), (1, 0), (1, 1)]
    """
    made = patient = 0
    while made < n:
        _, repeated = _person(seed, patient)
        for visit in range(min(1 + repeated, n - made)):
            yield patient, visit
        made += 1 + repeated
        patient += 1


def name_of(patient: int, visit: int, seed: int) -> str:
    """Name of a recording of the cohort.

    Example:
        >>> name_of(7, 1, seed=3)
        'synthetic-3-00007-1'
    """
    return f"synthetic-{seed}-{patient:05d}-{visit}"


def simulate(
    patient: int,
    visit: int,
    *,
    seed: int = 0,
    sampling_rate: float = 100.0,
    seconds: float = 10.0,
    missing_rate: float = 0.25,
) -> Recording:
    """Simulate one recording of the :func:`cohort`, the others need not be made.

    Args:
        patient: Number of the patient.
        visit: Number of the recording of this patient.
        seed: Of the cohort.
        sampling_rate: In Hz, as for `cohort`.
        seconds: Length.
        missing_rate: As for `cohort`.

    Example:
        >>> simulate(0, 0, seed=1).name == next(cohort(1, seed=1)).name
        True
    """
    person, _ = _person(seed, patient)
    signal, rhythm = _record(person, sampling_rate, seconds, _stream(seed, patient, _RECORDING + visit))
    metadata = _describe(person, rhythm, seconds, missing_rate, _stream(seed, patient, _METADATA))
    name = name_of(patient, visit, seed)
    return Recording(name, name.rpartition("-")[0], signal, STANDARD_LEADS, float(sampling_rate), metadata)


def _person(seed: int, patient: int) -> tuple[Patient, bool]:
    """A patient, and whether there are two recordings."""
    rng = _stream(seed, patient, _PERSON)
    factors = draw_risk_factors(rng)
    person = draw_patient(factors, draw_latent_state(factors, rng), rng)
    return person, bool(rng.random() < REPEAT_RATE)


def _record(
    patient: Patient, sampling_rate: float, seconds: float, rng: np.random.Generator
) -> tuple[np.ndarray, Rhythm]:
    """Simulate one recording: heart and traits are the patient's; rate, breathing, electrodes and noise are drawn."""
    n_samples = round(seconds * sampling_rate)
    traits = patient.traits
    rate = float(np.clip(traits.rate + 4 * rng.standard_normal(), *_RATE_LIMITS))
    rhythm = draw_rhythm(
        RhythmTraits(rate, traits.variability, traits.pvc_probability, traits.pac_probability), seconds, rng
    )
    depth = rng.uniform(0.0, 0.06)  # breathing turns and moves the heart, which modulates the amplitude of the waves
    gains = 1 + depth * rhythm.breath(rhythm.times) + 0.015 * rng.standard_normal(len(rhythm.times))
    gain = placement_gain(patient.chest_gain, rng)
    vector = render(patient.heart, rhythm, gains, sampling_rate, n_samples)
    breath = rhythm.breath(np.arange(n_samples) / sampling_rate)
    noise = disturbances(n_samples, sampling_rate, breath, rng)
    return twelve_leads(gain[:, None] * (DOWER @ vector) + noise), rhythm


def _describe(
    patient: Patient, rhythm: Rhythm, seconds: float, missing_rate: float, rng: np.random.Generator
) -> Metadata:
    """Return labels and values from the simulation, and the risk factors that are not missing."""
    heart_rate = rhythm.heart_rate(seconds)
    heart = patient.heart
    labels = {
        "hypertrophy": ("LVH",) if patient.latent.hypertrophic else (),
        "ectopy": rhythm.ectopy(seconds),
    }
    values = {
        "heart_rate": heart_rate,
        "pr_interval": 1000 * heart.pr,
        "qrs_duration": 1000 * heart.qrs_duration,
        "qt_interval": 1000 * float(heart.qt(np.array(60 / heart_rate))),
    }
    return observe(patient.factors, missing_rate, labels, values, rng)


def _stream(seed: int, patient: int, part: int) -> np.random.Generator:
    """Return an independent generator for one part of one patient."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(patient, part))))


def _check(n: int, seed: int, sampling_rate: float, seconds: float, missing_rate: float) -> None:
    """Check the arguments when `cohort` is called; in a generator, errors would come with the first recording."""
    if n < 0:
        raise ValueError(f"n must be at least 0, got {n}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if not (math.isfinite(sampling_rate) and sampling_rate >= 100):
        raise ValueError(f"sampling_rate must be at least 100 Hz, got {sampling_rate}")
    if not (math.isfinite(seconds) and seconds >= 5):
        raise ValueError(f"seconds must be at least 5, got {seconds}")
    if not 0 <= missing_rate <= 1:
        raise ValueError(f"missing_rate must lie in [0, 1], got {missing_rate}")
