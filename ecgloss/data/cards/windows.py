"""Long records, cut into windows of 10 s with labels of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ecgloss.data.recording import Metadata, Recording
from ecgloss.data.wfdb.records import WfdbRecord

WINDOW_S = 10.0


def windows(
    record: WfdbRecord,
    name: str,
    patient: str,
    metadata: Metadata,
    labels: Callable[[int, int], Mapping[str, tuple[str, ...]]] | None = None,
    *,
    every_s: float = WINDOW_S,
) -> list[Recording]:
    """Cut a record into windows; a record shorter than one stays whole, a rest at the end is dropped.

    Args:
        record: What was read.
        name: Of the record; the windows are called ``name/0000``, ``name/0001``, ...
        patient: Whose it is.
        metadata: What is known of the patient.
        labels: ``labels(start, stop)`` returns those of the samples from ``start`` up to ``stop``, which are added to
            the labels in ``metadata``.
        every_s: Seconds from the beginning of a window to that of the next: 10 for the whole record, more for a sample
            of a record of many hours.

    Example:
        >>> import numpy as np
        >>> record = WfdbRecord(np.zeros((1, 6500), np.float32), ("II",), 100.0, None)
        >>> [w.name for w in windows(record, "a", "a", Metadata(), every_s=30)]
        ['a/0000', 'a/0001']
    """
    length, step = (round(seconds * record.sampling_rate) for seconds in (WINDOW_S, every_s))
    found = []
    for k in range(max(1, (record.signal.shape[1] - length) // step + 1)):
        start, stop = k * step, k * step + length
        own = metadata if labels is None else replace(metadata, labels={**metadata.labels, **labels(start, stop)})
        found.append(
            Recording(f"{name}/{k:04d}", patient, record.signal[:, start:stop], record.leads, record.sampling_rate, own)
        )
    return found
