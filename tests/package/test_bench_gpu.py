"""The GPU benchmark runs without a GPU as far as it can, times nothing wrong, and says what it has not measured."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from itertools import groupby, product
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as torch_f

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "bench" / "bench_gpu.py"

pytestmark = pytest.mark.exhaustive  # the benchmark's own machinery, which no user's figures pass through


def bf16(bench, loss, n, d=256):
    return bench("cases").Case(loss, n, d, "bfloat16")


def test_a_dry_run_needs_no_gpu_and_writes_only_where_it_is_told(bench, tmp_path):
    out, cwd = tmp_path / "out", tmp_path / "cwd"
    cwd.mkdir()
    before = sorted((REPOSITORY / "bench" / "results").iterdir())
    words = ["--dry-run", "--case", "^infonce|^ntxent", "--variants", "plain|chunked", "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, str(SCRIPT), *words], check=True, cwd=cwd, env=environment, timeout=300)
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

    def group(case):
        first = "" if case.d == 256 and case.dtype == "bfloat16" else case.loss in ("clef official", "ntxent")
        return case.dtype, case.d == 256, first

    assert [name for name, _ in groupby(cases, group)] == [
        ("bfloat16", True, ""),
        ("float32", True, True),
        ("bfloat16", False, True),
        ("float32", False, True),
        ("float32", True, False),
        ("bfloat16", False, False),
        ("float32", False, False),
    ]


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
    compiled = [case for case in gpu_cases.GPU_CASES if gpu_cases.worth_compiling(case)]
    assert {case.n for case in compiled if case.dtype == "float32"} == {512, 2048, 8192}
    assert {goal.case for goal in bench("gpu_tables").GOALS} <= set(compiled)
    nearly, over = gpu_cases.Budget(10.0), gpu_cases.Budget(-1.0)
    assert reason("plain compiled", 2048, budget=nearly) == "no time left to compile"
    assert reason("triton", 2048, budget=nearly) is None
    assert reason("triton", 2048, budget=over) == "no time left"


def run(bench, variants, monkeypatch, cases=(), seconds=math.inf):
    """A run on the CPU of variants given by name, without kernels."""
    monkeypatch.setattr(bench("admission"), "variants", lambda case, device: variants)
    budget = bench("gpu_cases").Budget(seconds)
    kernels = bench("kernel_gates").KernelGates("cpu", budget, cases)
    admission = bench("admission").Admission("cpu", budget, "", kernels)
    return bench("gpu_run").Run("cpu", budget, bench("clock").Effort(rounds=3), admission)


def journal(bench, a_run, folder):
    rates = dict.fromkeys(("float32", "bfloat16"), bench("matrix_rates").Rate(1e12, 0.1))
    header = {"device": "none", "date": "2026-01-02"}
    return bench("bench_gpu").Journal(a_run, bench("matrix_rates").MatrixRates(rates), header, folder / "losses-none")


def test_cases_a_run_has_no_time_for_are_named(bench, monkeypatch, capsys, tmp_path):
    case = bf16(bench, "ntxent", 131072)
    journal(bench, run(bench, {}, monkeypatch, seconds=0.0), tmp_path).measure([case])
    assert "0 of 1 cases reached" in capsys.readouterr().out
    text = (tmp_path / "losses-none.md").read_text(encoding="utf-8")
    assert "- all variants: not reached in time: ntxent 131072 256 bf16\n" in text


def test_a_variant_that_fails_leaves_the_others_of_its_case_measured(bench, monkeypatch):
    good = bench("variants").backend("ntxent", "chunked")
    calls = []

    def dies_later(a, b, risk):
        calls.append(len(a))
        if len(calls) > 4:
            raise torch.cuda.OutOfMemoryError("no memory")
        return good(a, b, risk)

    def dies(a, b, risk):
        raise RuntimeError("unsupported\nlong trace")

    a_run = run(bench, {"dies": dies, "later": dies_later, "wrong": unmasked, "good": good}, monkeypatch)
    a_run.measure(bf16(bench, "ntxent", 64, 16))
    assert [m.variant for m in a_run.results] == ["good"]
    reasons = {note.variant: note.reason for note in a_run.notes}
    assert reasons["dies"] == "RuntimeError: unsupported"
    assert reasons["later"] == "out of memory"
    assert reasons["wrong"].startswith("ArithmeticError: wrong by ")


@pytest.mark.parametrize("broken", ["inputs", "admission"])
def test_a_case_that_cannot_be_prepared_does_not_end_the_run(bench, monkeypatch, broken):
    def fails(*words):
        raise torch.cuda.OutOfMemoryError("no memory")

    a_run = run(bench, {}, monkeypatch)
    module, name = ("gpu_run", "inputs") if broken == "inputs" else ("admission", "variants")
    monkeypatch.setattr(bench(module), name, fails)
    case = bf16(bench, "ntxent", 64, 16)
    a_run.measure(case)
    assert a_run.notes == [bench("gpu_cases").Note(case, "all variants", "out of memory")]


def test_a_lost_gpu_ends_the_run_with_everything_written(bench, monkeypatch, tmp_path):
    guard, good = bench("guard"), bench("variants").backend("ntxent", "chunked")
    kill = []

    def lethal(a, b, risk):
        if kill:
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nlong advice")
        return good(a, b, risk)

    def unusable(device):
        if kill:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    cases = [bf16(bench, "ntxent", n, 16) for n in (64, 66, 68)]
    a_run = run(bench, {"lethal": lethal}, monkeypatch)
    a_journal = journal(bench, a_run, tmp_path)
    monkeypatch.setattr(guard, "release", unusable)
    add = a_run._add
    a_run._add = lambda *words: (add(*words), kill.append(True))
    with pytest.raises(guard.DeviceLost):
        a_journal.measure(cases)
    content = json.loads((tmp_path / "losses-none.json").read_text(encoding="utf-8"))
    assert [m["case"]["n"] for m in content["results"]] == [64]
    lost = "DeviceLost: the GPU is unusable after RuntimeError: CUDA error: an illegal memory access was encountered"
    assert content["header"]["ended early by"] == lost
    reasons = {n["case"]["n"]: n["reason"] for n in content["notes"] if n["variant"] == "all variants"}
    assert reasons == {66: f"not all measured: {lost}", 68: "not reached in time"}


@pytest.fixture
def imagined_gpu(bench, monkeypatch):
    """Runs on "cuda" take place on the CPU, up to the capture of graphs; every call takes one millisecond."""
    gpu_run = bench("gpu_run")
    inputs = gpu_run.inputs
    monkeypatch.setattr(gpu_run, "inputs", lambda case, device: inputs(case, "cpu"))

    def a_millisecond(call, repeats, device):
        call()
        return 1.0

    monkeypatch.setattr(bench("clock"), "milliseconds", a_millisecond)
    monkeypatch.setattr(bench("graphs"), "free_bytes", lambda: 2**37)
    for module in ("gpu_run", "guard"):
        monkeypatch.setattr(bench(module), "release", lambda device: None)


def test_times_outlive_a_capture_that_breaks_the_gpu(bench, monkeypatch, imagined_gpu):
    def breaks(loss, data):
        raise bench("guard").DeviceLost("gone")

    a_run = run(bench, {"good": bench("variants").backend("ntxent", "chunked")}, monkeypatch)
    a_run.device = "cuda"
    monkeypatch.setattr(bench("gpu_run"), "captured", breaks)
    with pytest.raises(bench("guard").DeviceLost):
        a_run.measure(bf16(bench, "ntxent", 64, 16))
    assert [m.variant for m in a_run.results] == ["good"]


def test_what_no_graph_can_hold_is_not_captured_and_what_failed_not_again(bench, monkeypatch, imagined_gpu):
    names = ("good", "bad", "lightly", "pytorch-metric-learning")
    losses = {name: bench("variants").backend("ntxent", "chunked") for name in names}
    tried = []

    def capture(loss, data):
        tried.append(next(name for name in names if losses[name] is loss))
        if tried[-1] == "bad":
            raise RuntimeError("operation not permitted when stream is capturing")
        return SimpleNamespace(replay=list)

    a_run = run(bench, losses, monkeypatch)
    a_run.device = "cuda"
    monkeypatch.setattr(bench("gpu_run"), "captured", capture)
    for n in (64, 66):
        a_run.measure(bf16(bench, "ntxent", n, 16))
    assert tried == ["good", "bad", "good"]
    assert {m.variant: m.graph_rounds for m in a_run.results} == {"good": 3} | dict.fromkeys(names[1:], 0)
    assert "bad as a CUDA graph, from here on" in {note.variant for note in a_run.notes}


def test_long_calls_are_measured_once_and_others_at_least_three_times(bench):
    effort = bench("clock").Effort(rounds=5, least=3, call_ms=600.0, single_ms=1000.0)
    assert not effort.enough([], 1)
    assert effort.enough([1500.0], 1)
    assert not effort.enough([900.0, 900.0], 1)
    assert effort.enough([900.0, 900.0, 900.0], 1)
    assert not effort.enough([0.1] * 4, 10)
    assert effort.enough([0.1] * 5, 10)


def test_when_no_time_is_left_every_call_keeps_one_sample(bench):
    effort = bench("clock").Effort(rounds=5, sample_ms=1e-3, single_ms=1000.0)
    times, failures = bench("clock").interleaved({"a": list, "b": dict}, "cpu", effort, lambda: False)
    assert {name: len(values) for name, values in times.items()} == {"a": 1, "b": 1}
    assert failures == {}


def test_a_sample_does_not_begin_on_an_idle_gpu(bench, monkeypatch):
    done = []

    class Event:
        def __init__(self, enable_timing):
            done.append("event")

        def record(self):
            done.append("record")

        def synchronize(self):
            done.append("wait")

        def elapsed_time(self, end):
            return 6.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("idle"))
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: done.append("pause"))
    assert bench("clock").milliseconds(lambda: done.append("call"), 3, "cuda") == 2.0
    assert done[2:] == ["idle", "pause", "record", "call", "call", "call", "record", "wait"]


def test_peers_that_are_not_here_are_named(bench, monkeypatch):
    variants = bench("variants")
    case, infonce = bf16(bench, "ntxent", 512), bf16(bench, "infonce", 512)
    monkeypatch.setattr(variants.importlib.util, "find_spec", lambda name: None if name == "lightly" else object())

    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(variants.importlib, "import_module", broken)
    monkeypatch.delattr(torch.nn.functional, "linear_cross_entropy", raising=False)
    reasons = variants.absent(case)
    assert reasons["lightly"] == "not installed"
    assert reasons["pytorch-metric-learning"] == "RuntimeError: operator torchvision::nms does not exist"
    assert variants.absent(infonce) == {"F.linear_cross_entropy": f"torch {torch.__version__} does not have it"}
    assert not set(reasons) & set(variants.variants(case, "cpu"))
    assert variants.absent(bf16(bench, "clef paper", 512)) == {}
    a_run = run(bench, {}, monkeypatch)
    a_run.measure(infonce)
    assert [note.variant for note in a_run.notes] == ["F.linear_cross_entropy"]
