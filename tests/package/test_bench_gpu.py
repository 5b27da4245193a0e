"""The GPU benchmark runs without a GPU as far as it can, times nothing wrong, and says what it has not measured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from torch.nn import functional as torch_f

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "bench" / "bench_gpu.py"


def measured(bench, case, variant, milliseconds, mib=1.0):
    return bench("gpu_cases").GpuMeasurement(case, variant, milliseconds, (milliseconds, milliseconds), 3, mib)


def bf16(bench, loss, n, d=256):
    return bench("cases").Case(loss, n, d, "bfloat16")


def test_a_dry_run_needs_no_gpu_and_writes_only_where_it_is_told(bench, tmp_path):
    out, cwd = tmp_path / "out", tmp_path / "cwd"
    cwd.mkdir()
    before = sorted((REPOSITORY / "bench" / "results").iterdir())
    words = ["--dry-run", "--case", "^infonce|^ntxent", "--variants", "plain|chunked", "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, str(SCRIPT), *words], check=True, cwd=cwd, env=environment, timeout=120)
    assert not list(cwd.iterdir())
    assert sorted((REPOSITORY / "bench" / "results").iterdir()) == before
    content = json.loads((out / "losses-dry-run.json").read_text(encoding="utf-8"))
    found = {(m["case"]["loss"], m["case"]["dtype"], m["variant"]) for m in content["results"]}
    assert found == set(product(("infonce", "ntxent"), ("bfloat16", "float32"), ("plain", "chunked")))
    assert {note["variant"] for note in content["notes"]} == {"plain compiled"}
    text = (out / "losses-dry-run.md").read_text(encoding="utf-8")
    assert "| infonce | bf16 | 64 | 16 | chunked | " in text
    assert "bf16 matrix rate" in text
    table = bench("readme_tables").bench_table(content, [("ntxent", 64, 16)], "chunked", "bfloat16")
    assert re.search(r"^\| ntxent \| 64 \| 16 \| [\d.,]+ ms \| ", table, re.MULTILINE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_instead_of_measuring_something_else():
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("bench_gpu.py measures on a CUDA device and there is none")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("loss", ["clef official", "clef paper", "ntxent", "infonce"])
def test_right_variants_pass_the_gate_in_either_dtype(loss, dtype, bench):
    gate, variants = bench("gate"), bench("variants")
    case = bench("cases").Case(loss, 256, 64, dtype)
    check = gate.gate(case, "cpu")
    check(variants.backend(loss, "chunked"))
    check(variants.variants(case, "cuda")["plain"], peer=True)


def unmasked(a, b, risk):
    """NT-Xent that compares every row with itself too."""
    z = torch_f.normalize(torch.cat([a, b]).float(), dim=1)
    return torch_f.cross_entropy(z @ z.T / 0.07, torch.arange(len(z)).roll(len(a)))


@pytest.mark.parametrize("peer", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_figure_for_a_loss_that_forgets_the_diagonal(dtype, peer, bench):
    check = bench("gate").gate(bench("cases").Case("ntxent", 128, 64, dtype), "cpu")
    with pytest.raises(ArithmeticError):
        check(unmasked, peer=peer)


def test_in_bf16_kernels_are_held_to_more_than_rounded_similarities(bench):
    check, plain = bench("gate").gate(bf16(bench, "ntxent", 128, 64), "cpu"), bench("plain")

    def off(a, b, risk):
        return 1.01 * plain.ntxent(a.float(), b.float())

    check(off, peer=True)
    with pytest.raises(ArithmeticError):
        check(off)


def test_every_size_is_measured_once_the_most_telling_first(bench):
    cases = bench("gpu_cases").GPU_CASES
    asked = {
        bench("cases").Case(*words)
        for words in product(
            ("clef official", "clef paper", "ntxent", "infonce"),
            (128, 512, 2048, 8192, 32768, 131072),
            (128, 256, 512, 1024),
            ("bfloat16", "float32"),
        )
    }
    assert len(cases) == len(set(cases))
    assert asked <= set(cases)
    goals = {limit.case for limit in bench("gpu_tables").LIMITS} | {goal.case for goal in bench("gpu_tables").GOALS}
    assert goals <= set(cases)
    groups = [(case.dtype, case.d == 256) for case in cases]
    order = [("bfloat16", True), ("bfloat16", False), ("float32", True), ("float32", False)]
    assert groups == sorted(groups, key=order.index)


def test_what_cannot_fit_or_be_afforded_is_not_tried(bench, monkeypatch):
    gpu_cases = bench("gpu_cases")
    monkeypatch.setattr(gpu_cases, "free_bytes", lambda: 139 * 2**30)
    budget = gpu_cases.Budget(1000.0)

    def reason(variant, n, d=256, device="cuda", budget=budget):
        return gpu_cases.reason_to_skip(bf16(bench, "ntxent", n, d), variant, device, budget)

    assert reason("plain", 32768) is None
    assert reason("plain", 131072) == "N x N does not fit (about 768 GiB)"
    assert reason("triton", 131072) is None
    assert reason("plain compiled", 2048) is None
    assert reason("plain compiled", 2048, 512) is not None
    nearly, over = gpu_cases.Budget(10.0), gpu_cases.Budget(-1.0)
    assert reason("plain compiled", 2048, budget=nearly) == "no time left to compile"
    assert reason("triton", 2048, budget=nearly) is None
    assert reason("triton", 2048, budget=over) == "no time left"


def test_cases_a_run_has_no_time_for_are_named(bench, monkeypatch, capsys, tmp_path):
    bench_gpu, case = bench("bench_gpu"), bf16(bench, "ntxent", 131072)
    words = ["bench_gpu.py", "--dry-run", "--budget-seconds", "0", "--out", str(tmp_path / "none")]
    monkeypatch.setattr(sys, "argv", words)
    bench_gpu.main()
    assert "0 of 8 cases reached" in capsys.readouterr().out
    run = bench("gpu_run").Run("cpu", bench("gpu_cases").Budget(0.0), bench("clock").Effort(), "", {})
    bench_gpu.write(run, {"device": "none"}, [case], tmp_path / "losses-none")
    text = (tmp_path / "losses-none.md").read_text(encoding="utf-8")
    assert "- all variants: not reached in time: ntxent 131072 256 bf16\n" in text


def test_a_variant_that_fails_leaves_the_others_of_its_case_measured(bench, monkeypatch):
    gpu_run, gpu_cases, clock = bench("gpu_run"), bench("gpu_cases"), bench("clock")
    good = bench("variants").backend("ntxent", "chunked")
    calls = []

    def dies_later(a, b, risk):
        calls.append(len(a))
        if len(calls) > 4:
            raise torch.cuda.OutOfMemoryError("no memory")
        return good(a, b, risk)

    def dies(a, b, risk):
        raise RuntimeError("unsupported\nlong trace")

    variants = {"dies": dies, "later": dies_later, "wrong": unmasked, "good": good}
    monkeypatch.setattr(gpu_run, "variants", lambda case, device: variants)
    run = gpu_run.Run("cpu", gpu_cases.Budget(60.0), clock.Effort(rounds=3), "", {"bfloat16": 1e12})
    run.measure(bf16(bench, "ntxent", 64, 16))
    assert [m.variant for m in run.results] == ["good"]
    reasons = {note.variant: note.reason for note in run.notes}
    assert reasons["dies"] == "RuntimeError: unsupported"
    assert reasons["later"] == "out of memory"
    assert reasons["wrong"].startswith("ArithmeticError: wrong by ")


def test_long_calls_are_measured_once_and_others_at_least_three_times(bench):
    effort = bench("clock").Effort(rounds=5, least=3, call_ms=600.0, single_ms=1000.0)
    assert not effort.enough([], 1)
    assert effort.enough([1500.0], 1)
    assert not effort.enough([900.0, 900.0], 1)
    assert effort.enough([900.0, 900.0, 900.0], 1)
    assert not effort.enough([0.1] * 4, 10)
    assert effort.enough([0.1] * 5, 10)


def test_goals_for_the_gpu_are_reached_missed_or_not_measured(bench):
    clef = bf16(bench, "clef official", 8192)
    large = bf16(bench, "clef official", 131072)
    ntxent = [bf16(bench, "ntxent", n) for n in (512, 2048)]
    results = [
        measured(bench, clef, "triton", 0.34),
        measured(bench, large, "triton", 61.0, mib=953.0),
        measured(bench, ntxent[0], "triton", 1.0),
        measured(bench, ntxent[0], "plain compiled", 1.1),
        measured(bench, ntxent[1], "triton", 1.0),
        measured(bench, ntxent[1], "plain compiled", 0.9),
    ]
    lines = bench("gpu_tables").goals_table(results).splitlines()
    cells = {line.split(" | ")[0].removeprefix("| "): line.removesuffix(" |").split(" | ")[1:] for line in lines[2:]}
    assert cells["time, clef official N = 8,192 D = 256 bf16"][1:] == ["at most 0.35 ms", "0.34 ms", "yes"]
    assert cells["time, clef official N = 131,072 D = 256 bf16"][1:] == ["at most 60 ms", "61 ms", "no"]
    memory = cells["memory beyond inputs and gradients, clef official N = 131,072 D = 256 bf16"]
    assert memory[1:] == ["at most 954 MiB", "953 MiB", "yes"]
    assert cells["speed, ntxent N = 512 D = 256 bf16"] == ["plain compiled", "1 x", "1.1 x", "yes"]
    assert cells["speed, ntxent N = 2,048 D = 256 bf16"] == ["plain compiled", "1 x", "0.9 x", "no"]
    assert cells["time, ntxent N = 8,192 D = 256 bf16"][2:] == ["-", "not measured"]


def test_readme_has_gpu_figures_only_from_a_gpu(bench, monkeypatch, tmp_path):
    tables = bench("readme_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    case = {"loss": "ntxent", "n": 128, "d": 256, "dtype": "bfloat16"}
    result = {"case": case, "variant": "triton", "milliseconds": 0.125, "peak_mib": 2.0}
    header = {"device": "A GPU", "torch": "2.11.0", "date": "2026-01-01"}
    for name in ("cpu", "dry-run"):
        content = {"header": header, "results": [result]}
        (tmp_path / f"losses-{name}.json").write_text(json.dumps(content), encoding="utf-8")
    assert tables.gpu() == tables.NO_GPU
    content = {"header": header | {"CUDA": "13.0"}, "results": [result]}
    (tmp_path / "losses-a-gpu.json").write_text(json.dumps(content), encoding="utf-8")
    text = tables.gpu()
    assert "[bench/results/losses-a-gpu.md](bench/results/losses-a-gpu.md)" in text
    assert "| ntxent | 128 | 256 | - | - | - | 0.12 ms, 2 MiB |" in text
    assert "A GPU, bf16, torch 2.11.0, 2026-01-01; medians of interleaved runs." in text
