"""The benchmark compares right values with right values, and says honestly what was reached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ecgloss.functional as F

BENCH = Path(__file__).resolve().parents[2] / "bench"


def views(rng, dtype):
    z1 = torch.randn(24, 9, generator=rng, dtype=dtype)
    z2 = z1 + torch.randn(24, 9, generator=rng, dtype=dtype)
    return z1.requires_grad_(), z2.requires_grad_(), torch.rand(24, generator=rng, dtype=dtype) ** 3


def same(a, b):
    # fp64, and two ways to sum 48 x 48 terms: 1e-6 leaves room for rounding only
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", ["clef official", "clef paper", "ntxent", "infonce"])
def test_plain_formulas_are_the_losses_they_are_compared_with(loss, bench, rng):
    variants = bench("variants")
    z1, z2, risk = views(rng, torch.float64)
    if loss == "infonce":  # the library has its engine only
        plain, reference = bench("plain").infonce(z1, z2), variants.backend(loss, "reference")(z1, z2, risk)
    elif loss == "ntxent":
        plain, reference = bench("plain").ntxent(z1, z2), F.ntxent(z1, z2, backend="reference")
    else:
        preset = loss.split()[1]
        plain = getattr(bench("plain"), f"clef_{preset}")(z1, z2, risk)
        reference = F.clef(z1, z2, risk, preset=preset, backend="reference")
    assert variants.backend(loss, "reference")(z1, z2, risk) == reference, "the benchmark's gate is another loss"
    same(plain, reference)
    for own, true in zip(torch.autograd.grad(plain, (z1, z2)), torch.autograd.grad(reference, (z1, z2)), strict=True):
        same(own, true)


def test_options_of_the_plain_formulas_mean_what_they_mean_in_the_library(bench, rng):
    plain = bench("plain")
    z1, z2, risk = views(rng, torch.float64)
    options = {"temperature": 0.3, "alpha": 0.5}
    same(
        plain.clef_official(z1, z2, risk, **options),
        F.clef(z1, z2, risk, preset="official", backend="reference", **options),
    )
    same(plain.clef_paper(z1, z2, risk, **options), F.clef(z1, z2, risk, backend="reference", **options))
    same(plain.ntxent(z1, z2, temperature=0.3), F.ntxent(z1, z2, temperature=0.3, backend="reference"))


def test_no_figure_is_printed_for_a_wrong_variant(bench):
    check = bench("bench_losses").gate(bench("cases").Case("ntxent", 64, 16), "cpu")
    right = bench("plain").ntxent
    check(lambda a, b, risk: right(a, b))
    with pytest.raises(ArithmeticError):
        check(lambda a, b, risk: 1.001 * right(a, b))
    with pytest.raises(ArithmeticError):
        check(lambda a, b, risk: right(a, b.detach()) + 0 * b.sum())  # right value, gradient of one view missing


def test_a_variant_that_fails_is_left_out_with_its_reason(bench, monkeypatch):
    losses = bench("bench_losses")

    def no_compiler(a, b, risk):
        raise RuntimeError("no compiler\nlong trace")

    monkeypatch.setattr(
        losses,
        "variants",
        lambda case, device: {"good": bench("variants").backend("ntxent", "chunked"), "bad": no_compiler},
    )
    passed, notes = losses.admitted(bench("cases").Case("ntxent", 64, 16), "")
    assert list(passed) == ["good"]
    assert notes == ["ntxent N=64 D=16: bad left out, RuntimeError: no compiler"]


def test_goals_are_reported_as_reached_missed_or_not_measured(bench):
    cases, tables = bench("cases"), bench("bench_tables")

    def measured(case, variant, milliseconds, share=None):
        return cases.CpuMeasurement(case, variant, milliseconds, (milliseconds, milliseconds), 3, 1.0, None, share)

    clef, ntxent = cases.Case("clef official", 8192, 256), cases.Case("ntxent", 8192, 256)
    results = [
        measured(clef, "plain", 4000.0),
        measured(clef, "cpp", 200.0, 0.59),
        measured(ntxent, "plain", 900.0),
        measured(ntxent, "plain compiled", 400.0),
        measured(ntxent, "cpp", 100.0, 0.61),
    ]
    lines = tables.goals_table(results).splitlines()
    cells = {line.split(" | ")[0].removeprefix("| "): line.removesuffix(" |").split(" | ")[1:] for line in lines[2:]}
    assert cells["speed, clef official N = 8,192 D = 256"][2:] == ["20 x", "yes"]
    # the fastest peer counts, not the plain one
    assert cells["speed, ntxent N = 8,192 D = 256"][2:] == ["4 x", "no"]
    assert cells["useful arithmetic, clef official N = 8,192 D = 256"][2:] == ["59 %", "no"]
    assert cells["useful arithmetic, ntxent N = 8,192 D = 256"][2:] == ["61 %", "yes"]
    assert cells["speed, clef official N = 128 D = 256"][2:] == ["-", "not measured"]


def test_extrapolated_memory_grows_with_the_power_of_n(bench):
    large, cases = bench("large"), bench("cases")
    assert large.extrapolated_mib(100.0, cases.Case("ntxent", 4096, 128), 2) == 100.0 * 16**2
    assert large.extrapolated_mib(100.0, cases.Case("ntxent", 512, 128), 3) == 100.0 * 128**3


def test_readme_shows_a_dash_for_what_was_not_measured(bench):
    tables = bench("readme_tables")
    case = {"loss": "ntxent", "n": 128, "d": 256}
    results = [
        {"case": case, "variant": "plain", "milliseconds": 2.0, "peak_mib": 3.0},
        {"case": case, "variant": "lightly", "milliseconds": 1.5, "peak_mib": None},
    ]
    header = {"device": "cpu (a processor, 2 threads)", "torch": "2.13.0", "date": "2026-01-01"}
    lines = tables.bench_table({"header": header, "results": results}).splitlines()
    assert "| ntxent | 128 | 256 | 2.00 ms, 3 MiB | 1.50 ms (lightly) | - | - |" in lines
    assert "| clef official | 128 | 256 | - | - | - | - |" in lines


@pytest.mark.slow
def test_a_run_writes_what_the_readme_reads(bench, tmp_path):
    words = ["--case", "^ntxent 128 ", "--variants", "^plain$|^chunked$", "--rounds", "2", "--out", str(tmp_path)]
    subprocess.run([sys.executable, str(BENCH / "bench_losses.py"), *words], check=True, cwd=BENCH.parent)
    content = json.loads((tmp_path / "losses-cpu.json").read_text(encoding="utf-8"))
    assert {m["variant"] for m in content["results"]} == {"plain", "chunked"}
    assert "| ntxent | 128 | 256 | " in bench("readme_tables").bench_table(content)
    assert "| ntxent | 128 | 256 | chunked | " in (tmp_path / "losses-cpu.md").read_text(encoding="utf-8")
