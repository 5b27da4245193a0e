"""Clinical risk scores, for research only."""

from __future__ import annotations

from ecgloss.risk.missing import ClinicalRisk, clinical_risk
from ecgloss.risk.score2 import score2, score2_op

__all__ = ["ClinicalRisk", "clinical_risk", "score2", "score2_op"]
