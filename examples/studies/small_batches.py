"""Small batches on a CPU: where the time of a step goes, and what ``auto`` does without the C++ extension.

    PYTHONPATH=bench python examples/studies/small_batches.py [--rounds N] [--out FOLDER]

The first table takes the step of CLEF (B = 64 samples, N = 128 rows, D = 256; forward and backward) apart: each stage
calls the next, so differences of rows are what a stage adds. The second compares ``auto`` where the extension is not
built, and the backends of plain torch, with the plain formulas. One thread; everything takes turns;
medians. Rows of earlier versions in FOLDER/small-batches.json are kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import plain
import torch
from machine import describe

import ecgloss
import ecgloss.functional as F
from ecgloss._files import write_json, write_text
from ecgloss.engine import availability, cpp, dispatch, ops
from ecgloss.pairs import RiskWeights, risk_pairs
from ecgloss.pairs.encoding import encode_layout

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
WIDTH, TAU = 256, 0.07
LOSSES = ("ntxent", "clef paper", "clef official")
SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)
Step = Callable[[], object]


def batch(rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two views and their risks."""
    g = torch.Generator().manual_seed(7)
    z1, z2 = (torch.randn(rows // 2, width, generator=g).requires_grad_() for _ in range(2))
    return z1, z2, torch.rand(rows // 2, generator=g)


def stages() -> dict[str, Step]:
    """The step by the module, and from further and further inside; and by the plain formulas."""
    z1, z2, risk = batch(128, WIDTH)
    criterion = ecgloss.CLEFLoss()
    compiled = torch.compile(plain.clef_paper, dynamic=False)
    rule, tau = risk_pairs(RiskWeights.of(risk), "none"), torch.full((), TAU, dtype=torch.float64)
    code, numbers, side = rule.encode(torch.float64)
    problem: tuple[Any, ...] = (
        *side,
        code,
        numbers,
        encode_layout(rule.layout),
        ops.ALIGNMENTS.index("cosine"),
        (1.0, 1.0),
    )
    first, second, one = z1.detach(), z2.detach(), torch.ones(())
    tail: tuple[Any, ...] = (ops.sizes_of(z1, z2, None), z1.dtype, z1.dtype, [True, True, False, False])

    def dispatched() -> torch.Tensor:
        return dispatch.checked_pair_stats(z1, z2, None, TAU, rule, "cosine", (1.0, 1.0)).loss(1.0, 1.0)

    def kernels() -> None:
        *_, packed, saved = cpp.forward(first, second, None, tau, *problem)
        cpp.backward(*(one, None, None, None, packed, saved, tau, *problem, *tail))

    return {
        "module: CLEFLoss": lambda: criterion(z1, z2, risk).backward(),
        "functional: F.clef": lambda: F.clef(z1, z2, risk).backward(),
        "dispatch: pair_stats of a rule": lambda: dispatched().backward(),
        "op: encoded rule, autograd": lambda: ops.run("cpp", z1, z2, None, tau, *problem)[0].backward(),
        "kernels: C++, forward and backward": kernels,
        "plain torch": lambda: plain.clef_paper(z1, z2, risk).backward(),
        "plain torch, torch.compile": lambda: compiled(z1, z2, risk).backward(),
    }


def backends(loss: str, rows: int) -> dict[str, Step]:
    """One loss by the plain formulas, by the backends of plain torch, and by auto without kernels; D = 128."""
    z1, z2, risk = batch(rows, 128)
    if loss == "ntxent":
        formula, own = partial(plain.ntxent, z1, z2), partial(F.ntxent, z1, z2)
    else:
        formula = partial({"paper": plain.clef_paper, "official": plain.clef_official}[loss.split()[1]], z1, z2, risk)
        own = partial(F.clef, z1, z2, risk, preset=loss.split()[1])
    losses = {"plain": formula, "auto": own} | {name: partial(own, backend=name) for name in ("reference", "chunked")}
    return {name: partial(forward_backward, step) for name, step in losses.items()}


def forward_backward(loss: Callable[[], Any]) -> None:
    """A loss and its gradient."""
    loss().backward()


def microseconds(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median time of each; they take turns, ten calls at a time after one that warms the caches."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            step()
            for _ in range(10):
                begin = time.perf_counter()
                step()
                times[name].append(1e6 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def report(header: dict[str, str], versions: dict[str, dict[str, float]], small: list[dict[str, object]]) -> str:
    """The result file."""
    lines = [", ".join(f"{k} {v}" for k, v in header.items()), "", (__doc__ or "").split("\n\n")[2].strip(), ""]
    lines += [f"| stage, microseconds | {' | '.join(versions)} |", "|---|" + "---|" * len(versions)]
    for stage in versions["now"]:
        cells = [f"{version[stage]:.0f}" if stage in version else "-" for version in versions.values()]
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    lines += ["", "| loss | N | plain torch, ms | auto | reference | chunked | auto, plain = 1 |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in small:
        cells = [f"{float(str(row[name])) / 1000:.2f}" for name in ("plain", "auto", "reference", "chunked")]
        lines.append(f"| {row['loss']} | {row['n']:,} | {' | '.join(cells)} | {row['ratio']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, metavar="N")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    given = parser.parse_args()
    torch.set_num_threads(1)
    stem = given.out / "small-batches"
    known = json.loads(stem.with_suffix(".json").read_text()) if stem.with_suffix(".json").exists() else {}
    versions = {**known.get("stages", {}), "now": microseconds(stages(), given.rounds)}
    availability.EXTENSION = None  # as where it is not built
    warnings.simplefilter("ignore")
    small: list[dict[str, object]] = []
    for loss in LOSSES:
        for rows in SIZES:
            found = microseconds(backends(loss, rows), max(1, min(given.rounds // 4, 30_000 // rows**2 + 1)))
            small.append({"loss": loss, "n": rows, **found, "ratio": found["auto"] / found["plain"]})
    header = describe("cpu") | {"threads": "1"}
    text = report(header, versions, small)
    print(text)
    write_json(stem.with_suffix(".json"), {"header": header, "stages": versions, "backends": small})
    write_text(stem.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
