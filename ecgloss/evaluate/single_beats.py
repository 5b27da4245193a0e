"""Beats of long records: found, labelled from the reference marks, and embedded in windows around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ecgloss.data.beat_record import BeatRecord
from ecgloss.data.preprocess import Preprocessing, prepare
from ecgloss.data.window import cut, normalise
from ecgloss.evaluate.beat_matching import TOLERANCE_S, match_beats
from ecgloss.evaluate.cpsc2020_score import KINDS
from ecgloss.evaluate.weighting import Floats
from ecgloss.models.encoder import Encoder
from ecgloss.physiology.features import feature_lead
from ecgloss.physiology.r_peaks import r_peaks

OTHER = -1
"""Label of a beat that is no premature beat; the others are positions in ``KINDS``."""

WINDOW_S = 3.0
"""Length of the window around a beat: it shows the beats before and after it, which tell whether it came early."""


@dataclass(frozen=True)
class BeatWindows:
    """The beats of one record, ready to be embedded.

    Attributes:
        name: Of the record.
        patient: Whose it is.
        peaks: (n,) R peaks as the detector found them, samples of the record, ascending.
        labels: (n,) positions in ``KINDS``, or :data:`OTHER`.
        marks: Reference beats by kind, samples of the record.
        sampling_rate: Of the record, in Hz.
        seconds: Length of the record.
        signal: (leads, samples) in mV after preprocessing.
        centres: (n,) the R peaks in samples of ``signal``.
    """

    name: str
    patient: str
    peaks: Floats
    labels: NDArray[np.int64]
    marks: Mapping[str, Floats]
    sampling_rate: float
    seconds: float
    signal: NDArray[np.float32]
    centres: NDArray[np.int64]


def find_beats(record: BeatRecord, preprocessing: Preprocessing, leads: Sequence[str] | None = None) -> BeatWindows:
    """Find the beats of a record and label them.

    R peaks come from :func:`ecgloss.physiology.r_peaks.r_peaks` in one lead. A reference beat labels the one peak that
    :func:`~ecgloss.evaluate.beat_matching.match_beats` pairs it with within 150 ms; every other peak is
    :data:`OTHER`. A reference beat without a peak labels nothing, and will count as missed.

    Args:
        record: The record.
        preprocessing: That of the encoder.
        leads: Leads of the window, of which the first is searched for beats; default: the lead of which features are
            computed, II or the next best.

    Returns:
        Its beats.

    Raises:
        ValueError: If the record lacks a lead, naming those it has, or is too short.
        MissingExtraError: If NeuroKit2 is not installed.
    """
    leads = [feature_lead(record.leads)] if leads is None else list(leads)
    absent = [lead for lead in leads if lead not in record.leads]
    if absent:
        raise ValueError(f"has no {', '.join(absent)}; its leads are {', '.join(record.leads)}")
    signal = record.signal[[record.leads.index(lead) for lead in leads]]
    peaks = r_peaks(signal[0], record.sampling_rate)
    marks = {kind: np.asarray(record.marks.get(kind, ()), np.float64) for kind in KINDS}
    prepared = prepare(signal, record.sampling_rate, preprocessing)
    return BeatWindows(
        name=record.name,
        patient=record.patient,
        peaks=peaks,
        labels=label_beats(peaks, marks, record.sampling_rate),
        marks=marks,
        sampling_rate=record.sampling_rate,
        seconds=record.seconds,
        signal=prepared,
        centres=np.rint(peaks * (preprocessing.sampling_rate / record.sampling_rate)).astype(np.int64),
    )


def label_beats(peaks: Floats, marks: Mapping[str, Floats], sampling_rate: float) -> NDArray[np.int64]:
    """Kinds of beats, (n,): positions in ``KINDS`` from one-to-one matching at 150 ms, else :data:`OTHER`.

    Example:
        >>> label_beats(np.array([100.0, 500.0, 900.0]), {"V": np.array([510.0]), "S": np.array([100.0])}, 400).tolist()
        [0, 1, -1]
    """
    every = np.concatenate([np.asarray(marks.get(kind, ()), np.float64) for kind in KINDS])
    kinds = np.repeat(np.arange(len(KINDS)), [len(marks.get(kind, ())) for kind in KINDS])
    found, reference = match_beats(peaks, every, TOLERANCE_S * sampling_rate)
    labels = np.full(len(peaks), OTHER, np.int64)
    labels[found] = kinds[reference]
    return labels


def embed_beats(
    model: Encoder,
    beats: BeatWindows,
    preprocessing: Preprocessing,
    *,
    seconds: float,
    window_s: float = WINDOW_S,
    batch_size: int = 128,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """Embed the window around every beat of a record.

    Args:
        model: The encoder; it is put into evaluation mode.
        beats: The beats, whose signal has the leads that the encoder sees.
        preprocessing: That of the encoder, with the normalisation.
        seconds: Length of the encoder's input; a shorter window is padded with zeros, as short recordings are.
        window_s: Length of the window, at most ``seconds``; the R peak lies in its middle.
        batch_size: Windows per forward pass.
        device: Where to compute.

    Returns:
        (n, D) fp32.
    """
    rate = preprocessing.sampling_rate
    length, window = round(seconds * rate), round(min(window_s, seconds) * rate)
    before = window // 2
    padded = np.pad(beats.signal, [(0, 0), (before, window)])  # a window at an end of the record is filled with zeros
    model = model.to(device).eval()
    parts = [np.zeros((0, model.out_features), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(beats.centres), batch_size):
            chosen = beats.centres[start : start + batch_size]
            windows = np.stack([cut(padded[:, c : c + window], length) for c in chosen])
            x = normalise(torch.from_numpy(windows).to(device), preprocessing)
            parts.append(model(x).float().cpu().numpy())
    return np.concatenate(parts)


def within_record(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings (n, D) of the beats of one record as z-scores within it; a constant feature becomes 0.

    Embeddings differ more between patients than between the beats of one, so that a threshold found on some patients
    would call all beats of another premature. What is premature or ventricular is so beside the other beats of the
    record; these need no labels.

    Example:
        >>> within_record(np.array([[1.0, 7.0], [3.0, 7.0]], np.float32)).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    if not len(embeddings):
        return embeddings
    wide = embeddings.astype(np.float64)
    centred, spread = wide - wide.mean(axis=0), wide.std(axis=0)
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-6 * np.abs(wide).max(axis=0))
    return np.asarray(scaled, np.float32)
