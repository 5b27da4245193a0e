"""Faults made on purpose: ``make test`` must find each.

``make mutations`` copies the checkout, makes one fault at a time, runs the tests of ``make test`` that should notice,
and writes tests/mutations.md. The script ends with exit code 1 where a fault is not found or no longer applies.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_suffix(".md")
PATIENCE = 600  # seconds: what hangs is found out too


class Fault(NamedTuple):
    """One fault.

    Attributes:
        what: In words.
        file: Where it is made.
        before: What stands there, once.
        after: What is put in its place.
        tests: Files, or a file and ``-k`` with an expression.
        how: "python"; "c++", which builds the extension; "interpreted" or "compiled", with Triton.
    """

    what: str
    file: str
    before: str
    after: str
    tests: str
    how: str = "python"


LOSSES, RULES = "tests/losses/test_clef_definition.py", "tests/engine/test_rules.py"
FAMILY, OPTIONS = "tests/losses/test_family_definition.py", "tests/losses/test_family_options.py"
FAULTS = [
    # The losses in plain torch
    Fault(
        "a row is compared with itself (chunked)",
        "ecgloss/engine/chunked.py",
        "return logits.scatter_(1, layout.excluded_columns(rows), -torch.inf)",
        "return logits",
        LOSSES,
    ),
    Fault(
        "a row is compared with itself (dense)",
        "ecgloss/engine/dense.py",
        "lse = torch.logsumexp(x.scatter_(1, excluded, -torch.inf), dim=1)",
        "lse = torch.logsumexp(x, dim=1)",
        "tests/engine/test_dense.py",
    ),
    Fault(
        "min S has no gradient in the alignment term (dense)",
        "ecgloss/engine/dense.py",
        "((low, by_stretch - scaled * error.sum()), (high, -by_stretch))",
        "((high, -by_stretch),)",
        "tests/engine/test_dense.py",
    ),
    Fault(
        "a row is compared with itself (reference)",
        "ecgloss/engine/reference.py",
        "    negatives = negatives.scatter(1, excluded, -torch.inf)\n",
        "",
        LOSSES,
    ),
    Fault(
        "no gradient reaches the least similarity",
        "ecgloss/engine/stats.py",
        "return 1 / (high - low + RANGE_EPSILON), low\n",
        "return 1 / (high - low + RANGE_EPSILON), low.detach()\n",
        LOSSES,
    ),
    Fault(
        "the minimum dissimilarity alpha is subtracted",
        "ecgloss/pairs/weight_matrix.py",
        "self._scaled_distance(samples, dtype) + self.alpha",
        "self._scaled_distance(samples, dtype) - self.alpha",
        LOSSES,
    ),
    Fault(
        "the exponent of the reliability is doubled",
        "ecgloss/pairs/weight_matrix.py",
        "torch.exp(-f[samples, None] * f[None, :])",
        "torch.exp(-2 * f[samples, None] * f[None, :])",
        LOSSES,
    ),
    Fault(
        "a gradient of the temperature lacks 1 / tau (chunked)",
        "ecgloss/engine/chunked.py",
        "-moment / tau if wants_tau else None",
        "-moment if wants_tau else None",
        LOSSES,
    ),
    Fault(
        "SupCon's mean counts rows without positives",
        "ecgloss/functional/supcon.py",
        "counts = count > 0",
        "counts = count >= 0",
        FAMILY,
    ),
    Fault(
        "y-Aware's kernel is twice too narrow",
        "ecgloss/pairs/build.py",
        "scale = bandwidth * math.sqrt(2)",
        "scale = bandwidth",
        FAMILY,
    ),
    Fault(
        "PhysioCLR's default denominator leaves out unlike recordings of the patient",
        "ecgloss/functional/physioclr.py",
        'denominator == "negatives", include_self',
        'denominator != "negatives", include_self',
        FAMILY,
    ),
    Fault(
        "MoCo overwrites the same entries of its queue again and again",
        "ecgloss/losses/moco.py",
        "self.position.copy_((self.position + len(keys)) % size)",
        "self.position.copy_(self.position % size)",
        "tests/losses/test_moco_queue.py",
    ),
    Fault(
        "BYOL's target gets a gradient",
        "ecgloss/functional/byol.py",
        "normalise(z.detach())",
        "normalise(z)",
        "tests/losses",
    ),
    Fault(
        "a rank's gradient is not multiplied by the number of ranks",
        "ecgloss/engine/distributed.py",
        "return ctx.ranks * g[ctx.start",
        "return g[ctx.start",
        "tests/distributed tests/train/test_several_devices.py",
    ),
    # The C++ kernels
    Fault(
        "a row is compared with itself (C++)",
        "csrc/tiles.h",
        "{ keep[entry(tile, i, j)] = T(0); }",
        "{ keep[entry(tile, i, j)] = T(1); }",
        LOSSES,
        "c++",
    ),
    Fault(
        "the exponent of the reliability is doubled (C++)",
        "csrc/rules.h",
        "(-kLog2E<T> * rule.row_missing[i])",
        "(-2 * kLog2E<T> * rule.row_missing[i])",
        LOSSES,
        "c++",
    ),
    Fault(
        "column sums of mirrored tiles are left out (C++)",
        "csrc/forward_tile.h",
        "if (tile.mirrored) add_columns<T, R::kDense>(task, first, columns);",
        "",
        "tests/engine/test_cpp_accuracy.py",
        "c++",
    ),
    # The Triton kernels
    Fault(
        "a row is compared with itself (Triton)",
        "kernels/primitives.py",
        "first = (shift == shift_0) | (shift == shift_0 - period)",
        "first = shift == shift_0 - period",
        "tests/kernels/test_triton_accuracy.py",
        "interpreted",
    ),
    Fault(
        "the exponent of the reliability is doubled (Triton)",
        "kernels/weight.py",
        "tl.exp2(-f[:, None] * g[None, :])",
        "tl.exp2(-2.0 * f[:, None] * g[None, :])",
        "tests/kernels/test_triton_accuracy.py",
        "interpreted",
    ),
    Fault(
        "two arguments of a kernel are exchanged (Triton)",
        "kernels/launch.py",
        '"loss_out": loss, "contrastive_out": contrastive,',
        '"loss_out": contrastive, "contrastive_out": loss,',
        "tests/kernels/test_triton_accuracy.py",
        "interpreted",
    ),
    Fault(
        "the gradient of the temperature leaves out S of the positives (Triton)",
        "kernels/forward_dense.py",
        "positive_e_t += lane_sums(positive_e * t)",
        "positive_e_t += lane_sums(positive_e)",
        "tests/kernels/test_triton_accuracy.py",
        "interpreted",
    ),
    Fault(
        "a tile needs more registers than there are (Triton)",
        "kernels/tile_table.py",
        "sm90                 backward-weighted       half          256   64   32",
        "sm90                 backward-weighted       half          256   64   64",
        "tests/kernels/test_aot.py",
        "compiled",
    ),
    # Risk
    Fault(
        "one coefficient of SCORE2 is off by 1 %",
        "ecgloss/risk/coefficients.json",
        '"csbp": 0.2777',
        '"csbp": 0.2805',
        "tests/risk",
    ),
    Fault(
        "women's unknown values are taken from men",
        "ecgloss/risk/population.py",
        "np.where(sex == 0, male, female)",
        "np.where(sex != 0, male, female)",
        "tests/risk",
    ),
    Fault(
        "an unknown input is not counted as missing",
        "ecgloss/risk/missing.py",
        "for name in model.counted], axis=0)",
        "for name in model.counted[1:]], axis=0)",
        "tests/risk",
    ),
    Fault(
        "a pressure in kPa is used as mmHg",
        "ecgloss/risk/missing.py",
        "plain[name] = np.where(mask, np.nan, plain[name])",
        "plain[name] = np.where(mask, plain[name], plain[name])",
        "tests/risk",
    ),
    Fault(
        "shuffled ids pass the check of a table",
        "ecgloss/evaluate/risk_check.py",
        "return bool(x.low > 0 or x.high < 0)",
        "return bool(x.value != 0)",
        "tests/evaluate/test_risk_check.py",
    ),
    # Data
    Fault(
        "microvolts are read as millivolts",
        "ecgloss/data/wfdb/channels.py",
        '"uv": 1e-3',
        '"uv": 1.0',
        "tests/data/test_wfdb_records.py",
    ),
    Fault(
        "checksums of records are not compared",
        "ecgloss/data/wfdb/records.py",
        "if (signal.checksum - found) % 65536:",
        "if False:",
        "tests/data/test_wfdb_records.py",
    ),
    Fault(
        "recordings are split without regard to patients",
        "ecgloss/data/splits.py",
        'index["group"].tolist(),\n        index["name"].tolist(),',
        'index["name"].tolist(),\n        index["name"].tolist(),',
        "tests/data",
    ),
    Fault(
        "one signal under two patient numbers is two patients",
        "ecgloss/data/cache/writer.py",
        "groups(patients, signatures, read, thumbnails)",
        "patients",
        "tests/data",
    ),
    # Training
    Fault(
        "every epoch sees the same augmentations",
        "ecgloss/train/views.py",
        '"views", self.epoch, k, start',
        '"views", k, start',
        "tests/train/test_views.py",
    ),
    Fault(
        "all ranks draw the same augmentations",
        "ecgloss/train/views.py",
        '"views", self.epoch, k, start',
        '"views", self.epoch, k',
        "tests/train/test_views.py",
    ),
    Fault(
        "the optimiser's state is not restored",
        "ecgloss/train/checkpoint.py",
        'optimizer.load_state_dict({"state": slots, "param_groups": state["param_groups"]})',
        "pass",
        "tests/train/test_pretrain.py",
    ),
    Fault(
        "a resumed epoch repeats a batch",
        "ecgloss/train/pretrain.py",
        "Position(step, epoch, k + 1)",
        "Position(step, epoch, k)",
        "tests/train/test_pretrain.py",
    ),
    Fault(
        "a checkpoint is written in place and not renamed when it is whole",
        "ecgloss/train/checkpoint.py",
        'temporary = final.with_name(f".{final.name}.tmp")',
        "temporary = final",
        "tests/train/test_pretrain.py",
    ),
    Fault(
        "the momentum encoder forgets the first weights",
        "ecgloss/train/methods/momentum.py",
        "copy.n_averaged.fill_(1)",
        "copy.n_averaged.fill_(0)",
        "tests/train/test_methods.py",
    ),
    Fault(
        "the learning rate follows steps and not epochs",
        "ecgloss/train/pretrain.py",
        "schedule.step(epoch)",
        "schedule.step(step)",
        "tests/train/test_pretrain.py",
    ),
    # Evaluation
    Fault(
        "features are scaled with the test recordings too",
        "ecgloss/evaluate/probe.py",
        "StandardScaler().fit(train.features)",
        "StandardScaler().fit(np.concatenate([train.features, test.features]))",
        "tests/evaluate/test_probe.py",
    ),
    Fault(
        "the penalty is chosen on the test recordings",
        "ecgloss/evaluate/probe.py",
        "[model(x_validation) for model in models], y_validation, main)",
        "[model(x_test) for model in models], test.targets[:, trained], main)",
        "tests/evaluate/test_probe.py",
    ),
    Fault(
        "intervals resample recordings and not patients",
        "ecgloss/evaluate/probe.py",
        "seed=seed, groups=test.groups)",
        "seed=seed)",
        "tests/evaluate/test_probe.py",
    ),
    Fault(
        "ties count as wins in the AUROC",
        "ecgloss/evaluate/metrics.py",
        "(below + 0.5 * negative)",
        "(below + negative)",
        "tests/evaluate/test_metrics.py",
    ),
    Fault(
        "intervals of 95 % hold 90 %",
        "ecgloss/evaluate/resampling.py",
        "[(1 - level) / 2, (1 + level) / 2]",
        "[1 - level, level]",
        "tests/evaluate/test_resampling.py",
    ),
    Fault(
        "patients seen in pretraining are tested on",
        "ecgloss/evaluate/evaluation.py",
        "    if not seen.any():\n        return split, origin",
        "    return split, origin",
        "tests/evaluate/test_evaluation.py",
    ),
]


def copy_checkout(to: Path) -> None:
    """The files git knows or would take, as they are, and the built extension."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    built = [str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("ecgloss/_C*.so")]
    for name in [*listed, *built]:
        if (REPOSITORY / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, to / name)


def run(fault: Fault, folder: Path, triton: Path | None) -> tuple[str, float]:
    """The first test that fails (``""``: none does), and the seconds it took."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "ECGLOSS_TEST_DATA": os.environ.get("ECGLOSS_TEST_DATA", str(REPOSITORY.parent / "shared" / "data")),
    }
    python = Path(sys.executable)
    if fault.how == "c++":
        build = [python, "setup.py", "--quiet", "build_ext", "--inplace"]
        subprocess.run(build, cwd=folder, env=environment, check=True, capture_output=True)
    if fault.how in ("interpreted", "compiled"):
        assert triton is not None
        python = triton
        environment["TRITON_INTERPRET"] = "1" if fault.how == "interpreted" else "0"
    words = [python, "-W", "ignore", "-m", "pytest", "-x", "-q", "-m", "not exhaustive", *fault.tests.split()]
    begin = time.monotonic()
    try:
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return "(a test that never ends)", time.monotonic() - begin
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return (failed[0] if failed else ""), time.monotonic() - begin


def main() -> int:
    """Make every fault and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triton", type=lambda x: Path(x).absolute(), help="Python of an environment with Triton")
    parser.add_argument("--only", default="", help="a regular expression: faults whose words match it")
    arguments = parser.parse_args()
    chosen = [fault for fault in FAULTS if re.search(arguments.only, fault.what)]
    rows, missed = [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_checkout(folder)
        for fault in chosen:
            path = folder / fault.file
            text = path.read_text(encoding="utf-8")
            if fault.before not in text:
                print(f"{fault.what}: {fault.file} has no {fault.before!r}", file=sys.stderr)
                return 1
            path.write_text(text.replace(fault.before, fault.after, 1), encoding="utf-8")
            found, seconds = run(fault, folder, arguments.triton)
            path.write_text(text, encoding="utf-8")
            if fault.how == "c++":
                for built in REPOSITORY.glob("ecgloss/_C*.so"):
                    shutil.copy2(built, folder / "ecgloss")
            missed += not found
            test = found.partition("::")[2].partition("[")[0]
            rows.append(f"| {fault.what} | `{fault.file}` | {f'`{test or found}`' if found else 'NOT FOUND'} |")
            print(f"{'found in' if found else 'NOT FOUND in'} {seconds:5.1f} s: {fault.what} ({found})", flush=True)
    if not arguments.only:
        TABLE.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    print(f"{len(chosen) - missed} of {len(chosen)} faults found")
    return 1 if missed else 0


HEAD = """# Faults that `make test` finds

Written by `make mutations`, which makes each fault in a copy of the checkout and runs the tests of `make test`.

| fault | made in | first test to fail |
|---|---|---|
"""

if __name__ == "__main__":
    sys.exit(main())
