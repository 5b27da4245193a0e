"""The 150 features of a recording: names, units and formulas, in the order that code, docs and files share."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

BEATS = 10  # the first so many beats have features of their own


class Feature(NamedTuple):
    """One feature.

    Attributes:
        name: Its column, e.g. ``"qrs_3"`` or ``"rr_mean"``.
        unit: ``"ms"``, ``"mV"``, ``"mV/ms"`` or ``"1"`` (a fraction or a ratio).
        formula: How it is computed.
    """

    name: str
    unit: str
    formula: str


class Series(NamedTuple):
    """A quantity that every beat has: unit, formula, and whether its interquartile range is a feature."""

    unit: str
    formula: str
    range: bool = False


SERIES = {
    "rr": Series("ms", "R peak minus the R peak before; none for the first beat", range=True),
    "pr": Series("ms", "QRS onset minus P onset", range=True),
    "qrs": Series("ms", "QRS offset minus QRS onset", range=True),
    "qtc": Series("ms", "(T offset minus QRS onset) / sqrt(RR in s), Bazett", range=True),
    "p_duration": Series("ms", "P offset minus P onset"),
    "t_duration": Series("ms", "T offset minus T onset"),
    "r_amplitude": Series("mV", "signal at the R peak minus baseline", range=True),
    "t_amplitude": Series("mV", "signal at the T peak minus baseline; negative where T is inverted"),
    "p_amplitude": Series("mV", "signal at the P peak minus baseline"),
    "qrs_slope": Series("mV/ms", "largest |dV/dt| from QRS onset to R peak"),
}
_STATISTICS = {"mean": "mean", "sd": "standard deviation (divisor n)", "median": "median"}
SEGMENT = (
    Feature("rmssd", "ms", "root mean square of successive differences of RR"),
    Feature("pnn50", "1", "share of successive differences of RR above 50 ms"),
    Feature("rr_cv", "1", "standard deviation of RR / mean of RR"),
    Feature("short_rr", "1", "share of RR below 0.8 times their median"),
    Feature("long_pr", "1", "share of beats with PR > 200 ms, of those with a PR"),
    Feature("wide_qrs_100", "1", "share of beats with 100 ms <= QRS < 120 ms, of those with a QRS"),
    Feature("wide_qrs_120", "1", "share of beats with QRS >= 120 ms, of those with a QRS"),
    Feature("long_qtc", "1", "share of beats with QTc >= 500 ms, of those with a QTc"),
    Feature("absent_p", "1", "share of beats without a P wave"),
    Feature("inverted_t", "1", "share of beats with a T amplitude below -0.05 mV, of those with a T"),
    Feature("st_deviation", "1", "share of beats with |ST| >= 0.1 mV, ST at 60 ms after QRS offset minus baseline"),
    Feature("st_mad", "mV", "median absolute deviation of ST"),
    Feature("beat_correlation_mean", "1", "mean Pearson correlation of adjacent beats, cut in the middle of RR"),
    Feature("beat_correlation_sd", "1", "standard deviation of these"),
    Feature("beat_correlation_min", "1", "smallest of these"),
)


@lru_cache(maxsize=1)
def feature_table() -> tuple[Feature, ...]:
    """Return all 150 features, in the order of :func:`ecgloss.physiology.features`.

    100 are of beats: ten series (RR, PR, QRS, QTc, durations of P and T, amplitudes of R, T and P, slope of QRS) over
    the first ten beats. 50 are of the segment, over all of its beats: mean, standard deviation and median of the ten
    series, the interquartile range of five, and 15 on rhythm, conduction, P, T, ST and the likeness of beats.

    Example:
        >>> table = feature_table()
        >>> len(table), table[0].name, table[0].unit, table[-1].name
        (150, 'rr_1', 'ms', 'beat_correlation_min')
    """
    beats = [
        Feature(f"{name}_{beat}", series.unit, f"{series.formula}; beat {beat}")
        for name, series in SERIES.items()
        for beat in range(1, BEATS + 1)
    ]
    statistics = []
    for name, series in SERIES.items():
        kinds = {**_STATISTICS, **({"iqr": "interquartile range"} if series.range else {})}
        statistics += [Feature(f"{name}_{key}", series.unit, f"{words} of {name}") for key, words in kinds.items()]
    return (*beats, *statistics, *SEGMENT)
