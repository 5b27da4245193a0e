"""Opening of recordings: converted on first use, read from the cache afterwards, with a table joined to them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ecgloss.data.arrays import checked_arrays
from ecgloss.data.cache import build_cache, is_cache
from ecgloss.data.cache.source_files import keep, unchanged
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.files import SignalOptions
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import Metadata
from ecgloss.data.sources import Source, array_source, resolve
from ecgloss.data.table import join_table
from ecgloss.data.table_columns import parse_columns


@dataclass(frozen=True)
class SourceOptions(SignalOptions):
    """What may be said about a data source besides its name.

    Attributes:
        units: Units of own files that do not say them: mV, uV or V.
        source_rate: Sampling rate in Hz of own files that do not say it.
        leads: Names of the rows of an array, in order, or those to take of a file with named channels; default: the
            leads of the preprocessing.
        dataset_name: Name of the array of signals in an HDF5, MATLAB or .npz file, where it cannot be recognised.
        table: Table of recordings or patients to join: CSV, TSV or Parquet.
        columns: What its columns mean, as record=file,patient=pid,risk=my_score; other headings are recognised.
        split: A split file, or a column of the table (train, validation, test, or folds 1 to 10: 9 validates, 10
            tests), or folds, the split of the database; default: that of pretraining where the data is the same, else
            that of the database (PTB-XL), else a new one by patient.
        fractions: Fractions of the patients that train, validate and test in a new split; default: 0.7, 0.15, 0.15.
    """

    table: str | None = None
    columns: str | dict[str, str] | None = None
    split: str | None = None
    fractions: tuple[float, float, float] | None = None

    def for_opening(self) -> dict[str, Any]:
        """What :func:`open_dataset` takes of it.

        Example:
            >>> sorted(SourceOptions(units="mV").for_opening())
            ['columns', 'dataset_name', 'leads', 'source_rate', 'split', 'table', 'units']
        """
        return {name: value for name, value in vars(self).items() if name != "fractions"}


def open_dataset(
    source: str | Path,
    *,
    preprocessing: Preprocessing,
    cache_dir: str | Path | None = None,
    progress: bool = True,
    table: str | Path | None = None,
    columns: str | Mapping[str, str] | None = None,
    units: str | None = None,
    source_rate: float | None = None,
    leads: Sequence[str] | None = None,
    dataset_name: str | None = None,
    split: str | None = None,
) -> EcgDataset:
    """Open recordings, converting them on first use.

    Args:
        source: A folder of WFDB records of any layout, a converted cache, a file of arrays (.npy, .npz, .h5, .hdf5,
            .mat), a recording (.edf, .bdf, .csv, .tsv), a folder of such files, or ``"synthetic"``,
            ``"synthetic:N"``, ``"synthetic:N:SEED"`` for a simulated cohort (default: 2,000 recordings, seed 0).
        preprocessing: What is done to every signal. A converted cache must have been made with the same.
        cache_dir: Where converted caches are kept; default is ``$ECGLOSS_CACHE``, else ``~/.cache/ecgloss``.
        progress: Show a progress bar while converting.
        table: A table of recordings or patients to join: CSV, TSV or Parquet, see :func:`ecgloss.data.join_table`.
        columns: What its columns mean, ``"record=file,risk=my_score"`` or a mapping; other headings are recognised.
        units: Of own files that do not say them: mV, uV or V.
        source_rate: Sampling rate in Hz of own files that do not say it.
        leads: Names of the rows of an array, in order, or those to take of a file with named channels; default:
            ``preprocessing.leads``.
        dataset_name: Name of the array of signals in an HDF5, MATLAB or .npz file, where it cannot be recognised.
        split: A column of the table with the parts of a split; a file, which is not read here, is left alone.

    Returns:
        The dataset. Records that could not be used are in its ``skipped``.

    Raises:
        ValueError: If the source does not exist, has no readable record or no requested lead, or if a cache is
            damaged or was made with other preprocessing, or the table cannot be joined.

    Example:
        >>> open_dataset("no such folder", preprocessing=Preprocessing())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: data source no such folder does not exist; give a folder of WFDB records, a file (.npy, ...
    """
    if columns and table is None:
        raise ValueError(f"columns say what the columns of a table mean; got columns {columns} without a table")
    signals = SignalOptions(units, source_rate, None if leads is None else tuple(leads), dataset_name)
    beside = None if table is None else Path(table)
    dataset = _open(source, preprocessing, signals, beside, cache_dir, progress)
    if table is None:
        return dataset
    meanings = parse_columns(columns)
    if split is not None and split not in ("all", "folds") and not Path(split).is_file():
        meanings["split"] = split
    joined, notes = join_table(dataset, table, meanings)
    joined.notes = notes
    return joined


def from_arrays(
    signals: ArrayLike,
    *,
    sampling_rate: float,
    leads: Sequence[str],
    units: str,
    patient: ArrayLike | None = None,
    metadata: Sequence[Metadata] | None = None,
    preprocessing: Preprocessing | None = None,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> EcgDataset:
    """Make a dataset of arrays in memory; it is converted like any other source, and kept in a cache.

    Args:
        signals: (n, leads, samples), or (n, samples) of one lead; NaN where a sample is missing.
        sampling_rate: In Hz.
        leads: Names of the leads, in order.
        units: ``"mV"``, ``"uV"`` or ``"V"``.
        patient: (n,) patients; recordings of one patient are never in different parts of a split. None: unknown, each
            recording counts as a patient of its own.
        metadata: (n,) what is known of the patients, with labels and regression targets.
        preprocessing: What is done to every signal; default: ``Preprocessing(sampling_rate=sampling_rate)``.
        cache_dir: As for :func:`open_dataset`.
        progress: Show a progress bar while converting.

    Raises:
        ValueError: If the arrays do not fit together.

    Example:
        >>> import tempfile
        >>> x = np.random.default_rng(0).normal(size=(4, 1, 1000))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     said = {"sampling_rate": 100, "leads": ["II"], "units": "mV"}
        ...     dataset = from_arrays(x, patient=[1, 1, 2, 3], cache_dir=folder, progress=False, **said)
        ...     len(dataset), dataset.leads(0), dataset.index["patient"].tolist()
        (4, ('II',), ['1', '1', '2', '3'])
    """
    arrays = checked_arrays(
        np.asarray(signals), sampling_rate=sampling_rate, leads=leads, units=units, patient=patient, metadata=metadata
    )
    preprocessing = preprocessing or Preprocessing(sampling_rate=float(sampling_rate))
    return _converted(array_source(arrays, preprocessing), preprocessing, cache_dir, progress)


def _open(
    source: str | Path,
    preprocessing: Preprocessing,
    signals: SignalOptions,
    table: Path | None,
    cache_dir: str | Path | None,
    progress: bool,
) -> EcgDataset:
    """The recordings themselves."""
    folder = Path(source).expanduser()
    if is_cache(folder):
        dataset = EcgDataset(folder)
        _check_preprocessing(dataset, preprocessing.stored())
        return _with(dataset, preprocessing)
    found = resolve(source, preprocessing, signals, skip=_cache_root(cache_dir), table=table)
    return _converted(found, preprocessing, cache_dir, progress)


def _cache_root(cache_dir: str | Path | None) -> Path:
    """Where converted caches are kept."""
    try:
        return Path(cache_dir or os.environ.get("ECGLOSS_CACHE") or "~/.cache/ecgloss").expanduser().absolute()
    except RuntimeError as error:  # this user has no home folder
        raise ValueError(
            "there is no home folder for converted caches; name one with --cache or $ECGLOSS_CACHE"
        ) from error


def _converted(
    source: Source, preprocessing: Preprocessing, cache_dir: str | Path | None, progress: bool
) -> EcgDataset:
    """The cache of a source, made if it is not there or the source has changed."""
    root, key, stored = _cache_root(cache_dir), source.key[:20], preprocessing.stored()
    for made in root.glob(f"[!.]*-{key}-*"):
        if is_cache(made) and unchanged(made):
            return _with(EcgDataset(made), preprocessing)
    with suppress(OSError):  # said when the cache is written; made first, because it changes the time of its parent
        root.mkdir(parents=True, exist_ok=True)
    target = root / f"{source.listing.card}-{key}-{source.listing.key[:12]}"
    if is_cache(target):
        keep(source.listing.files, target)
    else:
        build_cache(source, target, stored, progress=progress)
    return _with(EcgDataset(target), preprocessing)


def _with(dataset: EcgDataset, preprocessing: Preprocessing) -> EcgDataset:
    """A dataset that knows what is done to windows of its signals, too."""
    dataset.preprocessing = preprocessing
    return dataset


def _check_preprocessing(dataset: EcgDataset, wanted: Preprocessing) -> None:
    """Refuse a cache that was made with other preprocessing."""
    found, asked = dataset.preprocessing.to_json(), wanted.to_json()
    different = [f"{key} {found[key]} (asked for {asked[key]})" for key in found if found[key] != asked[key]]
    if different:
        raise ValueError(
            f"the cache {dataset.folder} was made with {', '.join(different)}; "
            "ask for the same, or open the original recordings"
        )
