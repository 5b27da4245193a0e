"""Clinical risk scores, for research only; this is not a medical device.

SCORE2, SCORE2-OP ("older persons") and SCORE2-Diabetes give the ten-year risk of a first cardiovascular event of
Europeans, PREVENT that of adults in the USA, CHA2DS2-VASc and CHA2DS2-VA points for stroke in atrial fibrillation. The
SCORE2 family is calibrated to four *risk regions*, groups of countries by cardiovascular mortality: "low" (such as
France, Spain, the United Kingdom), "moderate" (Germany, Italy, Sweden), "high" (Poland, Czechia, Turkey) and
"very_high" (Romania, Bulgaria, Russia).
"""

from __future__ import annotations

from ecgloss.risk.imputer import Imputer
from ecgloss.risk.missing import ClinicalRisk, clinical_risk, fit_imputer
from ecgloss.risk.models import ScoreModel, load_model, read_models, region_of
from ecgloss.risk.population import Population, load_population
from ecgloss.risk.scores import cha2ds2_va, cha2ds2_vasc, prevent, score, score2, score2_diabetes, score2_op

__all__ = [
    "ClinicalRisk",
    "Imputer",
    "Population",
    "ScoreModel",
    "cha2ds2_va",
    "cha2ds2_vasc",
    "clinical_risk",
    "fit_imputer",
    "load_model",
    "load_population",
    "prevent",
    "read_models",
    "region_of",
    "score",
    "score2",
    "score2_diabetes",
    "score2_op",
]
