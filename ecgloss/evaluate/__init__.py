"""Evaluation of frozen encoders: linear probes, metrics with intervals, tables, figures and reports.

Importing this package needs numpy only; scikit-learn and matplotlib (extra ``eval``) are imported on first use.
"""

from ecgloss.evaluate.html_page import Section, write_report
from ecgloss.evaluate.metrics import METRICS, Metric, macro_auroc, macro_f1, mean_absolute_error, r2, spearman
from ecgloss.evaluate.probe import ProbeResult, linear_probe
from ecgloss.evaluate.probe_data import Part
from ecgloss.evaluate.resampling import Estimate, bootstrap, paired_difference
from ecgloss.evaluate.tables import ResultRow

__all__ = [
    "METRICS",
    "Estimate",
    "Metric",
    "Part",
    "ProbeResult",
    "ResultRow",
    "Section",
    "bootstrap",
    "linear_probe",
    "macro_auroc",
    "macro_f1",
    "mean_absolute_error",
    "paired_difference",
    "r2",
    "spearman",
    "write_report",
]
