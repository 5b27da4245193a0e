"""All losses on one small real database: same encoder, epochs and seeds; linear probes with intervals.

    python examples/studies/compare_losses.py --root FOLDER [--task superdiagnostic] [--epochs 20] [--seeds 2]
                                              [--out FOLDER]

The root is a WFDB folder, e.g. an extract of PTB-XL. Every loss and seed gets the same split and windows; a random
encoder of each seed is the baseline. Writes compare-losses.json and .md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgloss._files import write_json, write_text
from ecgloss.evaluate.evaluation import RANDOM, TRAINED, Evaluation, evaluate_linear
from ecgloss.evaluate.resampling import Estimate
from ecgloss.train.config import PretrainConfig
from ecgloss.train.metadata import BEFORE
from ecgloss.train.pretrain import pretrain

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
LOSSES: dict[str, dict[str, Any]] = {
    "clef": {"loss": "clef"},
    "simclr": {"loss": "simclr"},
    "moco": {"loss": "moco"},
    "byol": {"loss": "byol"},
    "supcon": {"loss": "supcon", "label_column": "superdiagnostic"},
    "cmsc": {"loss": "cmsc"},
    "yaware": {"loss": "yaware"},
}
FIRST_SEED = 42


@dataclass(frozen=True)
class Score:
    """One loss and seed."""

    loss: str
    seed: int
    evaluation: Evaluation


def run(name: str, seed: int, options: argparse.Namespace, scratch: Path) -> Score:
    """Pretrain with one loss and probe."""
    out = scratch / f"{name}-{seed}"
    config = PretrainConfig(
        data=str(options.root),
        out=str(out),
        epochs=options.epochs,
        seconds=5.0,
        windows="independent",
        lr=options.lr,
        seed=seed,
        cache=str(scratch / "cache"),
        metadata=BEFORE,  # the risks that the committed results are of
        **LOSSES[name],
    )
    pretrain(config, progress=False)
    score = Score(name, seed, evaluate_linear(out, config.data, task=options.task, cache_dir=config.cache))
    print(f"{name:<8} seed {seed}  {score.evaluation.results[TRAINED].metrics['auroc']}", flush=True)
    return score


def markdown(scores: list[Score], options: argparse.Namespace) -> str:
    """One row per loss, the baseline first."""
    first = scores[0].evaluation
    probe = first.results[TRAINED]
    lines = [
        f"{options.root.name}, task {options.task}, macro AUROC of linear probes on frozen embeddings of lead I: "
        f"{options.epochs} epochs, ResNeXt1D small, independent 5 s windows, learning rate {options.lr:g}, "
        f"{options.seeds} seeds (start, split, order and noise). {probe.n_train} / {probe.n_validation} / "
        f"{probe.n_test} recordings train, validate and test the probe at the first seed; 95 % intervals over its "
        "test patients.",
        "",
        "| loss | mean over seeds | range over seeds | first seed | first seed, difference from random |",
        "|---|---|---|---|---|",
    ]
    rows: dict[str, list[tuple[Estimate, Estimate | None]]] = {
        "random": [(s.evaluation.results[RANDOM].metrics["auroc"], None) for s in scores if s.loss == scores[0].loss]
    }
    for s in scores:
        estimate = (s.evaluation.results[TRAINED].metrics["auroc"], s.evaluation.difference)
        rows.setdefault(s.loss, []).append(estimate)
    for name, found in rows.items():
        values = [estimate.value for estimate, _ in found]
        spread = f"{min(values):.3f} to {max(values):.3f}"
        difference = "" if found[0][1] is None else str(found[0][1])
        lines.append(f"| {name} | {statistics.mean(values):.3f} | {spread} | {found[0][0]} | {difference} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all losses and seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--task", default="superdiagnostic")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
        scores = [run(name, seed, options, Path(scratch)) for seed in seeds for name in LOSSES]
        scores.sort(key=lambda s: list(LOSSES).index(s.loss))
    content = [
        {
            "loss": s.loss,
            "seed": s.seed,
            **{m: s.evaluation.results[m].metrics["auroc"].to_json() for m in (RANDOM, TRAINED)},
        }
        for s in scores
    ]
    settings = {"task": options.task, "epochs": options.epochs, "seeds": options.seeds, "lr": options.lr}
    text = markdown(scores, options)
    write_json(options.out / "compare-losses.json", {**settings, "results": content})
    write_text(options.out / "compare-losses.md", text)
    print("\n" + text)


if __name__ == "__main__":
    main()
