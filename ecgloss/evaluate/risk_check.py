"""Do metadata and recordings belong together? A score that follows the ECG says yes; shuffled ids show as none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgloss.data.dataset import EcgDataset
from ecgloss.data.recording_risk import recording_risk
from ecgloss.data.table import columns_in, id_column, join_frame, keys_of, read_frame
from ecgloss.evaluate.metrics import spearman
from ecgloss.evaluate.resampling import Estimate, bootstrap
from ecgloss.risk.missing import ClinicalRisk

if TYPE_CHECKING:
    from ecgloss.physiology.table import Physiology

TOGETHER = 0.99  # probability with which all intervals hold together (Bonferroni)
N_BOOT = 2000
LEAST = 20  # recordings with score and feature, below which there is no correlation
_AGE = "age"


@dataclass(frozen=True)
class Joined:
    """How a table and recordings fit together.

    Attributes:
        dataset: The recordings with what the table says; rows whose id stands twice are left out.
        by: Heading of the column of ids; "" without a table.
        found: Number of recordings with a row.
        without_row: Names of recordings without a row.
        without_recording: Ids of rows without a recording.
        twice: Ids that stand more than once in the table.
        notes: How the table was read.
    """

    dataset: EcgDataset
    by: str
    found: int
    without_row: tuple[str, ...]
    without_recording: tuple[str, ...]
    twice: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """What fits and what does not, for the user."""
        if not self.by:
            return ["no table: the metadata are those of the recordings themselves"]
        lines = [f"{self.found} of {len(self.dataset)} recordings found by {self.by}"]
        for ids, what in (
            (self.without_row, "recordings have no row"),
            (self.without_recording, "rows fit no recording"),
            (self.twice, f"entries of {self.by} stand more than once and are not used"),
        ):
            if ids:
                lines.append(f"{len(ids)} {what}, such as {', '.join(ids[:3])}")
        return lines


@dataclass(frozen=True)
class RiskCheck:
    """Rank correlations of a score.

    Attributes:
        joined: How the table was joined.
        risk: The score of every recording.
        age_from: Where the age comes from that the score is compared with: "recordings" or "table".
        correlations: Spearman's correlation of the score with the age and with features of the ECG, with intervals over
            patients that hold together with a probability of 99 %.
        numbers: Recordings behind each correlation.
    """

    joined: Joined
    risk: ClinicalRisk
    age_from: str
    correlations: Mapping[str, Estimate]
    numbers: Mapping[str, int]

    @property
    def related(self) -> list[str]:
        """Names of those features of the ECG whose correlation with the score has an interval without 0."""
        return [name for name, x in self.correlations.items() if _away_from_0(x) and name != _AGE]

    def sentences(self) -> list[str]:
        """The check in words."""
        lines = self.joined.sentences() + self.risk.sentences("recordings")
        for name, x in self.correlations.items():
            where = f" (of the {self.age_from})" if name == _AGE else ""
            verdict = "" if _away_from_0(x) else ": none"
            lines.append(f"rank correlation with {name}{where}: {x}, {self.numbers[name]} recordings{verdict}")
        if not self.related:
            lines.append(
                "the score is related to no feature of the ECG: ids may be shuffled, or there are too few recordings"
            )
        else:
            lines.append(f"the score is related to the ECG: {', '.join(self.related)}")
        if self.age_from == "recordings" and _AGE in self.correlations and not _away_from_0(self.correlations[_AGE]):
            lines.append("the score is not related to the age that the recordings themselves give: ids do not match")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values for a file."""
        joined = self.joined
        return {
            "joined": {
                "by": joined.by,
                "recordings": len(joined.dataset),
                "found": joined.found,
                "without_row": list(joined.without_row),
                "without_recording": list(joined.without_recording),
                "twice": list(joined.twice),
            },
            "risk": self.risk.counts(),
            "age_from": self.age_from,
            "correlations": {
                name: {**x.to_json(), "recordings": self.numbers[name]} for name, x in self.correlations.items()
            },
            "related": self.related,
        }


def join_for_check(
    dataset: EcgDataset, table: str | Path | None = None, columns: str | Mapping[str, str] | None = None
) -> Joined:
    """Join a table to recordings, and account for every id that does not fit; ids that stand twice are left out.

    Args:
        dataset: The recordings.
        table: CSV, TSV or Parquet; None: the metadata of the recordings.
        columns: Meaning to heading, as for :func:`ecgloss.data.join_table`.

    Raises:
        ValueError: If the table cannot be read, or no id fits.
    """
    if table is None:
        return Joined(dataset, "", len(dataset), (), (), ())
    path = Path(table)
    frame = read_frame(path)
    named, recognised = columns_in(frame, path, columns)
    by = id_column(frame, [*named, *recognised], path)
    rows, recordings = keys_of(dataset, frame, by)
    cells = frame[by.heading].tolist()
    twice = {key for key, count in Counter(rows).items() if count > 1 and key}
    single = [key not in twice for key in rows]
    kept = frame[single].reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"{path}: every entry of {by.heading} stands more than once")
    joined, notes = join_frame(dataset, kept, path, columns)
    known = {key for key in rows if key and key not in twice}
    names = dataset.index["name"].tolist()
    without_row = tuple(str(name) for name, key in zip(names, recordings) if key not in known)
    return Joined(
        joined,
        by.heading,
        len(dataset) - len(without_row),
        without_row,
        tuple(dict.fromkeys(str(cell) for cell, key in zip(cells, rows) if key in known - set(recordings))),
        tuple(dict.fromkeys(str(cell) for cell, key in zip(cells, rows) if key in twice)),
        tuple(notes[:1]),
    )


def check_risk(
    dataset: EcgDataset, joined: Joined, features: Mapping[str, ArrayLike], *, seed: int = 0, **options: Any
) -> RiskCheck:
    """Correlate the score from the table with what the recordings say.

    Args:
        dataset: The recordings as they are, without the table: their own age, where they give one, does not follow a
            shuffled table.
        joined: The same with the table, see :func:`join_for_check`.
        features: By name, (n,) numbers from the ECG, see :func:`simple_features`.
        seed: Seed of the bootstrap.
        options: Of :func:`ecgloss.risk.clinical_risk`.

    Raises:
        ValueError: If fewer than two recordings have a score.
    """
    found = recording_risk(joined.dataset, **options)
    known = int(np.isfinite(found.risk).sum())
    if known < 2:
        raise ValueError(f"{known} of {len(found)} recordings have a score: {'; '.join(found.sentences())}")
    own = np.asarray(dataset.index["age"], np.float64)
    from_recordings = bool(np.isfinite(own).sum() >= LEAST)
    age = own if from_recordings else np.asarray(joined.dataset.index["age"], np.float64)
    groups = dataset.index["group"].to_numpy()
    against = {_AGE: age, **{name: np.asarray(x, np.float64) for name, x in features.items()}}
    level = 1 - (1 - TOGETHER) / len(against)
    correlations, numbers = {}, {}
    for name, x in against.items():
        both = np.isfinite(x) & np.isfinite(found.risk)
        numbers[name] = int(both.sum())
        if numbers[name] < LEAST:
            correlations[name] = Estimate(np.nan, np.nan, np.nan)
        else:
            correlations[name] = bootstrap(
                spearman, found.risk[both], x[both], groups=groups[both], seed=seed, level=level, n_boot=N_BOOT
            )
    return RiskCheck(joined, found, "recordings" if from_recordings else "table", correlations, numbers)


def simple_features(found: Physiology) -> dict[str, NDArray[np.float64]]:
    """Heart rate (beats per minute) and the mean amplitudes of R and T (mV) of every recording, NaN where unknown."""
    from ecgloss.physiology import feature_table

    names = [feature.name for feature in feature_table()]
    column = {
        name: found.features[:, names.index(name)] for name in ("rr_mean", "r_amplitude_mean", "t_amplitude_mean")
    }
    return {
        "heart rate": 60_000 / column["rr_mean"],
        "R amplitude": column["r_amplitude_mean"],
        "T amplitude": column["t_amplitude_mean"],
    }


def _away_from_0(x: Estimate) -> bool:
    """Whether an interval does not hold 0."""
    return bool(x.low > 0 or x.high < 0)
