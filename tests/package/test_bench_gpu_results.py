"""What the GPU benchmark writes is judged by the right clock and rate, and a second run does not lose the first."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest


def bf16(bench, loss, n, d=256):
    return bench("cases").Case(loss, n, d, "bfloat16")


def measured(bench, case, variant, milliseconds, mib=1.0, graph=None):
    more = {"graph_milliseconds": graph, "graph_quartiles": graph and (graph, graph), "graph_rounds": 3 if graph else 0}
    quartiles = (milliseconds, milliseconds)
    return bench("gpu_cases").GpuMeasurement(case, variant, milliseconds, quartiles, 3, mib, **more)


def goal_cells(bench, results):
    lines = bench("gpu_tables").goals_table(results).splitlines()
    return {line.split(" | ")[0].removeprefix("| "): line.removesuffix(" |").split(" | ")[1:] for line in lines[2:]}


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
    cells = goal_cells(bench, results)
    assert cells["time, clef official N = 8,192 D = 256 bf16"][1:] == ["at most 0.35 ms", "0.34 ms", "yes"]
    assert cells["time, clef official N = 131,072 D = 256 bf16"][1:] == ["at most 60 ms", "61 ms", "no"]
    memory = cells["memory beyond inputs and gradients, clef official N = 131,072 D = 256 bf16"]
    assert memory[1:] == ["at most 954 MiB", "953 MiB", "yes"]
    assert cells["speed, ntxent N = 512 D = 256 bf16"] == ["plain compiled", "1 x", "1.1 x", "yes"]
    assert cells["speed, ntxent N = 2,048 D = 256 bf16"] == ["plain compiled", "1 x", "0.9 x", "no"]
    assert cells["time, ntxent N = 8,192 D = 256 bf16"][2:] == ["-", "not measured"]


def test_goals_are_judged_without_the_launches_where_that_is_known(bench):
    clef, ntxent = bf16(bench, "clef official", 8192), bf16(bench, "ntxent", 512)
    results = [
        measured(bench, clef, "triton", 0.5, graph=0.3),
        measured(bench, ntxent, "triton", 2.0, graph=0.5),
        measured(bench, ntxent, "plain compiled", 1.0, graph=0.6),
    ]
    cells = goal_cells(bench, results)
    words = ["at most 0.35 ms", "0.3 ms as a graph, 0.5 ms without", "yes"]
    assert cells["time, clef official N = 8,192 D = 256 bf16"][1:] == words
    assert cells["speed, ntxent N = 512 D = 256 bf16"][2:] == ["1.2 x as graphs, 0.5 x without", "yes"]
    half = replace(results[2], graph_milliseconds=None)
    cells = goal_cells(bench, [*results[:2], half])
    assert cells["speed, ntxent N = 512 D = 256 bf16"][2:] == ["0.5 x", "no"]


def test_a_share_of_the_matrix_rate_is_of_the_dtype_that_was_multiplied(bench):
    share = bench("gpu_cases").matrix_share
    rates = {"bfloat16": 800e12, "float32": 50e12}
    case = bf16(bench, "ntxent", 8192)
    once = 2 * 8192**2 * 256
    triton = measured(bench, case, "triton", 1.0, graph=0.5)
    assert share(triton, rates) == pytest.approx(3 * once / 0.5e-3 / 800e12)
    assert share(measured(bench, case, "chunked", 10.0), rates) == pytest.approx(3 * once / 10e-3 / 50e12)
    assert share(measured(bench, case, "plain", 1.0), rates) is None
    assert bench("gpu_cases").products(bf16(bench, "infonce", 128)) == 4


def test_a_single_sample_shows_no_spread(bench):
    m = measured(bench, bf16(bench, "ntxent", 128), "chunked", 1500.0)
    table = bench("gpu_tables").results_table([replace(m, rounds=1), m])
    assert "| 1500 (1) |" in table
    assert "| 1500 (1500-1500; 3) |" in table


def test_the_steadier_matrix_rate_counts_and_both_are_recorded(bench):
    Rate, MatrixRates = bench("matrix_rates").Rate, bench("matrix_rates").MatrixRates
    start = {"float32": Rate(50e12, 0.01), "bfloat16": Rate(800e12, 0.2)}
    end = {"float32": Rate(49e12, 0.03), "bfloat16": Rate(700e12, 0.02)}
    rates = MatrixRates(start, end)
    assert rates.used("float32") is start["float32"]
    assert rates.used("bfloat16") is end["bfloat16"]
    words = "800 Tflop/s, spread 20 % at the start; 700 Tflop/s, spread 2 % at the end (used)"
    assert rates.header()["bf16 matrix rate"] == words
    assert MatrixRates(start).used("bfloat16") is start["bfloat16"]


def content(bench, device, date, ns, milliseconds, unreached=()):
    results, gpu_cases = bench("gpu_results"), bench("gpu_cases")
    notes = [gpu_cases.Note(bf16(bench, "ntxent", n), "all variants", results.NOT_REACHED) for n in unreached]
    notes += [gpu_cases.Note(bf16(bench, "ntxent", n), "plain", "wrong") for n in ns]
    measurements = [measured(bench, bf16(bench, "ntxent", n), "triton", milliseconds, graph=0.5) for n in ns]
    return results.Content({"device": device, "date": date}, notes, measurements)


def test_a_second_run_keeps_the_cases_it_has_not_measured(bench, tmp_path):
    results = bench("gpu_results")
    first = content(bench, "A", "2026-01-01", [128, 512], 1.0, unreached=[2048])
    results.write(first, tmp_path / "losses-a")
    earlier = results.read(tmp_path / "losses-a.json")
    assert earlier == first, "what is read is what was written"
    second = content(bench, "A", "2026-01-02", [512, 2048], 2.0, unreached=[128, 8192])
    both = results.merged(second, earlier)
    assert [(m.case.n, m.milliseconds) for m in both.results] == [(128, 1.0), (512, 2.0), (2048, 2.0)]
    found = sorted((note.case.n, note.reason) for note in both.notes)
    assert found == [(128, "wrong"), (512, "wrong"), (2048, "wrong"), (8192, "not reached in time")]
    assert both.header == {"device": "A", "date": "2026-01-02", "other cases measured": "2026-01-01"}
    assert results.merged(second, content(bench, "B", "2026-01-01", [128], 1.0)) == second
    assert results.read(tmp_path / "none.json") is None


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
