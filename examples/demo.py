"""Pretrain with SimCLR and with CLEF on a synthetic cohort; compare both with a random encoder by linear probes.

    python examples/demo.py --out demo-report

At the end, it prints a table of results and writes an HTML report.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import this_machine
import torch
from numpy.typing import NDArray

from ecgloss._files import write_json
from ecgloss.data import EcgDataset, Split, open_dataset
from ecgloss.data.augment import Augmentation
from ecgloss.data.recording_risk import recording_risks
from ecgloss.evaluate.embed import embed
from ecgloss.evaluate.evaluation import probe_targets
from ecgloss.evaluate.few_labels import few_label_score
from ecgloss.evaluate.html_page import write_report
from ecgloss.evaluate.report import embedding_sections, result_section, training_section, views_section
from ecgloss.evaluate.tables import ResultRow, markdown, text
from ecgloss.evaluate.tasks import task_targets
from ecgloss.models import load_encoder, random_encoder
from ecgloss.train.config import PretrainConfig
from ecgloss.train.pretrain import pretrain
from ecgloss.train.recipes import recipe

FEW, DRAWS = 50, 10
# A diagnosis that no loss has seen, and the risk score that CLEF was trained with; each with its metric.
TASKS = {"hypertrophy": "auroc", "risk": "spearman"}


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo-report"), help="folder for the report and results")
    parser.add_argument("--recordings", type=int, default=2000, help="number of simulated recordings")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of pretraining")
    parser.add_argument("--seed", type=int, default=42, help="seed of the split, initial weights and augmentation")
    parser.add_argument(
        "--default-views", action="store_true", help="use the default views of ecgloss pretrain, for comparison"
    )
    options = parser.parse_args()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        config = configuration(options, Path(scratch))
        dataset = open_dataset(config.data, preprocessing=config.preprocessing, cache_dir=config.cache)
        runs = {name: Path(scratch) / name for name in ("simclr", "clef")}
        train_at_once([replace(config, out=str(run), loss=name) for name, run in runs.items()])
        encoders = {"random": random_encoder(config.model, 1, options.seed)}
        encoders |= {name: load_encoder(run)[0] for name, run in runs.items()}
        split = Split.load(runs["clef"] / "split.json").align(dataset)
        embeddings = {
            name: embed(model, dataset, seconds=config.seconds, progress=False) for name, model in encoders.items()
        }
        rows = [row for name, z in embeddings.items() for row in probe(name, z, dataset, split)]
        card = load_encoder(runs["clef"])[1]
        risk = recording_risks(dataset, config.region)[0].numpy()
        views = (
            "one 10 s window, 0.1 mV of noise" if options.default_views else "independent 5 s windows, 0.03 mV of noise"
        )
        note = (
            f"{len(dataset)} synthetic recordings, lead I, {options.epochs} epochs, views: {views}, seed "
            f"{options.seed}; {len(split.test)} test recordings. "
            "Hypertrophy is a diagnosis no method has seen in training; the SCORE2 risk is what CLEF was trained with. "
            f"With {FEW} labels: mean over {DRAWS} draws of the labelled recordings, and the probe also "
            f"chooses its penalty on {FEW}."
        )
        machine = this_machine.measure()
        sections = [
            result_section(rows, note),
            training_section(runs),
            views_section(dataset, card, 0),
            *embedding_sections(embeddings["clef"], risk),
            this_machine.section(machine),
        ]
        report = write_report(
            options.out / "report.html",
            title="ecgloss demo",
            subtitle="Random, SimCLR and CLEF encoders on a synthetic cohort",
            sections=[section for section in sections if section is not None],
        )
    save_results(options.out, rows, note, machine, time.perf_counter() - begin)
    print(text(rows))
    print(note)
    print(f"report: {report.resolve()}")


def configuration(options: argparse.Namespace, scratch: Path) -> PretrainConfig:
    """The options of a run on a small cohort and two cores."""
    config = recipe(
        "small-data",  # with the reasons for its values
        data=f"synthetic:{options.recordings}",
        out="",
        epochs=options.epochs,
        seed=options.seed,
        cache=str(scratch / "cache"),
    )
    if options.default_views:
        return replace(config, seconds=10.0, windows="same", augmentation=Augmentation())
    return config


def train_at_once(configs: list[PretrainConfig]) -> None:
    """Train every configuration in its own process: for small convolutions this is faster than several threads."""
    threads = max(1, torch.get_num_threads() // len(configs))
    names = " and ".join(config.loss for config in configs)
    print(f"training {names} in parallel; the progress bar shows {configs[-1].loss}", flush=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(configs), spawn, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        runs = [pool.submit(train, config, progress=config is configs[-1]) for config in configs]
        for run in runs:
            run.result()  # raises the exception of a failed run


def train(config: PretrainConfig, progress: bool) -> None:
    """Train one configuration; the result is in its folder."""
    pretrain(config, progress=progress)


def probe(method: str, z: NDArray[np.float32], dataset: EcgDataset, split: Split) -> list[ResultRow]:
    """Fit linear probes on embeddings, with few labels and with all labels."""
    rows = []
    for task, metric in TASKS.items():
        name = f"{task} {'AUROC' if metric == 'auroc' else 'rank correlation'}"
        targets = task_targets(dataset, task)
        few = few_label_score(z[targets.rows], targets, dataset, split, n_labels=FEW, draws=DRAWS)
        everything = probe_targets(z[targets.rows], targets, dataset, split).metrics[metric]
        rows += [ResultRow(method, name, str(FEW), few), ResultRow(method, name, "all", everything)]
    return rows


def save_results(out: Path, rows: list[ResultRow], note: str, machine: this_machine.Machine, seconds: float) -> None:
    """Write the results as JSON and Markdown."""
    content = [{"method": row.method, "metric": row.metric, "labels": row.labels, **vars(row.estimate)} for row in rows]
    write_json(out / "results.json", {"note": note, "seconds": round(seconds), "rows": content, "machine": machine})
    found = f"{markdown(rows)}\n\n{note}\n\n{this_machine.markdown(machine)}"
    (out / "results.md").write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()
