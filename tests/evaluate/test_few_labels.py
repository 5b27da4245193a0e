"""Probes with few labels, averaged over draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from ecgloss.data.splits import Split
from ecgloss.evaluate.evaluation import probe_targets
from ecgloss.evaluate.few_labels import few_label_score
from ecgloss.evaluate.tasks import Targets

N = 180


@dataclass
class Recordings:
    """What a probe needs of a dataset: who belongs together."""

    index: pd.DataFrame


DATASET = Recordings(pd.DataFrame({"group": [f"p{i // 2}" for i in range(N)]}))
SPLIT = Split(np.arange(90), np.arange(90, 130), np.arange(130, N), 0, (0.5, 0.2, 0.3), "", tuple(map(str, range(N))))


def problem(kind: str) -> tuple[np.ndarray, Targets]:
    rng = np.random.default_rng(3)
    z = rng.normal(size=(N, 6)).astype(np.float32)
    signal = z[:, 0] + 0.7 * rng.normal(size=N)
    if kind == "regression":
        return z, Targets("risk", kind, np.arange(N), signal, ())
    return z, Targets("LVH", kind, np.arange(N), (signal > 0.3).astype(float)[:, None], ("LVH",))


@pytest.mark.parametrize(("kind", "metric"), [("multilabel", "auroc"), ("regression", "spearman")])
def test_the_score_is_the_mean_over_draws(kind, metric):
    z, targets = problem(kind)
    score = few_label_score(z, targets, DATASET, SPLIT, n_labels=20, draws=4, seed=5)
    single = [probe_targets(z, targets, DATASET, SPLIT, n_labels=20, seed=s).metrics[metric].value for s in range(5, 9)]
    assert score.value == pytest.approx(np.mean(single))
    assert len(set(single)) > 1, "draws that do not differ would prove nothing"
    assert score.low < score.value < score.high


def test_equal_seeds_give_equal_results_and_signal_shows():
    z, targets = problem("multilabel")
    first, again = (few_label_score(z, targets, DATASET, SPLIT, n_labels=20, draws=3) for _ in range(2))
    assert first == again
    assert first.low > 0.5
    noise = np.random.default_rng(0).normal(size=z.shape).astype(np.float32)
    assert few_label_score(noise, targets, DATASET, SPLIT, n_labels=20, draws=3).low < 0.5
