"""Clinical risk scores, for research only; this is not a medical device.

SCORE2 is the ten-year risk of a first cardiovascular event (cardiovascular death, heart attack or stroke) of Europeans
of 40 to 69 years, SCORE2-OP ("older persons") the same at 70 to 89. Both are calibrated to four *risk regions*, groups
of countries by cardiovascular mortality: "low" (such as France, Spain, the United Kingdom), "moderate" (Germany, Italy,
Sweden), "high" (Poland, Czechia, Turkey) and "very_high" (Romania, Bulgaria, Russia).
"""

from __future__ import annotations

from ecgloss.risk.missing import ClinicalRisk, clinical_risk
from ecgloss.risk.score2 import score2, score2_op

__all__ = ["ClinicalRisk", "clinical_risk", "score2", "score2_op"]
