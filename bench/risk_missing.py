"""What missing metadata do to CLEF's weights: python bench/risk_missing.py

Draws patients of the synthetic cohort with all their risk factors, hides some as ``pretrain --metadata.drop`` does, and
compares the weights W of all pairs with the dissimilarity D of the true risks. Writes bench/results/risk-missing.json
and .png, and the table in docs/risk.md. No ECG is simulated; it takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecgloss import functional as F
from ecgloss._extras import require
from ecgloss._files import read_json, replacing, write_json, write_text
from ecgloss.data.synthetic.population import draw_risk_factors
from ecgloss.evaluate.figure_style import COLOURS, new_figure, tidy
from ecgloss.evaluate.metrics import spearman
from ecgloss.risk import clinical_risk
from ecgloss.train.metadata import MetadataOptions, hidden

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "bench" / "results", ROOT / "docs" / "risk.md"
BEGIN, END = "<!-- begin risk-missing -->", "<!-- end risk-missing -->"
PATIENTS, SEED, REGION = 256, 0, "moderate"
DROPS = (0.0, 0.25, 0.5, 0.75, 1.0)
MODES = {"multiply": "multiply", "revert": "revert", "ignore": None}
INPUTS = ("sex", "age", "smoker", "sbp", "total_chol", "hdl_chol", "diabetes")


def measure() -> dict[str, Any]:
    """Weights over the share of hidden inputs, for each reliability."""
    rng = np.random.default_rng(SEED)
    people = [draw_risk_factors(rng) for _ in range(PATIENTS)]
    columns: dict[str, Any] = {name: np.array([float(getattr(p, name)) for p in people]) for name in INPUTS[1:]}
    columns["sex"] = [p.sex for p in people]
    truth = torch.from_numpy(clinical_risk(**columns, region=REGION).risk)
    pairs = np.triu_indices(PATIENTS, 1)
    dissimilarity = F.risk_weights(truth).numpy()[pairs]
    rows = []
    for drop in DROPS:
        known, _ = hidden(columns, np.arange(PATIENTS), MetadataOptions(drop=drop, seed=SEED))
        found = clinical_risk(**known, region=REGION)
        risk, missing = torch.from_numpy(found.risk), torch.from_numpy(found.missing)
        for mode, reliability in MODES.items():
            weights = F.risk_weights(risk, missing, reliability=reliability).numpy()[pairs]
            low, middle, high = np.quantile(weights, [0.25, 0.5, 0.75])
            rows.append(
                {
                    "drop": drop,
                    "reliability": mode,
                    "missing": round(float(found.missing.mean()), 4),
                    "quartile1": round(float(low), 4),
                    "median": round(float(middle), 4),
                    "quartile3": round(float(high), 4),
                    "spread": round(float(weights.std()), 4),
                    "with_true_dissimilarity": round(spearman(weights, dissimilarity), 4),
                }
            )
    return {"patients": PATIENTS, "seed": SEED, "region": REGION, "rows": rows}


def picture(results: Mapping[str, Any]) -> Any:
    """Left: W over D for pairs that lack the same share of inputs. Right: how far W follows the true D."""
    figure = new_figure(3.4)
    left, right = figure.subplots(1, 2)
    d = np.linspace(0.2, 1.0, 50)
    for k, f in enumerate((0.0, 0.5, 1.0)):
        left.plot(d, math.exp(-f * f) * d, color=COLOURS[k], label=f"multiply, f = {f:g}")
    mean: float = 0.4
    m = math.exp(-1.0)
    left.plot(d, m * d + (1 - m) * mean, color=COLOURS[2], linestyle="--", label=f"revert, f = 1, mean D = {mean:g}")
    left.set_xlabel("dissimilarity D of a pair")
    left.set_ylabel("weight W")
    left.set_ylim(0.0, 1.02)
    left.legend(frameon=False, fontsize="small")
    for k, mode in enumerate(MODES):
        rows = [row for row in results["rows"] if row["reliability"] == mode]
        x: NDArray[np.float64] = np.array([row["missing"] for row in rows])
        y = [row["with_true_dissimilarity"] for row in rows]
        right.plot(x, y, color=COLOURS[k], marker="o", markersize=4, label=mode)
    right.set_xlabel("mean share of missing inputs f")
    right.set_ylabel("rank correlation of W with true D")
    right.set_ylim(0.0, 1.02)
    right.legend(frameon=False, fontsize="small", title="reliability", loc="lower left")
    for axes in (left, right):
        tidy(axes)
    return figure


def table(results: Mapping[str, Any]) -> str:
    """One row per share of hidden inputs."""
    lines = [
        "| hidden | missing f | W multiply | W revert | W ignore | order of W: multiply | revert | ignore |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for drop in DROPS:
        rows = {row["reliability"]: row for row in results["rows"] if row["drop"] == drop}
        cells = [f"{drop:.0%}", f"{rows['multiply']['missing']:.2f}"]
        cells += [f"{rows[mode]['median']:.2f} ± {rows[mode]['spread']:.2f}" for mode in MODES]
        cells += [f"{rows[mode]['with_true_dissimilarity']:.2f}" for mode in MODES]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """The page with the table of the committed results."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table(read_json(RESULTS / 'risk-missing.json'))}\n{END}{rest.split(END)[1]}"


def main() -> None:
    require("matplotlib", "eval")
    results = measure()
    write_json(RESULTS / "risk-missing.json", results)
    with replacing(RESULTS / "risk-missing.png") as temporary:
        picture(results).savefig(temporary, format="png", dpi=110)
    write_text(PAGE, filled(PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
