"""The benchmark compares right values with right values, and says honestly what was reached and what was not."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import figures
import goals
import plain
import pytest
import readme_tables
import timing
import torch
import variants
import write_tables
from cases import CPU_CASES, GPU_CASES, Case
from gate import gate
from kernel_gates import KernelGates
from torch.nn import functional as torch_f

import ecgloss.functional as F

REPOSITORY = Path(__file__).resolve().parents[2]
LOSSES = ("clef official", "clef paper", "ntxent", "infonce")
REFERENCE = "test_forward_backward[ntxent-N128-D256-fp32-reference]"


def views(rng):
    z1 = torch.randn(24, 9, generator=rng, dtype=torch.float64)
    z2 = z1 + torch.randn(24, 9, generator=rng, dtype=torch.float64)
    return z1.requires_grad_(), z2.requires_grad_(), torch.rand(24, generator=rng, dtype=torch.float64) ** 3


def same(a, b):
    # fp64, and two ways to sum 48 x 48 terms: 1e-6 leaves room for rounding only
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_plain_formulas_are_the_losses_they_are_compared_with(loss, rng):
    z1, z2, risk = views(rng)
    own, reference = variants.build(loss, "plain")(z1, z2, risk), variants.backend(loss, "reference")(z1, z2, risk)
    if loss == "ntxent":
        assert reference == F.ntxent(z1, z2, backend="reference"), "the benchmark's gate is another loss"
    elif loss != "infonce":  # of which the library has the engine only
        assert reference == F.clef(z1, z2, risk, preset=loss.split()[1], backend="reference")
    same(own, reference)
    for mine, true in zip(torch.autograd.grad(own, (z1, z2)), torch.autograd.grad(reference, (z1, z2)), strict=True):
        same(mine, true)


def test_options_of_the_plain_formulas_mean_what_they_mean_in_the_library(rng):
    z1, z2, risk = views(rng)
    options = {"temperature": 0.3, "alpha": 0.5}
    official = F.clef(z1, z2, risk, preset="official", backend="reference", **options)
    same(plain.clef_official(z1, z2, risk, **options), official)
    same(plain.clef_paper(z1, z2, risk, **options), F.clef(z1, z2, risk, backend="reference", **options))
    same(plain.ntxent(z1, z2, temperature=0.3), F.ntxent(z1, z2, temperature=0.3, backend="reference"))


def unmasked(a, b, risk):
    """NT-Xent that compares every row with itself too."""
    z = torch_f.normalize(torch.cat([a, b]).float(), dim=1)
    return torch_f.cross_entropy(z @ z.T / 0.07, torch.arange(len(z)).roll(len(a)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_right_variants_pass_the_gate_and_wrong_ones_do_not(dtype):
    for loss in LOSSES:
        check = gate(Case(loss, 128, 64, dtype), "cpu")
        check(variants.backend(loss, "chunked"))
        check(variants.build(loss, "plain"), peer=True)
    check = gate(Case("ntxent", 128, 64, dtype), "cpu")

    def half_a_gradient(a, b, risk):
        return plain.ntxent(a, b.detach()) + 0 * b.sum()

    for wrong in (unmasked, half_a_gradient):
        for peer in (False, True):
            with pytest.raises(ArithmeticError):
                check(wrong, peer=peer)
    with pytest.raises(ArithmeticError):  # peers may round similarities to bf16, kernels may not
        check(lambda a, b, risk: 1.01 * plain.ntxent(a.float(), b.float()))


def run(folder, plugin, *options):
    """Run the benchmark of NT-Xent at its smallest size; a plugin changes a variant."""
    (folder / "changed.py").write_text(f"import os, variants\nright = variants.backend\n{plugin}", encoding="utf-8")
    tests = ["bench/test_throughput.py", "-k", "ntxent and N128 and (plain or chunked or reference) and not compiled"]
    words = ["-p", "changed", "--device", "cpu", "--journal", str(folder / "journal.json"), *options]
    path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "bench", folder)))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")} | {
        "PYTHONPATH": path
    }
    command = [sys.executable, "-m", "pytest", *tests, *words]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    return done, json.loads((folder / "journal.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_wrong_variant_is_skipped_with_its_reason_and_runs_compare(tmp_path):
    plugin = """
def wrong(loss, name):
    loss = right(loss, name)
    return (lambda *data: 1.001 * loss(*data)) if name == "chunked" else loss
variants.backend = wrong
"""
    path = tmp_path / "run.json"
    done, journal = run(tmp_path, plugin, f"--benchmark-json={path}", "-rs")
    assert done.returncode == 0, done.stdout
    assert "SKIPPED" in done.stdout
    assert "ArithmeticError: wrong by 1.0e-03 in value" in done.stdout
    content = json.loads(path.read_text(encoding="utf-8"))
    for kind in ("benchmarks", "notes"):
        assert [e["fullname"] for e in journal[kind]] == [e["fullname"] for e in content[kind]]
    assert {b["params"]["variant"] for b in content["benchmarks"]} == {"plain", "reference"}
    assert [n["params"]["variant"] for n in content["notes"]] == ["chunked"]
    info = content["benchmarks"][-1]["extra_info"]
    assert info["speed"]["rounds"] >= 3
    assert len(info["speed"]["quartiles"]) == 2
    table = write_tables.write(content, tmp_path, keep=False).read_text(encoding="utf-8")
    assert "| ntxent | fp32 | 128 | 256 | reference | " in table
    assert "- chunked: ArithmeticError: wrong by 1.0e-03 in value" in table
    command = [sys.executable, "-m", "pytest_benchmark", "compare", path, tmp_path / "losses-cpu.json"]
    compared = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert compared.count(REFERENCE) == 2


@pytest.mark.slow
@pytest.mark.exhaustive
def test_what_was_measured_before_a_run_ended_is_kept(tmp_path):
    plugin = "variants.backend = lambda loss, name: os._exit(3) if name == 'chunked' else right(loss, name)"
    done, journal = run(tmp_path, plugin)
    assert done.returncode == 3
    assert [b["params"]["variant"] for b in journal["benchmarks"]] == ["plain"]
    assert {n["params"]["variant"]: n["reason"] for n in journal["notes"]} == dict.fromkeys(
        ("chunked", "reference"), "not reached in time"
    )
    done, journal = run(tmp_path, "", "--budget", "0")
    assert done.returncode == 0
    assert {n["reason"] for n in journal["notes"]} == {"not reached in time"}
    assert len(journal["notes"]) == 3


def test_a_lost_gpu_is_told_from_a_failed_call(monkeypatch):
    def fails():
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nlong advice")

    assert timing.attempt(fails, "cpu") == (None, "RuntimeError: CUDA error: an illegal memory access was encountered")
    monkeypatch.setattr(timing, "release", lambda device: fails())
    with pytest.raises(timing.DeviceLost, match="the GPU is unusable after RuntimeError: CUDA error"):
        timing.attempt(fails, "cuda")


def kernel_gates(cases, code="", seconds=60.0, **more):
    command = {"command": (sys.executable, "-c", code)} if code else {}
    return KernelGates("cpu", lambda: seconds, cases, **command, **more)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("os.abort()", "its checking process failed: exit code -6"),
        ('print(\'{"n": 1024, "reason": "the GPU is unusable"}\', flush=True); os._exit(1)', "the GPU is unusable"),
        ("time.sleep(60)", "its checking process failed: stopped after 1 s"),
    ],
)
def test_a_kernel_that_faults_or_hangs_costs_its_own_cases(ending, reason):
    small, large, other = Case("ntxent", 64, 16), Case("ntxent", 2048, 16), Case("infonce", 64, 16)
    says = 'print("a warning", flush=True); print(\'{"n": 64, "reason": ""}\', flush=True)'
    code = f"import os, sys, time; {says}\nif 'ntxent' in sys.argv[4]: {ending}"
    gates = kernel_gates([small, large, other], code, seconds=1.0 if "sleep" in ending else 60.0)
    assert gates.reason(large) == reason
    assert gates.reason(other) == ""


@pytest.mark.slow
@pytest.mark.exhaustive
def test_kernels_are_gated_in_a_process_of_their_own():
    cases = [Case("ntxent", 64, 16, "bfloat16"), Case("ntxent", 2048, 4, "bfloat16")]
    assert {kernel_gates(cases, backend="chunked").reason(case) for case in cases} == {""}
    assert kernel_gates(cases[:1], backend="unheard of").reason(cases[0]).startswith("ValueError: ")


def test_every_size_is_measured_once_the_most_telling_first():
    sizes, widths, dtypes = (128, 512, 2048, 8192, 32768, 131072), (128, 256, 512, 1024), ("bfloat16", "float32")
    assert len(GPU_CASES) == len(set(GPU_CASES))
    assert {Case(*words) for words in product(LOSSES, sizes, widths, dtypes)} <= set(GPU_CASES)
    assert {(case.d, case.dtype) for case in GPU_CASES[:28]} == {(256, "bfloat16")}
    assert {goal.case for goal in goals.CPU_GOALS} <= set(CPU_CASES)
    for goal in goals.GPU_GOALS:
        assert set(goal.against) <= set(variants.names(goal.case, "cuda"))
    assert "triton" in variants.names(GPU_CASES[0], "cuda")


def test_peers_that_are_not_here_are_named(monkeypatch):
    ntxent, infonce = Case("ntxent", 512, 256), Case("infonce", 512, 256)
    variants._imported.cache_clear()
    monkeypatch.setattr(variants.importlib.util, "find_spec", lambda name: None if name == "lightly" else object())

    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(variants.importlib, "import_module", broken)
    monkeypatch.delattr(torch.nn.functional, "linear_cross_entropy", raising=False)
    assert variants.missing(ntxent, "lightly") == "not installed"
    reason = "RuntimeError: operator torchvision::nms does not exist"
    assert variants.missing(ntxent, "pytorch-metric-learning") == reason
    assert variants.missing(replace(ntxent, n=1024), "pytorch-metric-learning").startswith("N x N^2 numbers")
    assert variants.missing(infonce, "F.linear_cross_entropy") == f"torch {torch.__version__} does not have it"
    variants._imported.cache_clear()


def test_a_sample_does_not_begin_on_an_idle_gpu(monkeypatch):
    done = []

    class Event:
        def __init__(self, enable_timing):
            pass

        def record(self):
            done.append("record")

        def elapsed_time(self, end):
            return 6.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("wait"))
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: done.append("pause"))
    clock = timing.EventClock()
    assert timing.sample(lambda: done.append("call"), 3, clock) == pytest.approx(2e-3)
    assert done == ["record", "wait", "pause", "record", "call", "call", "call", "record", "wait", "pause", "record"]


def test_long_calls_are_measured_once_and_others_at_least_three_times():
    effort = timing.Effort(most=5, total=0.6, sample=0.01, single=1.0)
    assert effort.plan(1.5) == (1, 1)
    assert effort.plan(0.9) == (3, 1)
    assert effort.plan(0.001) == (5, 10)
    fast, slow = timing.interleaved([lambda: None, lambda: math.factorial(3000)], "cpu")
    assert len(fast) == len(slow) >= 3


def benchmark(case, variant, milliseconds, **info):
    words = {"loss": case.loss, "n": case.n, "d": case.d, "dtype": case.dtype, "variant": variant}
    stats = {"median": milliseconds / 1000, "q1": milliseconds / 1000, "q3": milliseconds / 1000, "rounds": 3}
    info = {"peak_mib": 1.0} | info
    return {"group": str(case), "name": variant, "fullname": f"{case} {variant}", "params": words} | {
        "extra_info": info,
        "stats": stats,
    }


def content(benchmarks, notes=(), **header):
    return {"machine_info": {"header": header}, "benchmarks": list(benchmarks), "notes": list(notes)}


def goal_rows(found, gpu):
    lines = goals.goals_table(figures.figures(content(found)), gpu).splitlines()[2:]
    return {line.split(" | ")[0].removeprefix("| "): line.removesuffix(" |").split(" | ")[2:] for line in lines}


def test_goals_are_reported_as_reached_missed_or_not_measured():
    clef, ntxent = Case("clef official", 8192, 256), Case("ntxent", 8192, 256)
    rows = goal_rows(
        [
            benchmark(clef, "plain", 4000.0),
            benchmark(clef, "cpp", 190.0, share=0.59, speed={"median": 20.5}),  # taking turns counts, not the medians
            benchmark(ntxent, "plain", 900.0),
            benchmark(ntxent, "plain compiled", 400.0, speed={"median": 2.0}),
            benchmark(ntxent, "cpp", 100.0, share=0.61, speed={"median": 8.0}),
        ],
        gpu=False,
    )
    assert rows["speed, clef official N = 8,192 D = 256"] == ["at least 20 x", "20.5 x", "yes"]
    assert rows["speed, ntxent N = 8,192 D = 256"][1:] == ["4 x", "no"]  # beside the fastest peer
    assert rows["useful arithmetic, clef official N = 8,192 D = 256"][1:] == ["59 %", "no"]
    assert rows["speed, clef official N = 128 D = 256"][1:] == ["-", "not measured"]


def test_goals_for_the_gpu_are_judged_without_the_launches_where_that_is_known():
    clef, large, ntxent = (Case(*words, 256, "bfloat16") for words in (FIRST, LARGEST, ("ntxent", 512)))
    rows = goal_rows(
        [
            benchmark(clef, "triton", 0.5, graph={"median": 0.3}),
            benchmark(large, "triton", 61.0, peak_mib=953.0),
            benchmark(ntxent, "triton", 2.0, graph={"median": 0.5}),
            benchmark(ntxent, "plain compiled", 1.0, graph={"median": 0.6}),
        ],
        gpu=True,
    )
    name = "clef official N = 8,192 D = 256 bf16"
    assert rows[f"time, {name}"] == ["at most 0.35 ms", "0.3 ms as a graph, 0.5 ms without", "yes"]
    large = "clef official N = 131,072 D = 256 bf16"
    assert rows[f"time, {large}"][1:] == ["61 ms", "no"]
    assert rows[f"memory beyond inputs and gradients, {large}"] == ["at most 954 MiB", "953 MiB", "yes"]
    assert rows["speed, ntxent N = 512 D = 256 bf16"][1:] == ["1.2 x as a graph, 0.5 x without", "yes"]


FIRST, LARGEST = ("clef official", 8192), ("clef official", 131072)


def test_a_second_run_keeps_the_cases_it_has_not_measured():
    def measured(device, date, ns, unreached):
        cases = [Case("ntxent", n, 256, "bfloat16") for n in (*ns, *unreached)]
        found = [benchmark(case, "triton", 1.0) for case in cases[: len(ns)]]
        notes = [{**benchmark(case, "plain", 1.0), "reason": figures.NOT_REACHED} for case in cases[len(ns) :]]
        return content(found, notes, device=device, date=date)

    first, second = measured("A", "1", (128, 512), (2048,)), measured("A", "2", (512, 2048), (128, 8192))
    both = figures.merged(second, first)
    assert [(b["params"]["n"]) for b in both["benchmarks"]] == [128, 512, 2048]
    assert both["benchmarks"][1] is second["benchmarks"][0]
    assert [n["params"]["n"] for n in both["notes"]] == [8192]
    assert both["machine_info"]["header"] == {"device": "A", "date": "2", "other cases measured": "1"}
    assert figures.merged(second, measured("B", "1", (128,), ())) == second
    assert "- not reached in time: ntxent 8192 256 bf16" in write_tables.report(both)


def test_readme_shows_a_dash_for_what_was_not_measured_and_gpu_figures_only_from_a_gpu(monkeypatch, tmp_path):
    case = Case("ntxent", 128, 256)
    header = {"device": "A", "torch": "2.13.0", "date": "2026-01-01"}
    lightly = benchmark(case, "lightly", 1.5, peak_mib=None)
    table = readme_tables.losses_table(content([benchmark(case, "plain", 2.0, peak_mib=3.0), lightly], **header))
    assert "| ntxent | 128 | 256 | 2.00 ms, 3 MiB | 1.50 ms (lightly) | - | - |" in table.splitlines()
    assert "| clef official | 128 | 256 | - | - | - | - |" in table.splitlines()
    monkeypatch.setattr(readme_tables, "RESULTS", tmp_path)
    found = [benchmark(replace(case, dtype="bfloat16"), "triton", 0.125, peak_mib=2.0, graph={"median": 0.05})]
    for name, more in (("cpu", {}), ("a", {"CUDA": "13.0"})):
        (tmp_path / f"losses-{name}.json").write_text(json.dumps(content(found, **header, **more)), encoding="utf-8")
        assert (readme_tables.gpu() == readme_tables.NO_GPU) == (name == "cpu")
    assert "| ntxent | 128 | 256 | - | - | - | 0.12 (0.05) ms, 2 MiB |" in readme_tables.gpu()
