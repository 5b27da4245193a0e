"""Pretrain on a synthetic cohort with SimCLR and with CLEF, and probe both against a random encoder.

    python examples/demo.py --out demo-report

Ends with a table and a report; takes about three minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ecgloss._files import write_json
from ecgloss.data import EcgDataset
from ecgloss.evaluate.embed import embed
from ecgloss.evaluate.linear import probe_targets
from ecgloss.evaluate.report import write_report
from ecgloss.evaluate.summary import embedding_sections, result_section, training_section, views_section
from ecgloss.evaluate.tables import ResultRow, markdown, text
from ecgloss.evaluate.tasks import task_targets
from ecgloss.models import ResNeXt1D, load_encoder, random_encoder
from ecgloss.recording_risk import recording_risks
from ecgloss.train.config import PretrainConfig
from ecgloss.train.pretrain import pretrain

FEW = 50
# A diagnosis no loss has seen, and the score CLEF was trained with.
TASKS = {"hypertrophy": "auroc", "risk": "spearman"}


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-report"), help="folder for report and results")
    parser.add_argument("--recordings", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        config = PretrainConfig(
            data=f"synthetic:{options.recordings}",
            out="",
            epochs=options.epochs,
            sampling_rate=100.0,
            lr=1e-3,  # the default suits a hundred epochs on a million recordings; here are ten on two thousand
            seed=options.seed,
            cache=str(Path(scratch) / "cache"),
        )
        runs = {name: Path(scratch) / name for name in ("simclr", "clef")}
        results = [
            pretrain(replace(config, out=str(run), loss=name))  # type: ignore[arg-type]
            for name, run in runs.items()
        ]
        dataset = results[0].dataset
        encoders = {"random": random_encoder(config.model, 1, options.seed)}
        encoders |= {name: load_encoder(run)[0] for name, run in runs.items()}
        rows = probe_all(encoders, dataset, runs["clef"])
        clef, card = load_encoder(runs["clef"])
        risk = recording_risks(dataset, config.region)[0].numpy()
        note = (
            f"{len(dataset)} synthetic recordings, lead I, {options.epochs} epochs, seed {options.seed}. Hypertrophy is a "
            "diagnosis no method has seen in training; the risk score is what CLEF was trained with. "
            f"With {FEW} labels the probe also chooses its penalty on {FEW}."
        )
        sections = [
            result_section(rows, note),
            training_section(runs),
            views_section(dataset, card, 0),
            *embedding_sections(embed(clef, dataset, progress=False), risk),
        ]
        report = write_report(
            options.out / "report.html",
            title="ecgloss demo",
            subtitle="Random, SimCLR and CLEF encoders on a synthetic cohort",
            sections=[section for section in sections if section is not None],
        )
    save_results(options.out, rows, note, time.perf_counter() - begin)
    print(text(rows))
    print(note)
    print(f"report: {report.resolve()}")


def probe_all(encoders: dict[str, ResNeXt1D], dataset: EcgDataset, run: Path) -> list[ResultRow]:
    """Probe every encoder with few labels and with all."""
    from ecgloss.data import Split

    split = Split.load(run / "split.json").align(dataset)
    rows = []
    for method, encoder in encoders.items():
        z = embed(encoder, dataset, progress=False)
        for task, metric in TASKS.items():
            targets = task_targets(dataset, task)
            for labels in (FEW, None):
                result = probe_targets(z[targets.rows], targets, dataset, split, n_labels=labels)
                name = f"{task} {'AUROC' if metric == 'auroc' else 'rank correlation'}"
                rows.append(ResultRow(method, name, str(labels or "all"), result.metrics[metric]))
    return rows


def save_results(out: Path, rows: list[ResultRow], note: str, seconds: float) -> None:
    """Numbers as JSON and Markdown, for documentation."""
    content = [{"method": row.method, "metric": row.metric, "labels": row.labels, **vars(row.estimate)} for row in rows]
    write_json(out / "results.json", {"note": note, "seconds": round(seconds), "rows": content})
    (out / "results.md").write_text(f"{markdown(rows)}\n\n{note}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
