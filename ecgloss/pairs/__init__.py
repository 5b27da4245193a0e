"""Rules: what relates row i of a batch to column k, computed from O(N) side information.

A rule never stores N x N; an engine asks it for blocks of rows (all columns at once). Which columns a row is compared
with at all, and where its positive sits, is the rule's :class:`Layout`.
"""

from ecgloss.pairs.build import feature_pairs, gaussian_pairs, label_pairs, risk_pairs, view_pairs
from ecgloss.pairs.layout import Layout
from ecgloss.pairs.risk import WEIGHT_NORMS, RiskPairs
from ecgloss.pairs.risk_weights import RiskWeights
from ecgloss.pairs.rules import (
    FeaturePairs,
    GaussianPairs,
    LabelPairs,
    Relations,
    Rule,
    UniformPairs,
    WeightedRule,
    is_weighted,
)
from ecgloss.pairs.shares import Shares, shares

__all__ = [
    "WEIGHT_NORMS",
    "FeaturePairs",
    "GaussianPairs",
    "LabelPairs",
    "Layout",
    "Relations",
    "RiskPairs",
    "RiskWeights",
    "Rule",
    "Shares",
    "UniformPairs",
    "WeightedRule",
    "feature_pairs",
    "gaussian_pairs",
    "is_weighted",
    "label_pairs",
    "risk_pairs",
    "shares",
    "view_pairs",
]
