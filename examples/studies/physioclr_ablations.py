"""What each idea of PhysioCLR brings: the full method, without each of them, other pairs, SimCLR, a random encoder.

    python examples/studies/physioclr_ablations.py [--data synthetic:700 FOLDER ...] [--epochs 10] [--seeds 3]
                                                   [--workers 2] [--out FOLDER]

Every variant and seed trains physioclr-small on all twelve leads with the same split, windows of 5 s and masked leads.
Linear probes on the test patients of each seed's split; the random encoder has the same shape. Writes
physioclr-ablations.json and .md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from ecgloss._files import write_json, write_text
from ecgloss.data.augment import Augmentation
from ecgloss.data.opening import open_dataset
from ecgloss.evaluate.evaluation import RANDOM, TRAINED, evaluate_linear
from ecgloss.physiology import physiology_of
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods.physioclr import PhysioClrConfig
from ecgloss.train.pretrain import pretrain

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "PhysioCLR": ("all three ideas", {}),
    "without pairs": ("pairs none", {"pairs": "none"}),
    "without shuffled beats": ("shuffle false", {"shuffle": False}),
    "without reconstruction": ("reconstruction false", {"reconstruction": False}),
    "pairs of patients": ("pairs patient", {"pairs": "patient"}),
    "pairs of features": ("pairs features", {"pairs": "features"}),
    "adaptive threshold": ("threshold quantile:0.9", {"threshold": "quantile:0.9"}),
    "learned similarity": ("features encoder", {"features": "encoder"}),
    "SimCLR": ("loss simclr, windows independent", {}),
}
TASKS = {"synthetic": ("ectopy", "hypertrophy"), "ptbxl": ("superdiagnostic",)}
FIRST_SEED = 42


@dataclass(frozen=True)
class Job:
    """One run, and where it leaves what."""

    variant: str
    data: str
    seed: int
    epochs: int
    scratch: Path

    @property
    def config(self) -> PretrainConfig:
        """All options."""
        options: dict[str, Any] = {"loss": "simclr", "windows": "independent"}
        if self.variant != "SimCLR":
            options = {"loss": "physioclr", "physioclr": PhysioClrConfig(**VARIANTS[self.variant][1])}
        return PretrainConfig(
            data=self.data,
            out=str(self.scratch / f"{self.variant}-{Path(self.data).name}-{self.seed}".replace(" ", "-")),
            model="physioclr-small",
            in_channels=12,
            epochs=self.epochs,
            restart_epochs=self.epochs,  # one cycle of the learning rate, down to its end
            batch_size=48,
            lr=5e-4,
            sampling_rate=100.0,
            seconds=5.0,
            augmentation=Augmentation(lead_mask_probability=0.5),
            seed=self.seed,
            cache=str(self.scratch / "cache"),
            **options,
        )


def tasks_of(data: str) -> tuple[str, ...]:
    """Tasks of a data source, by its name."""
    return TASKS["synthetic" if data.startswith("synthetic") else "ptbxl"]


def run(job: Job) -> list[dict[str, Any]]:
    """Pretrain and probe; one row per task."""
    torch.set_num_threads(1)  # the same bits whatever runs beside
    config = job.config
    result = pretrain(config, progress=False)
    rows: list[dict[str, Any]] = []
    for task in tasks_of(job.data):
        evaluation = evaluate_linear(result.run, job.data, task=task, cache_dir=config.cache)
        rows.append(
            {
                "data": Path(job.data).name,
                "task": task,
                "variant": job.variant,
                "seed": job.seed,
                "loss": result.loss,
                "trained": evaluation.results[TRAINED].metrics["auroc"].to_json(),
                "random": evaluation.results[RANDOM].metrics["auroc"].to_json(),
                "difference": evaluation.difference.to_json(),
                "test_recordings": evaluation.results[TRAINED].n_test,
            }
        )
        print(f"{job.variant:<24}{job.data} {task} seed {job.seed}  {rows[-1]['trained']['value']:.3f}", flush=True)
    return rows


def interval(estimate: dict[str, Any], sign: str = "") -> str:
    """An estimate with its interval."""
    return f"{estimate['value']:{sign}.3f} [{estimate['low']:{sign}.3f}, {estimate['high']:{sign}.3f}]"


def table(rows: list[dict[str, Any]]) -> list[str]:
    """One data set and task: one row per variant, the random encoder first."""
    columns = ("variant", "options", "mean over seeds", "range over seeds", "first seed", "first seed, minus random")
    lines = [f"| {' | '.join(columns)} | seeds above random |", "|---" * (len(columns) + 1) + "|"]
    by_variant = {name: [r for r in rows if r["variant"] == name] for name in VARIANTS}
    first = [r["random"] for r in by_variant["PhysioCLR"]]
    values = [e["value"] for e in first]
    spread = f"{statistics.mean(values):.3f} | {min(values):.3f} to {max(values):.3f}"
    lines.append(f"| random encoder |  | {spread} | {interval(first[0])} |  |  |")
    for name, found in by_variant.items():
        values = [r["trained"]["value"] for r in found]
        above = sum(r["difference"]["low"] > 0 for r in found)
        spread = f"{statistics.mean(values):.3f} | {min(values):.3f} to {max(values):.3f}"
        ends = f"{interval(found[0]['trained'])} | {interval(found[0]['difference'], '+')} | {above} of {len(found)}"
        lines.append(f"| {name} | {VARIANTS[name][0]} | {spread} | {ends} |")
    return lines


def markdown(rows: list[dict[str, Any]], epochs: int, seeds: int) -> str:
    """All tables."""
    lines = [
        f"Macro AUROC of linear probes on frozen embeddings: physioclr-small on twelve leads, {epochs} epochs, "
        f"{seeds} seeds (start, split, order and noise), windows of 5 s at 100 Hz, batches of 48, "
        "leads masked with probability 0.5. 95 % bootstrap intervals over the test patients of the first seed; the "
        "last column counts seeds whose interval of the difference from the random encoder lies above 0. "
        "`python examples/studies/physioclr_ablations.py`",
    ]
    for data, task in dict.fromkeys((r["data"], r["task"]) for r in rows):
        some = [r for r in rows if (r["data"], r["task"]) == (data, task)]
        lines += ["", f"## {data}, {task} ({some[0]['test_recordings']} test recordings at the first seed)", ""]
        lines += table(some)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all variants and seeds on every data source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["synthetic:700"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        jobs = [
            Job(variant, data, seed, options.epochs, scratch)
            for data in options.data
            for seed in range(FIRST_SEED, FIRST_SEED + options.seeds)
            for variant in VARIANTS
        ]
        for data in options.data:  # converted and delineated once
            config = next(job.config for job in jobs if job.data == data)
            found = open_dataset(data, preprocessing=config.preprocessing, cache_dir=config.cache)
            physiology_of(found, workers=options.workers)
        with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
            rows = [row for some in pool.map(run, jobs) for row in some]
    settings = {"epochs": options.epochs, "seeds": options.seeds}
    write_json(options.out / "physioclr-ablations.json", {**settings, "results": rows})
    text = markdown(rows, options.epochs, options.seeds)
    write_text(options.out / "physioclr-ablations.md", text)
    print("\n" + text)


if __name__ == "__main__":
    main()
