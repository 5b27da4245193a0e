"""Marks and features of all recordings of a dataset: computed once, on several processes, and kept beside its cache.

The Parquet file has one row per recording in the order of the dataset: ``name``, ``patient``, ``lead``, ``quality``,
``failures`` (JSON), the marks as lists in samples of the dataset, and the 150 features, whose units and formulas are
metadata of their columns. The schema's metadata hold the format and the key: what the table was made from.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss._files import replacing
from ecgloss._processes import over_processes, usable_cores
from ecgloss.physiology.delineation import Delineation, delineate
from ecgloss.physiology.feature_table import feature_table
from ecgloss.physiology.features import feature_lead, features

if TYPE_CHECKING:
    from ecgloss.data.dataset import EcgDataset

FORMAT = "2"  # of the file and of the way features are computed: another one computes them again
MARKS = ("r_peaks", "p_onsets", "p_peaks", "p_offsets", "qrs_onsets", "qrs_offsets", "t_onsets", "t_peaks", "t_offsets")
_PART = 64  # recordings per part: what a killed process loses at most
_ABOUT = ("name", "patient", "lead", "quality", "failures")


@dataclass(frozen=True)
class Physiology:
    """What is known of the waves of n recordings.

    Attributes:
        lead: (n,) the lead of each recording that was looked at; "" where the recording has not the one asked for.
        features: (n, 150) in the order of :func:`ecgloss.physiology.feature_table`, NaN where unknown.
        delineations: Marks, quality and failures of each recording, in samples of the dataset.
    """

    lead: tuple[str, ...]
    features: NDArray[np.float64]
    delineations: tuple[Delineation, ...]

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.delineations)

    def failures(self) -> Counter[str]:
        """Count, by reason, the recordings in which something failed."""
        return Counter(reason for found in self.delineations for reason in found.failures)


def physiology_of(
    dataset: EcgDataset, *, lead: str | None = None, workers: int = 0, progress: bool = True, keep: bool = True
) -> Physiology:
    """Marks and features of every recording, from the file beside the dataset's cache if there is one.

    They are computed from the signals as the dataset has them, so band-passed and resampled. A process that is killed
    goes on where it was: finished parts are kept.

    Args:
        dataset: The recordings.
        lead: Of which lead; default: II, or what :func:`ecgloss.physiology.feature_lead` takes in its place.
        workers: Processes; 0 computes in this one.
        progress: Show a progress bar.
        keep: Write the file; with False nothing is written.

    Raises:
        ValueError: If no recording has the lead, or workers is negative.
        MissingExtraError: If NeuroKit2 is not installed.
    """
    require("neurokit2", "features")
    if workers < 0:
        raise ValueError(f"workers must be at least 0; got {workers}")
    if lead is not None and not any(lead in dataset.leads(i) for i in range(len(dataset))):
        available = dict.fromkeys(name for i in range(len(dataset)) for name in dataset.leads(i))
        raise ValueError(f"no recording has lead {lead}; the available leads are {', '.join(available)}")
    key = _key(dataset, lead)
    path = dataset.folder.absolute().with_name(f"{dataset.folder.absolute().name}-physiology-{key[:12]}.parquet")
    if path.exists():
        return read_physiology(path, key)
    if not keep:
        every = _computed(dataset, lead, range(0, len(dataset), _PART), workers, progress)
        return _physiology(row for part in every for row in part)
    parts = path.with_suffix(".parts")
    starts = range(0, len(dataset), _PART)
    missing = [start for start in starts if not (parts / f"{start}.json").exists()]
    for start, rows in zip(missing, _computed(dataset, lead, missing, workers, progress)):
        with replacing(parts / f"{start}.json") as temporary:
            temporary.write_text(json.dumps(rows), encoding="utf-8")
    loaded = (json.loads((parts / f"{start}.json").read_text(encoding="utf-8")) for start in starts)
    found = _physiology(row for part in loaded for row in part)
    write_physiology(path, dataset, found, key)
    shutil.rmtree(parts, ignore_errors=True)
    return found


def write_physiology(path: str | Path, dataset: EcgDataset, found: Physiology, key: str = "") -> None:
    """Write a table as Parquet, in one step.

    Args:
        path: The file.
        dataset: The recordings.
        found: What :func:`physiology_of` returned for them.
        key: What it was made from, for :func:`read_physiology`.
    """
    arrow, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    columns: dict[str, Any] = {
        "name": dataset.index["name"].tolist(),
        "patient": dataset.index["patient"].tolist(),
        "lead": list(found.lead),
        "quality": [d.quality for d in found.delineations],
        "failures": [json.dumps(d.failures) for d in found.delineations],
    }
    fields = [arrow.field("name", arrow.string()), arrow.field("patient", arrow.string())]
    fields += [arrow.field("lead", arrow.string()), arrow.field("quality", arrow.float64(), metadata={"unit": "1"})]
    fields.append(arrow.field("failures", arrow.string()))
    for mark in MARKS:
        columns[mark] = [getattr(d, mark) for d in found.delineations]
        fields.append(arrow.field(mark, arrow.list_(arrow.float64()), metadata={"unit": "samples"}))
    for k, feature in enumerate(feature_table()):
        columns[feature.name] = found.features[:, k]
        about = {"unit": feature.unit, "formula": feature.formula}
        fields.append(arrow.field(feature.name, arrow.float64(), metadata=about))
    rate = str(dataset.preprocessing.sampling_rate)
    about = {
        "ecgloss.format": FORMAT,
        "ecgloss.key": key,
        "fingerprint": dataset.signals_fingerprint,
        "sampling_rate": rate,
    }
    with replacing(path) as temporary:
        parquet.write_table(arrow.table(columns, schema=arrow.schema(fields, metadata=about)), temporary)


def read_physiology(path: str | Path, key: str | None = None) -> Physiology:
    """Read a table.

    Raises:
        ValueError: If the file is no such table, or was made from other recordings.
    """
    parquet = require("pyarrow.parquet", "data")
    try:
        table = parquet.read_table(path)
        about = table.schema.metadata or {}
        if about.get(b"ecgloss.format") != FORMAT.encode() or (
            key is not None and about[b"ecgloss.key"] != key.encode()
        ):
            raise ValueError("it was made from other recordings or by another version")
        columns = {name: table[name].to_pylist() for name in (*_ABOUT, *MARKS)}
        values = np.column_stack([table[feature.name].to_numpy() for feature in feature_table()])
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be used as a table of features ({error}); delete it to compute it again"
        ) from error
    found = tuple(
        Delineation(
            **{mark: np.array(columns[mark][i], np.float64) for mark in MARKS},
            quality=columns["quality"][i],
            failures=json.loads(columns["failures"][i]),
        )
        for i in range(table.num_rows)
    )
    return Physiology(tuple(columns["lead"]), values, found)


def _key(dataset: EcgDataset, lead: str | None) -> str:
    """What a table is made from, as a hash."""
    version = require("neurokit2", "features").__version__
    return hashlib.sha256(json.dumps([FORMAT, dataset.signals_fingerprint, lead, version]).encode()).hexdigest()


def _computed(
    dataset: EcgDataset, lead: str | None, starts: Sequence[int], workers: int, progress: bool
) -> Iterator[list[dict[str, Any]]]:
    """Rows of the parts that begin at some recordings, in order."""
    part = partial(_part, dataset, lead)
    bar = require("tqdm", "data").tqdm(total=len(starts) * _PART, desc="features", unit="rec", disable=not progress)
    with bar:
        bar.total = sum(min(_PART, len(dataset) - start) for start in starts)
        if workers > 1 and len(starts) > 1:
            processes = min(workers, len(starts), usable_cores())
            for rows in over_processes(part, [(start,) for start in starts], processes):
                bar.update(len(rows))
                yield rows
        else:
            for start in starts:
                rows = part(start)
                bar.update(len(rows))
                yield rows


def _part(dataset: EcgDataset, lead: str | None, start: int) -> list[dict[str, Any]]:
    """Rows of up to :data:`_PART` recordings."""
    return [_row(dataset, lead, i) for i in range(start, min(start + _PART, len(dataset)))]


def _row(dataset: EcgDataset, lead: str | None, i: int) -> dict[str, Any]:
    """Marks and features of one recording, as plain values."""
    name = feature_lead(dataset.leads(i)) if lead is None else lead
    rate = dataset.preprocessing.sampling_rate
    if name not in dataset.leads(i):
        found = delineate(np.zeros(0), rate)
        found.failures.clear()
        found.failures[f"no lead {name}"] = 1
        return _plain("", found, [float("nan")] * len(feature_table()))
    signal = dataset.signal(i, name).astype(np.float64)
    found = delineate(signal, rate)
    return _plain(name, found, list(features(signal, rate, found).values()))


def _plain(lead: str, found: Delineation, values: list[float]) -> dict[str, Any]:
    marks = {mark: getattr(found, mark).tolist() for mark in MARKS}
    return {"lead": lead, "quality": found.quality, "failures": found.failures, "features": values, **marks}


def _physiology(rows: Iterable[dict[str, Any]]) -> Physiology:
    """The table of rows."""
    rows = list(rows)
    found = tuple(
        Delineation(
            **{mark: np.array(row[mark], np.float64) for mark in MARKS},
            quality=row["quality"],
            failures=row["failures"],
        )
        for row in rows
    )
    values = np.array([row["features"] for row in rows], np.float64).reshape(len(rows), len(feature_table()))
    return Physiology(tuple(row["lead"] for row in rows), values, found)
