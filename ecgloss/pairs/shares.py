"""How many positives and negatives an anchor has, for a log."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ecgloss.pairs.rules import Rule

MOST_ANCHORS = 256  # looked at, so that no N x N is stored


class Shares(NamedTuple):
    """Means over anchors, 0-d each: the share of the other columns that are positives, and that are negatives."""

    positives: Tensor
    negatives: Tensor


def shares(rule: Rule, device: torch.device | None = None) -> Shares:
    """Shares of positives and negatives per anchor, over up to :data:`MOST_ANCHORS` evenly spaced anchors.

    Args:
        rule: What relates them.
        device: Where its features or labels are; default: torch's default device.

    Example:
        >>> from ecgloss.pairs import label_pairs
        >>> positives, negatives = shares(label_pairs(torch.tensor([4, 7, 4])))
        >>> round(positives.item(), 4), round(negatives.item(), 4)  # 1/2, 0 and 1/2 of the two others
        (0.3333, 0.6667)
    """
    layout = rule.layout
    rows = torch.arange(0, layout.n_rows, -(-layout.n_rows // MOST_ANCHORS), device=device)
    relations = rule.relations(rows, torch.float32)
    compared = torch.ones(len(rows), layout.n_columns, device=rows.device)
    compared.scatter_(1, layout.excluded_columns(rows), 0.0)
    positive = torch.zeros_like(compared) if relations.positive is None else (relations.positive > 0) * compared
    negative = compared if relations.negative is None else relations.negative * compared
    others = max(layout.n_compared, 1)
    return Shares(positive.sum(1).mean() / others, negative.sum(1).mean() / others)
