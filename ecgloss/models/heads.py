"""Classifiers on an encoder, for linear evaluation or fine-tuning of all weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecgloss.models.encoder import Encoder


class Classifier(nn.Module):
    """An encoder with a linear head: (B, C, T) -> (B, K) logits, one per class; classes do not exclude one another.

    Args:
        encoder: Any encoder; its weights are trained with the head's unless they require no gradient.
        classes: Names of the K classes.
        dropout: Probability with which an entry of the embedding is dropped in training.

    Attributes:
        encoder: The encoder.
        head: The head, (B, D) -> (B, K).
        classes: Names of the classes.

    Raises:
        ValueError: If there are no classes, a name stands twice, or ``dropout`` is outside [0, 1).

    Example:
        >>> from ecgloss.models import physioclr
        >>> model = Classifier(physioclr("physioclr-small", in_channels=12), ["AF", "AFL", "SR"])
        >>> model(torch.zeros(2, 12, 1000)).shape, model.classes
        (torch.Size([2, 3]), ('AF', 'AFL', 'SR'))
    """

    def __init__(self, encoder: Encoder, classes: Sequence[str], dropout: float = 0.0) -> None:
        super().__init__()
        if not classes or len(set(classes)) < len(classes):
            raise ValueError(f"classes must be different names, at least one; got {', '.join(classes) or 'none'}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1); got {dropout}")
        self.encoder, self.classes = encoder, tuple(classes)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(encoder.out_features, len(classes)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of z-scored signals, (B, K)."""
        logits: Tensor = self.head(self.encoder(x))
        return logits

    def probabilities(self, x: Tensor) -> Tensor:
        """The probability of each class, (B, K)."""
        logits: Tensor = self(x)
        return logits.float().sigmoid()


def multilabel_loss(logits: Tensor, targets: Tensor, positive_weight: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy over the known targets.

    Args:
        logits: (B, K).
        targets: (B, K) in [0, 1]; NaN where unknown, which counts nowhere.
        positive_weight: (K,) weights of the positives, e.g. negatives / positives of the training split.

    Returns:
        0-d; 0 where nothing is known.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> logits, unknown = torch.zeros(1, 2), float("nan")
        >>> round(multilabel_loss(logits, torch.tensor([[1.0, unknown]])).item(), 4)  # log 2
        0.6931
    """
    if logits.shape != targets.shape:
        raise ValueError(f"targets must have the shape of logits, {tuple(logits.shape)}; got {tuple(targets.shape)}")
    known = torch.isfinite(targets)
    losses = F.binary_cross_entropy_with_logits(
        logits.float(), torch.where(known, targets, 0.0).float(), reduction="none", pos_weight=positive_weight
    )
    return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)
