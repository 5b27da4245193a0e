"""Datasets: signals by position and lead, labels and values by task, read from a converted cache."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecgloss.data.cache import map_shard, open_cache
from ecgloss.data.recording import Skipped, normalise_lead

if TYPE_CHECKING:
    import pandas as pd


class EcgDataset:
    """Recordings in a converted cache.

    Signals are memory-mapped: opening loads no samples, and worker processes map the same files.

    Args:
        folder: A converted cache.

    Attributes:
        index: One row per recording: name, patient, group (recordings of one patient, and identical signals), leads,
            n_samples, source_rate, age, sex, smoker, diabetes, sbp, total_chol, hdl_chol, where the samples are,
            and labels and values as JSON objects.
        preprocessing: What was done to the signals.
        skipped: Records that could not be used, with reasons.
        left_out: Channels that were left out because they are no ECG leads, and in how many records.
        fingerprint: SHA-256 over preprocessing, names, metadata and checksums, and over a table that was joined.
        signals_fingerprint: The same without the table.
        notes: Sentences on how a table was joined.
        parts: Part of every recording in the split of the database, or in that of a table; None without one.
        source: Where the recordings come from.
        name: Name of the database card that read them.
        folder: The cache.

    Raises:
        ValueError: If the cache is damaged; the message names the file and the way out.

    Example:
        >>> import tempfile
        >>> from ecgloss.data import Preprocessing, open_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = open_dataset("synthetic:3", preprocessing=Preprocessing(), cache_dir=folder, progress=False)
        ...     len(dataset), dataset.signal(0, "II").shape, dataset.leads(0)[:3]
        (3, (5000,), ('I', 'II', 'III'))
    """

    def __init__(self, folder: str | Path) -> None:
        cache = open_cache(Path(folder))
        self.folder = Path(folder)
        self.index: pd.DataFrame = cache.index
        self.preprocessing = cache.info.preprocessing
        self.skipped: list[Skipped] = list(cache.info.skipped)
        self.fingerprint = self.signals_fingerprint = cache.info.fingerprint
        self.notes: list[str] = []
        part = self.index["part"]
        self.parts: list[str | None] | None = part.tolist() if part.notna().any() else None
        self.source = cache.info.source
        self.name = cache.info.card
        self.left_out = cache.info.left_out
        self._shards = cache.shards
        self._shard_files = cache.info.shards
        # arrays, because looking up one cell of a data frame takes longer than reading the signal
        self._leads, self._first_gain, self._gains = cache.leads, cache.first_gain, cache.gains
        self._place = self.index[["shard", "offset", "n_samples"]].to_numpy(np.int64)

    @cached_property
    def _labels(self) -> list[dict[str, list[str]]]:
        """Labels of every recording by task; recordings with the same labels share an object."""
        return _objects(self.index["labels"])

    @cached_property
    def _values(self) -> list[dict[str, float]]:
        """Regression targets of every recording."""
        return _objects(self.index["values"])

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self._place)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": None}  # pickling a memory map would copy all samples

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shards = tuple(map_shard(self.folder, name, samples) for name, samples in self._shard_files)

    def leads(self, i: int) -> tuple[str, ...]:
        """Return the lead names of recording ``i``."""
        return self._leads[i]

    def signal(self, i: int, lead: str | None = None) -> np.ndarray:
        """Return the signal of recording ``i`` in mV.

        Args:
            i: Position in the index.
            lead: One lead's name in any usual spelling; None for all.

        Returns:
            float32, ``(samples,)`` for one lead, ``(leads, samples)`` for all.

        Raises:
            ValueError: If the recording does not have the lead; lists those it has.
        """
        i = range(len(self))[i]
        shard, offset, length = self._place[i].tolist()
        leads = self._leads[i]
        gain = self._gains[self._first_gain[i] : self._first_gain[i + 1]]
        if lead is None:
            counts = self._shards[shard][offset : offset + len(leads) * length].reshape(len(leads), length)
            return np.asarray(counts / gain[:, None])
        normalised = normalise_lead(lead)
        if normalised not in leads:
            name = self.index["name"].iloc[i]
            raise ValueError(f"recording {name} has no lead {lead!r}; its leads are {', '.join(leads)}")
        row = leads.index(normalised)
        counts = self._shards[shard][offset + row * length : offset + (row + 1) * length]
        return np.asarray(counts / gain[row])

    def root_mean_square(self, rows: np.ndarray) -> float:
        """Root mean square of recordings in mV, over all samples of all leads of at most 2,000 of them.

        Args:
            rows: (n,) their positions; of more than 2,000 some are taken, evenly.

        Raises:
            ValueError: If every sample is zero.
        """
        chosen = rows[:: -(-len(rows) // 2000)]
        squares = [float(np.square(self.signal(int(i)), dtype=np.float64).mean()) for i in chosen]
        found = float(np.sqrt(np.mean(squares)))
        if not found > 0:
            raise ValueError(f"{self.source}: all samples of {len(chosen)} recordings are zero")
        return found

    def tasks(self) -> list[str]:
        """Return the tasks for which at least one recording is labelled, classification and regression."""
        return [*self._label_tasks(), *self._value_tasks()]

    def labels(self, task: str) -> list[tuple[str, ...] | None]:
        """Return the labels of every recording for a classification task.

        Args:
            task: One of the tasks; ``"sex"`` where it is known.

        Returns:
            One tuple per recording (empty: labelled, with none), None where it is not labelled for the task.

        Raises:
            ValueError: If there is no such task; lists those there are.
        """
        if task not in self._label_tasks():
            raise self._unknown(task, self._label_tasks(), "classification")
        if task == "sex":
            known: list[str | None] = self.index["sex"].tolist()
            return [(sex,) if isinstance(sex, str) else None for sex in known]
        return [tuple(labels[task]) if task in labels else None for labels in self._labels]

    def values(self, task: str) -> np.ndarray:
        """Return the target of every recording for a regression task.

        Args:
            task: One of the tasks; ``"age"`` in years where it is known.

        Returns:
            ``(recordings,)`` float64, NaN where unknown.

        Raises:
            ValueError: If there is no such task; lists those there are.
        """
        if task not in self._value_tasks():
            raise self._unknown(task, self._value_tasks(), "regression")
        if task == "age":
            return np.asarray(self.index["age"], np.float64)
        return np.array([values.get(task, np.nan) for values in self._values], np.float64)

    def _label_tasks(self) -> list[str]:
        """List classification tasks in a fixed order."""
        found = sorted({task for labels in self._labels for task in labels} - {"sex"})
        return found + (["sex"] if self.index["sex"].notna().any() else [])

    def _value_tasks(self) -> list[str]:
        """List regression tasks in a fixed order."""
        found = sorted({task for values in self._values for task in values} - {"age"})
        return found + (["age"] if self.index["age"].notna().any() else [])

    def _unknown(self, task: str, known: list[str], kind: str) -> ValueError:
        """Return the error for an unknown task, which lists the known ones."""
        return ValueError(
            f"{self.source} has no {kind} task {task!r}; "
            f"its {kind} tasks are {', '.join(known) or 'none'} (all tasks: {', '.join(self.tasks())})"
        )


def _objects(texts: pd.Series[str]) -> list[Any]:
    """JSON objects of texts, of which many are equal."""
    known = {text: json.loads(text) for text in texts.unique()}
    return [known[text] for text in texts]
