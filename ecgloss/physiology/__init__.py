"""Physiology of ECGs: waves of a lead, 150 features, beats (extra ``features``: NeuroKit2).

:func:`delineate` finds R peaks and the edges of P, QRS and T; :func:`features` computes intervals, amplitudes and
rhythm from them, :func:`feature_table` lists them, :class:`FeatureScaler` makes them comparable; :func:`shuffle_beats`
and :func:`peak_mask` serve PhysioCLR's views and reconstruction. :func:`physiology_of` does all of it for a dataset.
"""

from __future__ import annotations

from ecgloss.physiology.beats import ShuffledBeats, peak_mask, shuffle_beats
from ecgloss.physiology.delineation import Delineation, delineate
from ecgloss.physiology.feature_table import Feature, feature_table
from ecgloss.physiology.features import feature_lead, features
from ecgloss.physiology.scaler import FeatureScaler
from ecgloss.physiology.table import Physiology, physiology_of, write_physiology

__all__ = [
    "Delineation",
    "Feature",
    "FeatureScaler",
    "Physiology",
    "ShuffledBeats",
    "delineate",
    "feature_lead",
    "feature_table",
    "features",
    "peak_mask",
    "physiology_of",
    "shuffle_beats",
    "write_physiology",
]
