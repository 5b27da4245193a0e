"""The score of the PhysioNet/CinC Challenge 2021: partial credit for diagnoses that would be treated alike.

The weights are in ``challenge_weights.csv`` beside this file, as the organisers published them. The score agrees with
their program, evaluation-2021.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ecgloss.data.challenge_classes import CHALLENGE_CLASSES
from ecgloss.evaluate.weighting import Floats, check_binary, columns

WEIGHTS = Path(__file__).with_name("challenge_weights.csv")
_SINUS = next(k for k, c in enumerate(CHALLENGE_CLASSES) if c.name == "SNR")


def challenge_score(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Score of the PhysioNet/CinC Challenge 2021: 1 for the true diagnoses, 0 for sinus rhythm everywhere.

    With the weights W, a recording with the true classes Y and the predicted classes P earns

    ``s(Y, P) = sum over j in Y and k in P of W[j, k] / max(1, number of classes in Y or P)``,

    and the score is ``(sum s(Y, P) - sum s(Y, {sinus})) / (sum s(Y, Y) - sum s(Y, {sinus}))``, sums over recordings. It
    is negative where predictions earn less than sinus rhythm everywhere would; no prediction at all earns nothing.

    Args:
        predictions: (n, 26), 1 or 0, columns as in :data:`~ecgloss.data.challenge_classes.CHALLENGE_CLASSES`; names or
            codes become such rows by :func:`~ecgloss.data.challenge_classes.challenge_targets`, which merges the
            diagnoses that count as equivalent.
        targets: (n, 26), 1 or 0.

    Returns:
        The score. It is 0 where the two sums of the denominator are equal (every recording is in sinus rhythm only, or
        has no scored diagnosis), as in the organisers' program.

    Raises:
        ValueError: if shapes differ, there are not 26 columns, or a value is not 0/1.

    References:
        Reyna MA, et al. Will two do? Varying dimensions in electrocardiography: the PhysioNet/Computing in Cardiology
        Challenge 2021. Computing in Cardiology 48, 2021. doi:10.23919/CinC53138.2021.9662687

    Example:
        >>> from ecgloss.data.challenge_classes import challenge_targets
        >>> targets = challenge_targets([("AF",), ("SNR",)])
        >>> flutter = challenge_targets([("AFL",), ("SNR",)])
        >>> score = challenge_score(flutter, targets)  # (0.5 / 2 - 0.25 / 2) / (1 - 0.25 / 2)
        >>> round(score, 4), challenge_score(targets, targets)
        (0.1429, 1.0)
    """
    return float(weighted_challenge_score(np.ones((1, len(np.asarray(targets)))), predictions, targets)[0])


def weighted_challenge_score(counts: Floats, predictions: ArrayLike, targets: ArrayLike) -> Floats:
    """:func:`challenge_score` of many bootstrap resamples.

    Args:
        counts: (b, n) how often each recording was drawn into each resample.
        predictions: (n, 26), 1 or 0.
        targets: (n, 26), 1 or 0.

    Returns:
        (b,).

    Example:
        >>> from ecgloss.data.challenge_classes import challenge_targets
        >>> said, true = challenge_targets([("AF",), ("SNR",)]), challenge_targets([("AF",), ("AF",)])
        >>> weighted_challenge_score(np.array([[1.0, 1.0], [2.0, 0.0]]), said, true).tolist()
        [0.5, 1.0]
    """
    p, y = columns("predictions", predictions, "targets", targets)
    if p.shape[1] != len(CHALLENGE_CLASSES):
        raise ValueError(
            f"predictions and targets: need {len(CHALLENGE_CLASSES)} columns, those of CHALLENGE_CLASSES; "
            f"got {p.shape[1]}"
        )
    check_binary("predictions", p)
    check_binary("targets", y)
    sinus = np.zeros_like(y)
    sinus[:, _SINUS] = 1
    inactive = _credit(y, sinus)
    gained, possible = counts @ (_credit(y, p) - inactive), counts @ (_credit(y, y) - inactive)
    score: Floats = np.divide(gained, possible, out=np.zeros(len(gained)), where=possible != 0)
    return score


@lru_cache
def challenge_weights() -> Floats:
    """The weights W of the Challenge 2021, rows (true) and columns (predicted) in the order of ``CHALLENGE_CLASSES``.

    Returns:
        (26, 26), symmetric, 1 on the diagonal. It cannot be written to.

    Example:
        >>> names = [c.name for c in CHALLENGE_CLASSES]
        >>> float(challenge_weights()[names.index("SNR"), names.index("QAb")])
        0.15
    """
    with WEIGHTS.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(line for line in file if not line.startswith("#"))
    table = {row[0]: dict(zip(header[1:], map(float, row[1:]), strict=True)) for row in rows}
    keys = ["|".join(c.codes) for c in CHALLENGE_CLASSES]
    weights = np.array([[table[true][said] for said in keys] for true in keys])
    weights.flags.writeable = False
    return weights


def _credit(targets: Floats, predictions: Floats) -> Floats:
    """Credit of every recording, (n,)."""
    earned = np.einsum("nj,jk,nk->n", targets, challenge_weights(), predictions, optimize=True)
    return np.asarray(earned / np.maximum(np.maximum(targets, predictions).sum(axis=1), 1))
