"""The score of the China Physiological Signal Challenge 2020, and one-to-one matching beside it.

The organisers' score counts a detection only where it lies near a reference beat: one in the middle of nowhere costs
nothing while the record has a reference beat at all. The F1 of a one-to-one matching counts every detection; the two
are reported together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ecgloss.evaluate.beat_matching import TOLERANCE_S, BeatCounts, beat_times, count_beats

KINDS = ("S", "V")
"""Supraventricular and ventricular premature beats."""

RATE = 400.0
"""Sampling rate of CPSC 2020 in Hz."""

Beats = Mapping[str, ArrayLike]
"""Samples of the beats of a record by kind; a kind that is not there has none."""

_FALSE, _MISSED = 1, 5  # points
_ROUNDING = 1e-6  # of a sample


def cpsc2020_penalty(found: ArrayLike, reference: ArrayLike, sampling_rate: float = RATE) -> int:
    """Official points of one record and one kind of beat: 0 at best, else negative.

    Every reference beat is looked at by itself. Without a detection within 150 ms (60 samples at 400 Hz, inclusive) it
    is missed: -5. With n detections in reach, n - 1 of them are false: -1 each. A record without reference beats has
    only false ones: -1 each.

    It follows that detections far from every reference beat cost nothing where there is one, and that one detection can
    serve two reference beats. Copies of the organisers' program differ: in some, every detection costs -1 that is more
    than the number of reference beats served, near them or not.

    Args:
        found: (n,) samples of the detected beats.
        reference: (m,) samples of the reference beats.
        sampling_rate: In Hz.

    Raises:
        ValueError: if a list is not one-dimensional or not finite, or the rate is not positive.

    References:
        Cai Z, et al. An open-access long-term wearable ECG database for premature ventricular contractions and
        supraventricular premature beat detection. J Med Imaging Health Inform 10, 2020. doi:10.1166/jmihi.2020.3289

    Example:
        >>> cpsc2020_penalty([], [500, 900]), cpsc2020_penalty([500, 540], [500]), cpsc2020_penalty([7, 8, 9], [])
        (-10, -1, -3)
    """
    x, y = np.sort(beat_times("found", found)), beat_times("reference", reference)
    if not sampling_rate > 0:
        raise ValueError(f"sampling_rate must be positive (Hz); got {sampling_rate}")
    if not len(y):
        return -_FALSE * len(x)
    reach = TOLERANCE_S * sampling_rate + _ROUNDING
    near = np.searchsorted(x, y + reach, "right") - np.searchsorted(x, y - reach, "left")
    missed, false = int((near == 0).sum()), int(np.maximum(near - 1, 0).sum())
    return -_FALSE * false - _MISSED * missed


def cpsc2020_score(found: Sequence[Beats], reference: Sequence[Beats], sampling_rate: float = RATE) -> dict[str, int]:
    """Official score by kind of beat: the points of all records together.

    Args:
        found: Detected beats of every record.
        reference: Reference beats of the same records.
        sampling_rate: In Hz.

    Returns:
        The points of S ("Score1") and V ("Score2").

    Raises:
        ValueError: if the numbers of records differ, or as :func:`cpsc2020_penalty`, or for an unknown kind.

    Example:
        >>> cpsc2020_score([{"S": [500], "V": [7]}], [{"S": [520]}])
        {'S': 0, 'V': -1}
    """
    pairs = _records(found, reference)
    return {k: sum(cpsc2020_penalty(f.get(k, ()), r.get(k, ()), sampling_rate) for f, r in pairs) for k in KINDS}


def premature_beat_counts(
    found: Sequence[Beats], reference: Sequence[Beats], sampling_rate: float = RATE
) -> dict[str, list[BeatCounts]]:
    """True, false and missed beats of every record by kind, matched one to one within 150 ms.

    The sum of the counts has the F1 that is reported. Arguments and errors as for :func:`cpsc2020_score`.

    Example:
        >>> counts = premature_beat_counts([{"S": [500, 540]}], [{"S": [520], "V": [900]}])
        >>> counts["S"], counts["V"][0].sensitivity
        ([BeatCounts(true_positives=1, false_positives=1, false_negatives=0)], 0.0)
    """
    pairs, tolerance = _records(found, reference), TOLERANCE_S * sampling_rate
    return {k: [count_beats(f.get(k, ()), r.get(k, ()), tolerance) for f, r in pairs] for k in KINDS}


def _records(found: Sequence[Beats], reference: Sequence[Beats]) -> list[tuple[Beats, Beats]]:
    """Detected and reference beats of each record."""
    if len(found) != len(reference):
        raise ValueError(f"found and reference: need the same records, got {len(found)} and {len(reference)}")
    for name, records in (("found", found), ("reference", reference)):
        unknown = sorted({kind for beats in records for kind in beats} - set(KINDS))
        if unknown:
            raise ValueError(f"{name}: kinds of beat are {', '.join(KINDS)}; got {', '.join(unknown)}")
    return list(zip(found, reference))
