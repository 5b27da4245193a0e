"""ECG recordings: databases, preprocessing, a converted cache, splits and a simulated cohort.

Names are loaded when they are first used, so ``import ecgloss.data`` needs no optional dependency.

- ``wfdb`` reads records, ``cards`` knows the databases, ``sources`` finds the records of a folder or of the simulated
  cohort (``synthetic``).
- ``arrays`` and ``table`` take what a user brings: arrays of signals, a table of recordings or patients.
- ``preprocess`` filters, ``cache`` stores, ``opening`` converts and opens a ``dataset``; ``duplicates`` and ``splits``
  keep recordings of one patient together.
- ``window``, ``augment`` and ``noise`` make what an encoder sees; ``recording_risk`` is the clinical risk of a dataset.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecgloss.data.cards import CARDS, DatabaseCard
    from ecgloss.data.conversion import convert
    from ecgloss.data.dataset import EcgDataset
    from ecgloss.data.files import SignalOptions
    from ecgloss.data.opening import from_arrays, open_dataset
    from ecgloss.data.preprocess import Preprocessing, prepare
    from ecgloss.data.recording import STANDARD_LEADS, Metadata, Recording, Skipped, normalise_lead
    from ecgloss.data.splits import Split, split_by_patient
    from ecgloss.data.table import join_table
    from ecgloss.data.wfdb import InvalidRecordError, read_record

_HOME = {
    "CARDS": "cards",
    "DatabaseCard": "cards",
    "EcgDataset": "dataset",
    "InvalidRecordError": "wfdb",
    "Metadata": "recording",
    "Preprocessing": "preprocess",
    "Recording": "recording",
    "STANDARD_LEADS": "recording",
    "SignalOptions": "files",
    "Skipped": "recording",
    "Split": "splits",
    "convert": "conversion",
    "from_arrays": "opening",
    "join_table": "table",
    "normalise_lead": "recording",
    "open_dataset": "opening",
    "prepare": "preprocess",
    "read_record": "wfdb",
    "split_by_patient": "splits",
}

__all__ = [
    "CARDS",
    "STANDARD_LEADS",
    "DatabaseCard",
    "EcgDataset",
    "InvalidRecordError",
    "Metadata",
    "Preprocessing",
    "Recording",
    "SignalOptions",
    "Skipped",
    "Split",
    "convert",
    "from_arrays",
    "join_table",
    "normalise_lead",
    "open_dataset",
    "prepare",
    "read_record",
    "split_by_patient",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
