"""The report of an evaluation, section by section.

To add a section, write its function here and list it in :func:`evaluation_report`; a new figure goes into
:mod:`ecgloss.evaluate.figures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecgloss._files import read_json_lines
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.recording_risk import recording_risks
from ecgloss.data.window import cut, normalise
from ecgloss.evaluate import figures
from ecgloss.evaluate.html_page import Section, write_report
from ecgloss.evaluate.tables import ResultRow, html
from ecgloss.models.pretrained import EncoderCard
from ecgloss.train.config import PretrainConfig
from ecgloss.train.seeds import generator
from ecgloss.train.views import ViewBatches

if TYPE_CHECKING:
    from ecgloss.evaluate.beat_evaluation import BeatEvaluation
    from ecgloss.evaluate.evaluation import Evaluation


def evaluation_report(path: str | Path, evaluation: Evaluation) -> Path:
    """Write the report of one evaluation.

    Args:
        path: The HTML file.
        evaluation: What was measured.

    Returns:
        The file.
    """
    card = evaluation.card
    risk, _ = recording_risks(evaluation.dataset, "moderate")
    sections = [
        result_section(evaluation.rows(), "\n\n".join(evaluation.notes())),
        training_section({card.loss["name"]: evaluation.checkpoint.parent.parent}),
        views_section(evaluation.dataset, card, int(evaluation.rows_embedded[0])),
        *embedding_sections(evaluation.embeddings, risk.numpy()[evaluation.rows_embedded]),
    ]
    return write_report(
        path,
        title=f"Linear probe: {evaluation.task}",
        subtitle=f"{evaluation.checkpoint} on {evaluation.data}, lead {evaluation.lead}",
        sections=[section for section in sections if section is not None],
    )


def beat_report(path: str | Path, evaluation: BeatEvaluation) -> Path:
    """Write the report of an evaluation of single beats.

    Args:
        path: The HTML file.
        evaluation: What was measured.

    Returns:
        The file.
    """
    sections = [
        result_section(evaluation.rows(), "\n\n".join([*evaluation.notes, *evaluation.summary()])),
        training_section({evaluation.card.loss["name"]: evaluation.checkpoint.parent.parent}),
    ]
    return write_report(
        path,
        title="Linear probe: premature beats",
        subtitle=f"{evaluation.checkpoint} on {evaluation.data}, lead {evaluation.lead}",
        sections=[section for section in sections if section is not None],
    )


def result_section(rows: Sequence[ResultRow], note: str) -> Section:
    """The result table with its picture."""
    return Section(
        title="Results",
        text=f"Linear probes on frozen embeddings; in brackets 95 % intervals over test patients.\n\n{note}",
        figure=figures.probe_table_bars(rows),
        table_html=html(rows),
    )


def training_section(runs: Mapping[str, Path]) -> Section | None:
    """Loss curves of training runs, by the name of each; None if no run has a metrics.jsonl with steps."""
    found = {name: run / "metrics.jsonl" for name, run in runs.items()}
    histories = {name: read_json_lines(path) for name, path in found.items() if path.is_file()}
    histories = {name: history for name, history in histories.items() if history}
    if not histories:
        return None
    return Section(
        title="Training",
        text="The loss of every step and its terms. Losses of different methods are not comparable with each other.",
        figure=figures.loss_curves(histories),
    )


def views_section(dataset: EcgDataset, card: EncoderCard, row: int) -> Section:
    """One recording with two augmented views, as the encoder sees them."""
    config = PretrainConfig.from_json(card.training)
    rows = np.array([row])
    batches = ViewBatches(dataset, rows, config, epoch=0)
    batch = batches.augment(batches.draw(torch.from_numpy(rows), generator(config.seed, "picture")))
    leads = list(dict.fromkeys((batch.leads1[0], batch.leads2[0])))
    signal = torch.from_numpy(np.stack([cut(dataset.signal(row, lead), config.window) for lead in leads]))
    return Section(
        title="One recording, two views",
        text=f"Recording {dataset.index['name'].iloc[row]}. The loss pulls the two views together; "
        "most losses also push views of other recordings away.",
        figure=figures.views(
            normalise(signal, dataset.preprocessing).numpy(),
            batch.view1[0, 0].numpy(),
            batch.view2[0, 0].numpy(),
            config.sampling_rate,
            batch.leads1[0],
            batch.leads2[0],
            unit="SD",
        ),
    )


def embedding_sections(embeddings: NDArray[np.float32], risk: NDArray[Any]) -> list[Section]:
    """Embedding map coloured by risk, and similarity against risk difference (where risks are known)."""
    if np.isfinite(risk).sum() < 10:
        return []
    return [
        Section(
            title="Embedding map",
            text="Each point is a recording; neighbours have similar embeddings. The colour is the SCORE2 risk.",
            figure=figures.embedding_map(embeddings, risk),
        ),
        Section(
            title="Similarity against risk difference",
            text="Cosine similarity of random pairs of recordings. An encoder that has learnt about risk finds "
            "patients with similar risks more similar.",
            figure=figures.similarity_vs_risk(embeddings, risk, seed=0),
        ),
    ]
