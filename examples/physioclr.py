"""PhysioCLR in under a minute: python examples/physioclr.py [--data FOLDER] [--task NAME] [--out FOLDER]

Finds the waves of every recording, draws the shares of positives and negatives over the threshold, pretrains
physioclr-small on all twelve leads, and compares a linear probe with a random encoder.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ecgloss.data.augment import Augmentation
from ecgloss.data.opening import open_dataset
from ecgloss.evaluate.evaluation import evaluate_linear
from ecgloss.physiology import FeatureScaler, feature_table, physiology_of
from ecgloss.plots import thresholds
from ecgloss.train.config import PretrainConfig
from ecgloss.train.methods.physioclr import PhysioClrConfig
from ecgloss.train.pretrain import pretrain


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="synthetic:200")
    parser.add_argument("--task", default="ectopy")
    parser.add_argument("--out", type=Path, default=Path("physioclr-example"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        config = PretrainConfig(
            data=options.data,
            out=f"{scratch}/run",
            loss="physioclr",
            model="physioclr-small",
            in_channels=12,
            epochs=3,
            batch_size=32,
            lr=1e-3,
            sampling_rate=100.0,
            seconds=5.0,  # recordings of 10 s then have a neighbouring segment
            augmentation=Augmentation(lead_mask_probability=0.5),
            physioclr=PhysioClrConfig(threshold="quantile:0.9"),
        )
        dataset = open_dataset(config.data, preprocessing=config.preprocessing)
        found = physiology_of(dataset, workers=2)
        column = [feature.name for feature in feature_table()].index("qrs_median")
        print(f"{len(found)} recordings, median QRS {np.nanmedian(found.features[:, column]):.0f} ms")

        known = found.features[np.isfinite(found.features).any(axis=1)][:2000]
        figure = thresholds(torch.from_numpy(FeatureScaler.fit(known).transform(known)))
        FigureCanvasAgg(figure)
        figure.savefig(options.out / "threshold.png", dpi=110)

        result = pretrain(config)
        print(f"{result.steps} steps, loss {result.loss:.3f}")
        print(evaluate_linear(result.run, options.data, task=options.task))
    print(f"shares of positives and negatives: {options.out / 'threshold.png'}")


if __name__ == "__main__":
    main()
