"""A trained encoder against a random one of the same shape, by linear probes on the same recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss._files import write_json
from ecgloss.data.dataset import EcgDataset
from ecgloss.data.opening import SourceOptions, open_dataset
from ecgloss.data.overlap import Contents, contents, seen_before
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.splits import Split, chosen_split, unknown_patients
from ecgloss.evaluate.embed import embed, lead_to_embed, rows_with_leads
from ecgloss.evaluate.metrics import main_metric
from ecgloss.evaluate.probe import ProbeResult, linear_probe
from ecgloss.evaluate.probe_data import REGRESSION, Part
from ecgloss.evaluate.resampling import Estimate, paired_difference
from ecgloss.evaluate.tables import ResultRow, metric_name, text
from ecgloss.evaluate.tasks import Targets, task_targets
from ecgloss.models.pretrained import (
    EncoderCard,
    find_checkpoint,
    fresh_encoder,
    load_encoder,
    several_leads,
    trained_on,
)
from ecgloss.risk.scores import Region

RANDOM, TRAINED = "random encoder", "checkpoint"


@dataclass(frozen=True)
class Evaluation:
    """Linear probes of a checkpoint and of a random encoder.

    Attributes:
        checkpoint: The checkpoint folder.
        data: The data source.
        task: The task.
        lead: The lead that was embedded.
        labels: How many training labels were used, ``"all"`` or a number.
        results: One probe per encoder, ``"random encoder"`` and ``"checkpoint"``.
        difference: Checkpoint minus random on the main metric (macro AUROC, or mean absolute error), from the same
            resamples.
        split: Where the split came from.
        card: The checkpoint's card: what the encoder was trained on, and how.
        dataset: The recordings.
        rows_embedded: (n,) recordings that have a target.
        embeddings: (n, D) of those, by the checkpoint.
    """

    checkpoint: Path
    data: str
    task: str
    lead: str
    labels: str
    results: dict[str, ProbeResult]
    difference: Estimate
    split: str
    card: EncoderCard
    dataset: EcgDataset
    rows_embedded: NDArray[np.int64]
    embeddings: NDArray[np.float32]

    @property
    def main_metric(self) -> str:
        """Name of the metric by which the encoders are compared."""
        return main_metric(self.results[TRAINED].kind).name

    def rows(self) -> list[ResultRow]:
        """Rows of the result table."""
        return [
            ResultRow(method, metric, self.labels, estimate)
            for method, result in self.results.items()
            for metric, estimate in result.metrics.items()
        ]

    def __str__(self) -> str:
        """The table with what it was measured on."""
        return "\n".join([text(self.rows()), *self.notes()])

    def notes(self) -> list[str]:
        """What the table was measured on, and what could not be."""
        probe = self.results[TRAINED]
        lines = [
            f"task {self.task}, lead {self.lead}, {probe.n_train} training, {probe.n_validation} validation, "
            f"{probe.n_test} test recordings; 95 % intervals over test patients",
            f"checkpoint minus random encoder, {metric_name(self.main_metric)}: {self.difference}",
        ]
        by_reason: dict[str, list[str]] = {}
        for name, reason in probe.dropped.items():
            by_reason.setdefault(reason, []).append(name)
        return lines + [f"not scored, {reason}: {', '.join(names)}" for reason, names in by_reason.items()]

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "checkpoint": str(self.checkpoint),
            "data": self.data,
            "task": self.task,
            "lead": self.lead,
            "labels": self.labels,
            "split": self.split,
            "skipped": [vars(record) for record in self.dataset.skipped],
            "results": {name: result.summary() for name, result in self.results.items()},
            "difference": {"metric": self.main_metric, **self.difference.to_json()},
        }

    def save(self, path: str | Path) -> None:
        """Write :meth:`to_json`."""
        write_json(path, self.to_json())


def evaluate_linear(
    checkpoint: str | Path,
    data: str,
    *,
    task: str,
    lead: str | None = None,
    model: str | Callable[..., Any] | None = None,
    label_fraction: float = 1.0,
    region: Region = "moderate",
    seed: int = 0,
    cache_dir: str | Path | None = None,
    device: str = "cpu",
    progress: bool = True,
    source: SourceOptions | None = None,
) -> Evaluation:
    """Probe a checkpoint on a task.

    The split is the one of pretraining where the data is the same (test patients were not seen then), else a new one
    by patient with the seed of pretraining.

    Args:
        checkpoint: A training run or one of its checkpoints.
        data: Data source, as for pretraining.
        task: What to predict.
        lead: The lead to embed, or ``"all"`` for the mean over leads; default: I, or the commonest. None for an
            encoder that sees several leads at once.
        model: Required for an encoder of a factory, see :func:`ecgloss.models.load_encoder`.
        label_fraction: Fraction of the training labels the probe may use, in (0, 1].
        region: SCORE2 risk region, for the task ``"risk"``.
        seed: Seed of label subsets, bootstrap and of the random encoder.
        cache_dir: Folder of converted caches.
        device: Where to compute embeddings.
        progress: Show progress bars.
        source: A table to join to the data, and what must be said about arrays.

    Returns:
        The evaluation.

    Raises:
        ValueError: for a missing checkpoint, unusable data, an unknown task or lead.
    """
    if not 0 < label_fraction <= 1:
        raise ValueError(f"label_fraction must lie in (0, 1]; got {label_fraction}")
    folder = find_checkpoint(checkpoint)
    trained, card = load_encoder(folder, model)
    leads = several_leads(card, lead)
    dataset = open_dataset(
        data,
        preprocessing=Preprocessing.from_json(card.preprocessing),
        cache_dir=cache_dir,
        progress=progress,
        **(source or SourceOptions()).for_opening(),
    )
    split, origin = matching_split(folder, card, dataset, source)
    dataset.notes += unknown_patients(dataset)
    if leads is None:
        lead, chosen = lead_to_embed(dataset, lead)
        dataset.notes += [chosen] if chosen else []
    lead = lead or "I"
    targets = task_targets(dataset, task, region=region)
    usable, left_out = rows_with_leads(dataset, targets.rows, lead, leads)
    if left_out:
        targets = replace(targets, rows=usable, values=targets.values[np.isin(targets.rows, usable)])
        dataset.notes.append(left_out)
    n_train = int(np.isin(targets.rows, split.train).sum())
    n_labels = None if label_fraction == 1 else max(2, round(label_fraction * n_train))
    encoders = {RANDOM: fresh_encoder(card, model, seed), TRAINED: trained}
    results: dict[str, ProbeResult] = {}
    z = np.zeros(0, np.float32)
    for name, encoder in encoders.items():  # the checkpoint comes last: its embeddings are kept
        z = embed(
            encoder,
            dataset,
            lead=lead,
            leads=leads,
            seconds=card.seconds,
            rows=targets.rows,
            device=device,
            progress=progress,
        )
        results[name] = probe_targets(z, targets, dataset, split, n_labels=n_labels, seed=seed)
    return Evaluation(
        checkpoint=folder,
        data=data,
        task=task,
        lead=lead if leads is None else ", ".join(leads),
        labels="all" if n_labels is None else str(n_labels),
        results=results,
        difference=_difference(results, targets, dataset, split, seed),
        split=origin,
        card=card,
        dataset=dataset,
        rows_embedded=targets.rows,
        embeddings=z,
    )


def matching_split(
    checkpoint: Path, card: EncoderCard, dataset: EcgDataset, source: SourceOptions | None = None
) -> tuple[Split, str]:
    """The split that was asked for, that of pretraining for the same data, that of the database, else a new one.

    Also returned is which it is, in words.

    Patients whom the encoder was trained on, in whatever copy of their recordings, leave validation and test.
    """
    path = checkpoint.parent.parent / "split.json"
    before = Split.load(path) if path.is_file() else None
    asked, fractions = (None, None) if source is None else (source.split, source.fractions)
    if asked is None and fractions is None and before is not None and card.data["fingerprint"] == dataset.fingerprint:
        if not len(before.test):
            raise ValueError(f"{checkpoint} was trained on all of {dataset.source}; evaluate on other data")
        seen_all = "; pretraining saw all recordings, also those of test" if _saw_all(card) else ""
        return before.align(dataset), f"that of pretraining{seen_all}"
    seed = int(card.training.get("seed", 0))
    split, origin = chosen_split(dataset, asked, seed=seed, fractions=fractions)
    seen = _trained_on(checkpoint, card, dataset, before)
    if not seen.any():
        return split, origin
    split, overlap = split.keep_in_train(dataset, seen)
    if not overlap.moved:
        return split, origin
    return split, (
        f"{origin}; {overlap.patients} of {overlap.test_patients} test patients overlap with pretraining: excluded "
        f"({overlap.moved} recordings of validation and test moved to train)"
    )


def _trained_on(checkpoint: Path, card: EncoderCard, dataset: EcgDataset, before: Split | None) -> NDArray[np.bool_]:
    """Which recordings were trained on, (n,): by content, and in the same database by name."""
    seen = np.zeros(len(dataset), np.bool_)
    known = trained_on(checkpoint)
    if known is not None:
        earlier = Contents(**{name: x.numpy() for name, x in known.items()})
        seen |= seen_before(contents(dataset), earlier)
    if before is not None and card.data["name"] == dataset.name:
        trained = set(before.names) if _saw_all(card) else {before.names[i] for i in before.train}
        seen |= np.array([name in trained for name in dataset.index["name"]])
    return seen


def _saw_all(card: EncoderCard) -> bool:
    """Whether recordings of all parts of the split were trained on."""
    return card.training.get("train_on") == "all"


def probe_targets(
    embeddings: NDArray[np.float32],
    targets: Targets,
    dataset: EcgDataset,
    split: Split,
    *,
    n_labels: int | None = None,
    seed: int = 0,
    n_boot: int = 1000,
) -> ProbeResult:
    """Linear probe of the embeddings (n, D) of ``targets.rows``; arguments as in :func:`linear_probe`."""
    groups = dataset.index["group"].to_numpy()[targets.rows]
    parts = []
    for rows in (split.train, split.validation, split.test):
        chosen = np.isin(targets.rows, rows)
        parts.append(Part(embeddings[chosen], targets.values[chosen], groups[chosen]))
    return linear_probe(
        *parts, kind=targets.kind, classes=targets.classes or None, n_labels=n_labels, seed=seed, n_boot=n_boot
    )


def _difference(
    results: dict[str, ProbeResult], targets: Targets, dataset: EcgDataset, split: Split, seed: int
) -> Estimate:
    """Checkpoint minus random on the classes both were scored on."""
    trained, random = results[TRAINED], results[RANDOM]
    truth, groups = test_truth(targets, dataset, split, trained.classes)
    metric = main_metric(targets.kind).function
    return paired_difference(metric, trained.test_scores, random.test_scores, truth, groups=groups, seed=seed)


def test_truth(
    targets: Targets, dataset: EcgDataset, split: Split, classes: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Targets (n, C) of the test recordings, columns as in ``classes`` (regression: one), and their groups."""
    chosen = np.isin(targets.rows, split.test)
    truth = targets.values[chosen]
    if targets.kind == "multiclass":
        truth = truth[:, None] == np.arange(len(targets.classes))
    truth = np.asarray(truth, np.float64).reshape(len(truth), -1)
    if targets.kind != REGRESSION:
        truth = truth[:, [targets.classes.index(name) for name in classes]]
    return truth, dataset.index["group"].to_numpy()[targets.rows][chosen]
