"""Shares of positives and negatives over PhysioCLR's threshold, on several data sources.

    python examples/studies/physioclr_threshold.py [--data synthetic:700 FOLDER ...] [--out FOLDER]

Features of lead II of every recording, scaled on all of them. Writes physioclr-threshold.json and .png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ecgloss._files import replacing, write_json
from ecgloss.data.opening import open_dataset
from ecgloss.data.preprocess import Preprocessing
from ecgloss.physiology import physiology_of
from ecgloss.plots import alike, thresholds
from ecgloss.train.pair_features import pair_features

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
DELTAS = (-0.5, -0.25, 0.0, 0.1, 0.25, 0.4, 0.5, 0.75)


def main() -> None:
    """Find the waves of every recording, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["synthetic:700"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    features, content = {}, {}
    for data in options.data:
        dataset = open_dataset(data, preprocessing=Preprocessing(sampling_rate=100.0))
        found = pair_features(physiology_of(dataset, workers=2), np.arange(len(dataset)), 50)
        name = Path(data).name
        features[name] = found.values
        shares = alike(found.values, np.array(DELTAS))
        quantiles = {f"{q:g}": round(found.threshold(f"quantile:{q}"), 4) for q in (0.5, 0.75, 0.9, 0.95)}
        content[name] = {
            "recordings": len(dataset),
            "with_features": int(torch.isfinite(found.values).all(1).sum()),
            "share_of_positives": {f"{delta:g}": round(float(s), 4) for delta, s in zip(DELTAS, shares)},
            "threshold_at_quantile": quantiles,
        }
        print(name, content[name])
    figure = thresholds(features)
    FigureCanvasAgg(figure)
    write_json(options.out / "physioclr-threshold.json", content)
    with replacing(options.out / "physioclr-threshold.png") as path:
        figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
