"""Embeddings of recordings by a frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss._files import replacing
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.window import cut, standardise
from ecgloss.models.resnext1d import ResNeXt1D

ALL_LEADS = "all"


def embed(
    model: ResNeXt1D,
    dataset: EcgDataset,
    *,
    lead: str = "I",
    seconds: float = 10.0,
    rows: Sequence[int] | NDArray[np.int64] | None = None,
    batch_size: int = 128,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> NDArray[np.float32]:
    """Embed the first window of every recording.

    Args:
        model: A single-lead encoder; it is put into evaluation mode.
        dataset: Recordings with the preprocessing the encoder was trained on.
        lead: The lead to embed, or ``"all"`` for the mean embedding of all leads of a recording.
        seconds: Length of the window; shorter recordings are padded with zeros.
        rows: Positions of the recordings; default all.
        batch_size: Windows per forward pass.
        device: Where to compute.
        progress: Show a progress bar.

    Returns:
        (n, D) fp32.

    Raises:
        ValueError: if a recording lacks the lead, naming the leads it has.
    """
    tqdm = require("tqdm", "data").tqdm
    rows = np.arange(len(dataset)) if rows is None else np.asarray(rows)
    length = round(seconds * dataset.preprocessing.sampling_rate)
    leads = [dataset.leads(int(i)) if lead == ALL_LEADS else (lead,) for i in rows]
    windows = [(int(i), name) for i, names in zip(rows, leads) for name in names]
    model = model.to(device).eval()
    parts = []
    with torch.inference_mode():
        starts = range(0, len(windows), batch_size)
        for start in tqdm(starts, desc="embed", disable=not progress, leave=False):
            batch = windows[start : start + batch_size]
            signals = np.stack([cut(dataset.signal(i, name), length) for i, name in batch])
            x = standardise(torch.from_numpy(signals).to(device))
            parts.append(model(x[:, None]).float().cpu().numpy())
    embeddings = np.concatenate(parts) if parts else np.zeros((0, model.out_features), np.float32)
    return _means(embeddings, [len(names) for names in leads])


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
