"""Embeddings of recordings by a frozen encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss._files import replacing
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.recording import normalise_lead
from ecgloss.data.window import cut, normalise
from ecgloss.models.encoder import Encoder

ALL_LEADS = "all"


def embed(
    model: Encoder,
    dataset: EcgDataset,
    *,
    lead: str = "I",
    leads: Sequence[str] | None = None,
    seconds: float = 10.0,
    rows: Sequence[int] | NDArray[np.int64] | None = None,
    batch_size: int = 128,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> NDArray[np.float32]:
    """Embed the first window of every recording.

    Args:
        model: The encoder; it is put into evaluation mode.
        dataset: Recordings with the preprocessing the encoder was trained on.
        lead: The lead to embed, or ``"all"`` for the mean embedding of all leads of a recording.
        leads: Of an encoder that sees several leads at once: all of them, in the order of its input (``card.leads``);
            then ``lead`` is not used.
        seconds: Length of the window; shorter recordings are padded with zeros.
        rows: Positions of the recordings; default all.
        batch_size: Windows per forward pass.
        device: Where to compute.
        progress: Show a progress bar.

    Returns:
        (n, D) fp32.

    Raises:
        ValueError: if a recording lacks a lead, naming the leads it has, or the number of leads does not fit.
    """
    tqdm = require("tqdm", "data").tqdm
    rows = np.arange(len(dataset)) if rows is None else np.asarray(rows)
    length = round(seconds * dataset.preprocessing.sampling_rate)
    inputs = _inputs(model, dataset, rows, lead, leads)
    windows = [(int(i), names) for i, found in zip(rows, inputs) for names in found]
    model = model.to(device).eval()
    parts = []
    with torch.inference_mode():
        starts = range(0, len(windows), batch_size)
        for start in tqdm(starts, desc="embed", disable=not progress, leave=False):
            batch = windows[start : start + batch_size]
            signals = np.array([[cut(dataset.signal(i, name), length) for name in names] for i, names in batch])
            x = normalise(torch.from_numpy(signals).to(device), dataset.preprocessing)
            parts.append(model(x).float().cpu().numpy())
    embeddings = np.concatenate(parts) if parts else np.zeros((0, model.out_features), np.float32)
    return _means(embeddings, [len(found) for found in inputs])


def _inputs(
    model: Encoder, dataset: EcgDataset, rows: NDArray[np.int64], lead: str, leads: Sequence[str] | None
) -> list[list[tuple[str, ...]]]:
    """The leads of every input of every recording."""
    if model.in_channels == 1 and leads is None:
        return [[(name,) for name in (dataset.leads(int(i)) if lead == ALL_LEADS else (lead,))] for i in rows]
    if leads is None or len(leads) != model.in_channels:
        given = "none" if leads is None else ", ".join(leads)
        raise ValueError(f"the encoder sees {model.in_channels} leads at once; leads must name as many, got {given}")
    lacking = [int(i) for i in rows if not set(leads) <= set(dataset.leads(int(i)))]
    if lacking:
        name, has = dataset.index["name"].iloc[lacking[0]], dataset.leads(lacking[0])
        absent = ", ".join(x for x in leads if x not in has)
        raise ValueError(f"{len(lacking)} of {len(rows)} recordings lack leads of the encoder: {name} has no {absent}")
    return [[tuple(leads)] for _ in rows]


def lead_to_embed(dataset: EcgDataset, lead: str | None) -> tuple[str, str]:
    """The lead to embed where none is named, and a sentence on it; empty if it is lead I or was named.

    It is lead I, or, where no recording has that (as in databases of two leads), the lead that most recordings have.

    Args:
        dataset: The recordings.
        lead: The lead that was named, or None.
    """
    if lead is not None:
        return lead, ""
    having = Counter(name for i in range(len(dataset)) for name in dataset.leads(i))
    if "I" in having or not having:
        return "I", ""
    most, count = having.most_common(1)[0]
    return (
        most,
        f"no recording has lead I: {most} is embedded, which {count} of {len(dataset)} have (--lead takes another)",
    )


def rows_with_leads(
    dataset: EcgDataset, rows: NDArray[np.int64], lead: str, leads: Sequence[str] | None
) -> tuple[NDArray[np.int64], str]:
    """The recordings that have the leads to embed, and a sentence on those that have not; empty if there are none.

    Args:
        dataset: The recordings.
        rows: (n,) positions.
        lead: The lead to embed, or ``"all"``.
        leads: Of an encoder that sees several leads at once; then ``lead`` is not used.

    Raises:
        ValueError: If no recording has them, naming those that the first has.
    """
    wanted = set(leads or (() if lead == ALL_LEADS else (normalise_lead(lead),)))
    has = np.array([wanted <= set(dataset.leads(int(i))) for i in rows], np.bool_)
    if has.all():
        return rows, ""
    first = int(rows[np.flatnonzero(~has)[0]])
    absent = ", ".join(x for x in leads or (lead,) if normalise_lead(x) not in dataset.leads(first))
    name = dataset.index["name"].iloc[first]
    if not has.any():
        shown = ", ".join(dataset.leads(first))
        raise ValueError(f"no recording has the leads to embed: {name} has no {absent}; its leads are {shown}")
    return rows[has], f"{(~has).sum()} of {len(rows)} recordings are left out: they lack leads ({name} has no {absent})"


def write_embeddings(
    path: str | Path, dataset: EcgDataset, embeddings: NDArray[np.float32], rows: Sequence[int] | None = None
) -> None:
    """Write embeddings as Parquet: record, patient, age, sex and one list column ``embedding``.

    Args:
        path: The file, replaced in one step.
        dataset: The recordings.
        embeddings: (n, D).
        rows: Positions of the recordings; default all.
    """
    arrow, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    index = dataset.index if rows is None else dataset.index.iloc[list(rows)]
    table = arrow.table(
        {
            "record": index["name"].tolist(),
            "patient": index["patient"].tolist(),
            "age": index["age"].to_numpy(np.float64),
            "sex": index["sex"].tolist(),
            "embedding": arrow.array(list(embeddings), type=arrow.list_(arrow.float32())),
        }
    )
    with replacing(path) as temporary:
        parquet.write_table(table, temporary)


def _means(embeddings: NDArray[np.float32], counts: list[int]) -> NDArray[np.float32]:
    """Means of consecutive groups of rows; ``counts`` holds the sizes of the groups."""
    if not counts or max(counts) == 1:
        return embeddings
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(embeddings, starts, axis=0)
    return np.asarray(sums / np.array(counts)[:, None], np.float32)
