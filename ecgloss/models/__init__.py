"""Encoders, and the import of published checkpoints."""

from __future__ import annotations

from ecgloss.models.official import load_clef
from ecgloss.models.resnext1d import ResNeXt1D, resnext1d

__all__ = ["ResNeXt1D", "load_clef", "resnext1d"]
