"""The 26 classes that the PhysioNet/CinC Challenge 2021 scores, with the diagnoses it counts as equivalent merged.

Source: evaluation-2021, weights.csv, and the Challenge's dx_mapping_scored.csv (doi:10.13026/34va-7q14).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ChallengeClass(NamedTuple):
    """One class.

    Attributes:
        name: Its abbreviation; of merged diagnoses the more general one.
        title: In words.
        codes: SNOMED CT codes.
        aliases: Other abbreviations in the Challenge's tables of 2020 and 2021.
    """

    name: str
    title: str
    codes: tuple[str, ...]
    aliases: tuple[str, ...] = ()


CHALLENGE_CLASSES = (
    ChallengeClass("AF", "atrial fibrillation", ("164889003",)),
    ChallengeClass("AFL", "atrial flutter", ("164890007",)),
    ChallengeClass("BBB", "bundle branch block", ("6374002",)),
    ChallengeClass("Brady", "bradycardia", ("426627000",)),
    ChallengeClass("LBBB", "left bundle branch block, complete or not named", ("733534002", "164909002"), ("CLBBB",)),
    ChallengeClass("RBBB", "right bundle branch block, complete or not named", ("713427006", "59118001"), ("CRBBB",)),
    ChallengeClass("IAVB", "first degree AV block", ("270492004",)),
    ChallengeClass("IRBBB", "incomplete right bundle branch block", ("713426002",)),
    ChallengeClass("LAD", "left axis deviation", ("39732003",)),
    ChallengeClass("LAnFB", "left anterior fascicular block", ("445118002",)),
    ChallengeClass("PRWP", "poor R wave progression", ("365413008",)),
    ChallengeClass("LPR", "prolonged PR interval", ("164947007",)),
    ChallengeClass("LQT", "prolonged QT interval", ("111975006",)),
    ChallengeClass("LQRSV", "low QRS voltages", ("251146004",)),
    ChallengeClass("NSIVCB", "nonspecific intraventricular conduction disorder", ("698252002",)),
    ChallengeClass("SNR", "sinus rhythm", ("426783006",), ("NSR",)),
    ChallengeClass("PAC", "premature atrial or supraventricular beats", ("284470004", "63593006"), ("SVPB",)),
    ChallengeClass("PR", "pacing rhythm", ("10370003",)),
    ChallengeClass("PVC", "premature ventricular beats", ("427172004", "17338001"), ("VPB",)),
    ChallengeClass("QAb", "abnormal Q wave", ("164917005",)),
    ChallengeClass("RAD", "right axis deviation", ("47665007",)),
    ChallengeClass("SA", "sinus arrhythmia", ("427393009",)),
    ChallengeClass("SB", "sinus bradycardia", ("426177001",)),
    ChallengeClass("STach", "sinus tachycardia", ("427084000",)),
    ChallengeClass("TAb", "abnormal T wave", ("164934002",)),
    ChallengeClass("TInv", "inverted T wave", ("59931005",)),
)
_CLASS = {word: k for k, c in enumerate(CHALLENGE_CLASSES) for word in (c.name, *c.codes, *c.aliases)}


def challenge_targets(labels: Sequence[tuple[str, ...] | None]) -> NDArray[np.float32]:
    """Diagnoses as targets of the 26 classes.

    Args:
        labels: Of every recording, as ``EcgDataset.labels("diagnosis")`` gives them for data in the Challenge's form:
            abbreviations or SNOMED CT codes; diagnoses that are not scored count for no class. None: not labelled.

    Returns:
        (n, 26), 1 or 0; rows of NaN where a recording is not labelled.

    Example:
        >>> targets = challenge_targets([("CRBBB", "59118001", "AF"), ("17338001", "12345"), None])
        >>> [[CHALLENGE_CLASSES[k].name for k in row.nonzero()[0]] for row in targets[:2]], targets[2, 0]
        ([['AF', 'RBBB'], ['PVC']], np.float32(nan))
    """
    targets = np.zeros((len(labels), len(CHALLENGE_CLASSES)), np.float32)
    for row, found in zip(targets, labels):
        if found is None:
            row[:] = np.nan
        else:
            row[[_CLASS[label] for label in found if label in _CLASS]] = 1
    return targets


def af_targets(labels: Sequence[tuple[str, ...] | None]) -> NDArray[np.float32]:
    """Atrial fibrillation against everything else, (n, 1); arguments as for :func:`challenge_targets`.

    Example:
        >>> af_targets([("AF", "LAD"), ("AFL",)]).tolist()
        [[1.0], [0.0]]
    """
    return challenge_targets(labels)[:, :1]
