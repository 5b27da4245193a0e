"""The score of probes with few labels, averaged over several random choices of the labelled recordings.

With 50 labels, which recordings are drawn changes the score by more than encoders differ; the mean over draws changes
less.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgloss.data.dataset import EcgDataset
from ecgloss.data.splits import Split
from ecgloss.evaluate.evaluation import probe_targets, test_truth
from ecgloss.evaluate.metrics import macro_auroc, spearman
from ecgloss.evaluate.probe_data import REGRESSION
from ecgloss.evaluate.resampling import Estimate, bootstrap
from ecgloss.evaluate.tasks import Targets


def few_label_score(
    embeddings: NDArray[np.float32],
    targets: Targets,
    dataset: EcgDataset,
    split: Split,
    *,
    n_labels: int,
    draws: int = 10,
    seed: int = 0,
) -> Estimate:
    """Mean test score of linear probes that saw different small subsets of the labels.

    Args:
        embeddings: (n, D) of ``targets.rows``.
        targets: What to predict.
        dataset: The recordings.
        split: Parts to train, choose and test on.
        n_labels: Labelled recordings per draw.
        draws: Number of draws.
        seed: Seed of the first draw; equal seeds draw the same recordings for every encoder.

    Returns:
        Macro AUROC (classification) or Spearman's rank correlation (regression), averaged over draws; the interval
        resamples test patients.
    """
    scores, truths, groups = [], [], np.zeros(0)
    for draw in range(seed, seed + draws):
        probe = probe_targets(embeddings, targets, dataset, split, n_labels=n_labels, seed=draw, n_boot=1)
        truth, groups = test_truth(targets, dataset, split, probe.classes)
        scores.append(probe.test_scores)
        truths.append(truth)
    metric = _mean_spearman if targets.kind == REGRESSION else macro_auroc
    return bootstrap(metric, np.hstack(scores), np.hstack(truths), groups=groups, seed=seed)


def _mean_spearman(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Spearman's correlation averaged over columns."""
    p, y = np.asarray(predictions), np.asarray(targets)
    return float(np.mean([spearman(p[:, c], y[:, c]) for c in range(p.shape[1])]))
