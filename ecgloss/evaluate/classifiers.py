"""The classifiers that PhysioCLR is fine-tuned as: the 26 classes of the Challenge 2021, and atrial fibrillation."""

from __future__ import annotations

from ecgloss.data.challenge_classes import CHALLENGE_CLASSES
from ecgloss.models.encoder import Encoder
from ecgloss.models.heads import Classifier


def challenge_classifier(encoder: Encoder, dropout: float = 0.0) -> Classifier:
    """A classifier of the 26 classes of the Challenge 2021, equivalents merged.

    Its targets: :func:`ecgloss.data.challenge_classes.challenge_targets`.

    Example:
        >>> from ecgloss.models import physioclr
        >>> len(challenge_classifier(physioclr("physioclr-small", in_channels=12)).classes)
        26
    """
    return Classifier(encoder, [c.name for c in CHALLENGE_CLASSES], dropout)


def af_classifier(encoder: Encoder, dropout: float = 0.0) -> Classifier:
    """A classifier of atrial fibrillation; its targets: :func:`ecgloss.data.challenge_classes.af_targets`."""
    return Classifier(encoder, ["AF"], dropout)
