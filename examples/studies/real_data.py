"""Pretrain on small real databases and probe them: what 20 epochs on some hundred recordings give, whatever it is.

    python examples/studies/real_data.py --root FOLDER_WITH_DATABASES [--epochs 20]

The root holds ptbxl/, ludb/ and challenge2021/georgia/ in their original WFDB layout. Options are the defaults of
``ecgloss pretrain`` and ``ecgloss evaluate``. Writes bench/results/real-data.json and .md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from ecgloss._files import write_json
from ecgloss.evaluate.evaluation import RANDOM, TRAINED, Evaluation, evaluate_linear
from ecgloss.train.config import PretrainConfig
from ecgloss.train.metadata import BEFORE
from ecgloss.train.pretrain import pretrain

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
PROBES = {"ptbxl": "superdiagnostic", "ludb": "rhythm", "challenge2021/georgia": "diagnosis"}


def run(root: Path, name: str, task: str, epochs: int, scratch: Path) -> Evaluation:
    """Pretrain on one database and probe it."""
    out = scratch / name.replace("/", "-")
    data, cache = str(root / name), str(scratch / "cache")
    # the risks that the committed results are of
    config = PretrainConfig(data=data, out=str(out), epochs=epochs, cache=cache, metadata=BEFORE)
    pretrain(config)
    return evaluate_linear(out, config.data, task=task, cache_dir=config.cache)


def markdown(evaluations: dict[str, Evaluation], epochs: int) -> str:
    """One row per database."""
    lines = [
        f"CLEF, {epochs} epochs, ResNeXt1D small, lead I, linear probe, macro AUROC with 95 % intervals over patients.",
        "",
        "| data | task | recordings (train / validation / test) | random encoder | pretrained | difference |",
        "|---|---|---|---|---|---|",
    ]
    for name, e in evaluations.items():
        probe = e.results[TRAINED]
        sizes = f"{probe.n_train} / {probe.n_validation} / {probe.n_test}"
        values = [str(e.results[method].metrics["auroc"]) for method in (RANDOM, TRAINED)]
        lines.append(f"| {name} | {e.task} | {sizes} | {values[0]} | {values[1]} | {e.difference} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        done = {name: run(options.root, name, task, options.epochs, Path(scratch)) for name, task in PROBES.items()}
    content: dict[str, Any] = {"epochs": options.epochs}
    for name, e in done.items():
        content[name] = {**e.to_json(), "data": name, "checkpoint": None, "split": "that of pretraining"}
    write_json(RESULTS / "real-data.json", content)
    (RESULTS / "real-data.md").write_text(markdown(done, options.epochs), encoding="utf-8")
    print(markdown(done, options.epochs))


if __name__ == "__main__":
    main()
