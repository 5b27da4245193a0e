"""Loss curves of a small encoder under bf16 autocast beside fp32, for every loss.

    python examples/studies/half_precision.py [--steps 200] [--out FOLDER]

Three runs per loss on the synthetic cohort: fp32, bf16 with the same seed, and fp32 with another seed (another start,
order and noise), which says how much two runs of one precision differ. Then some steps at temperature 0.01 in bf16, for
which a loss that is not finite would end the run. Writes half-precision.json, .md and .png.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from compare_losses import LOSSES
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecgloss._files import read_json_lines, replacing, write_json, write_text
from ecgloss.train.checkpoint import METRICS
from ecgloss.train.config import PretrainConfig
from ecgloss.train.metadata import BEFORE
from ecgloss.train.pretrain import pretrain

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
RECORDINGS, BATCH, SMOOTH = 500, 32, 20
SMALL_TEMPERATURE, SMALL_STEPS = 0.01, 40
SYNTHETIC = {"supcon": {"label_column": "sex"}}
KINDS = {"fp32": ("32-true", 42), "bf16": ("bf16-mixed", 42), "fp32, other seed": ("32-true", 43)}


@dataclass(frozen=True)
class Curves:
    """Losses of the steps of one loss.

    Attributes:
        steps: By kind, (steps,).
        small: At the small temperature in bf16, (steps,).
    """

    steps: dict[str, NDArray[np.float64]]
    small: NDArray[np.float64]

    def difference(self, kind: str) -> float:
        """Mean distance to the fp32 curve, smoothed."""
        return float(np.abs(smooth(self.steps[kind]) - smooth(self.steps["fp32"])).mean())


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running mean."""
    return np.convolve(values, np.ones(SMOOTH) / SMOOTH, mode="valid")


def curve(config: PretrainConfig, steps: int, scratch: Path) -> NDArray[np.float64]:
    """Loss of the first steps of a run."""
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        run = Path(out) / "run"
        pretrain(replace(config, out=str(run)), progress=False)
        return np.array([line["loss"] for line in read_json_lines(run / METRICS)][:steps])


def curves(name: str, steps: int, scratch: Path) -> Curves:
    """All runs of one loss."""
    per_epoch = int(0.7 * RECORDINGS) // BATCH
    config = PretrainConfig(
        data=f"synthetic:{RECORDINGS}",
        metadata=BEFORE,  # the risks that the committed results are of
        out="",
        epochs=-(-steps // per_epoch),
        batch_size=BATCH,
        lr=1e-3,
        seconds=2.56,
        windows="independent",
        sampling_rate=100.0,
        cache=str(scratch / "cache"),
        **{**LOSSES[name], **SYNTHETIC.get(name, {})},
    )
    kinds = {
        kind: curve(replace(config, precision=precision, seed=seed), steps, scratch)
        for kind, (precision, seed) in KINDS.items()
    }
    small = replace(config, precision="bf16-mixed", temperature=SMALL_TEMPERATURE, epochs=-(-SMALL_STEPS // per_epoch))
    return Curves(kinds, curve(small, SMALL_STEPS, scratch))


def draw(found: dict[str, Curves]) -> Figure:
    """One panel per loss."""
    figure = Figure(figsize=(12, 5.5), layout="constrained")
    panels = figure.subplots(2, 4).ravel()
    for axes, (name, c) in zip(panels, found.items()):
        for kind, style in zip(KINDS, ("-", "--", ":")):
            axes.plot(
                np.arange(SMOOTH, len(c.steps[kind]) + 1), smooth(c.steps[kind]), style, label=kind, linewidth=1.5
            )
        axes.set_title(name, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("Step")
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    panels[0].set_ylabel(f"Loss (mean of {SMOOTH} steps)")
    panels[4].set_ylabel(f"Loss (mean of {SMOOTH} steps)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower right", frameon=False)
    return figure


def markdown(found: dict[str, Curves], steps: int) -> str:
    """One row per loss."""
    lines = [
        f"Distance of loss curves from fp32's: mean over {steps} steps of |difference| after a running mean of "
        f"{SMOOTH} steps. ResNeXt1D small, {RECORDINGS} synthetic recordings, batches of {BATCH}. Within noise: bf16 "
        f"is no farther from fp32 than another seed is. Last column: all of {SMALL_STEPS} steps at temperature "
        f"{SMALL_TEMPERATURE} in bf16 finite.",
        "",
        "| loss | last fp32 loss | bf16, same seed | fp32, other seed | within noise | finite at small temperature |",
        "|---|---|---|---|---|---|",
    ]
    for name, c in found.items():
        half, noise = c.difference("bf16"), c.difference("fp32, other seed")
        finite = "yes" if len(c.small) == SMALL_STEPS and np.isfinite(c.small).all() else "no"
        row = (
            name,
            f"{smooth(c.steps['fp32'])[-1]:.3f}",
            f"{half:.2g}",
            f"{noise:.2g}",
            "yes" if half <= noise else "no",
        )
        lines.append("| " + " | ".join((*row, finite)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    found: dict[str, Curves] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in LOSSES:
            found[name] = curves(name, options.steps, Path(scratch))
            print(markdown({name: found[name]}, options.steps).splitlines()[-1], flush=True)
    content: dict[str, Any] = {
        name: {kind: values.round(6).tolist() for kind, values in {**c.steps, "small": c.small}.items()}
        for name, c in found.items()
    }
    losses = {"steps": options.steps, "losses": content}
    write_json(options.out / "half-precision.json", losses)
    write_text(options.out / "half-precision.md", markdown(found, options.steps))
    figure = draw(found)
    FigureCanvasAgg(figure)
    with replacing(options.out / "half-precision.png") as path:
        figure.savefig(path, format="png", dpi=110)


if __name__ == "__main__":
    main()
