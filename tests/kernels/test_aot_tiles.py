"""Tiles from a file come before the table; a file with a mistake is refused by name; the search for tiles resumes."""

from __future__ import annotations

import importlib.util
import json
import sys
import time

import pytest
import tune
import tune_results

from ecgloss.engine.kernel_package import kernels_module

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
TILE = {"architectures": "sm90", "passes": "forward", "products": "half", "max_D": 256, "rows": 64, "cols": 32}
TILE |= {"depth": 9999, "warps": 4, "stages": 2}


@pytest.fixture
def table(monkeypatch):
    found = kernels_module("tile_table")
    for cached in (found.tile, found.is_fused, kernels_module("tile_file").read):
        cached.cache_clear()
    yield found
    for cached in (found.tile, found.is_fused, kernels_module("tile_file").read):
        cached.cache_clear()


@needs_triton
def test_a_tile_of_the_file_is_taken_where_it_fits(table, tmp_path, monkeypatch):
    path = tmp_path / "tiles.json"
    path.write_text(json.dumps([TILE]))
    monkeypatch.setenv("ECGLOSS_TILES", str(path))
    assert table.tile("sm90", ("forward",), "half", 128) == (64, 32, 128, 128, 4, 2, 1, None)
    assert table.tile("sm90", ("forward",), "half", 512).rows == 128
    assert table.tile("sm80", ("forward",), "half", 128).columns == 64


@needs_triton
def test_a_tile_for_some_widths_and_rules_leaves_the_others_alone(table, tmp_path, monkeypatch):
    path = tmp_path / "tiles.json"
    path.write_text(json.dumps([TILE | {"passes": "forward-uniform", "min_D": 129}]))
    before = {d: table.tile("sm90", ("forward-weighted", "forward"), "half", d) for d in (128, 256)}
    table.tile.cache_clear()
    monkeypatch.setenv("ECGLOSS_TILES", str(path))
    assert {d: table.tile("sm90", ("forward-weighted", "forward"), "half", d) for d in (128, 256)} == before
    assert table.tile("sm90", ("forward-uniform", "forward"), "half", 128).columns == 64
    assert table.tile("sm90", ("forward-uniform", "forward"), "half", 256).columns == 32


@needs_triton
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 96}, "tile 0: rows must be a power of two"),
        ({"rows": 256}, "tile 0: rows is at most 128; got 256"),
        ({"warps": "4"}, "tile 0: warps must be a whole number from 1 on; got '4'"),
        ({"passes": ["forward"]}, "tile 0: passes must be some of forward-moments,forward,"),
        ({"passes": "forward, backward"}, "tile 0: passes must be some of .* no spaces"),
        ({"architectures": "sm90,h100"}, "tile 0: architectures must be some of sm80,"),
        ({"min_D": None}, "tile 0: min_D must be a whole number from 1 on; got None"),
        ({"min_D": 512}, "tile 0: min_D is at most max_D, 256; got 512"),
        ({"blocks": 3}, "tile 0 has blocks; known are"),
    ],
)
def test_a_mistake_in_the_file_is_named(table, tmp_path, monkeypatch, change, message):
    path = tmp_path / "tiles.json"
    path.write_text(json.dumps([TILE | change]))
    monkeypatch.setenv("ECGLOSS_TILES", str(path))
    with pytest.raises(ValueError, match=message) as raised:
        table.tile("sm90", ("forward",), "half", 128)
    assert str(path) in str(raised.value)


@needs_triton
@pytest.mark.parametrize("text", ["[", '{"rows": 64}', "[3]", None])
def test_a_file_that_is_no_list_of_tiles_is_named(table, tmp_path, monkeypatch, text):
    path = tmp_path / "tiles.json"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("ECGLOSS_TILES", str(path))
    with pytest.raises(ValueError, match=r"tiles\.json"):
        table.tile("sm90", ("forward",), "half", 128)


def candidates(steps=("forward",), rules=("ntxent",), widths=(256,)):
    return tune.candidates(steps, rules, widths, 8192, fused=lambda d: d <= 256)


def test_only_passes_that_a_rule_has_are_tried():
    found = {(e["pass"], e["rule"], e["D"]) for e in candidates(tune.STEPS, ("ntxent", "labels"), (256, 512))}
    gradients = {("backward", "ntxent", 256), ("strip", "ntxent", 512), ("backward", "labels", 256)}
    assert found - {f for f in found if f[0] == "forward"} == gradients | {("backward", "labels", 512)}
    assert len({tune_results.key(e) for e in candidates(tune.STEPS, tune.RULES, (256, 512))}) == len(
        candidates(tune.STEPS, tune.RULES, (256, 512))
    )


def test_a_search_stops_in_time_resumes_and_keeps_faults(tmp_path):
    entries = candidates()
    path, now, measured = tmp_path / "tune.json", [0.0], []

    def measure(entry):
        now[0] += 10
        measured.append(tune_results.key(entry))
        unfinished = json.loads(path.read_text())["results"][measured[-1]]
        assert unfinished["fault"] == tune_results.UNFINISHED, "a kernel that hangs is not tried again"
        if entry["tile"]["warps"] == 4:
            raise RuntimeError("out of shared memory")
        if entry["tile"]["stages"] == 4:
            return {"spills": 8}
        return {"us": 100.0 - entry["tile"]["stages"], "table us": 102.0, "spills": 0, "at once": 1}

    first = tune_results.search(entries, path, 35, measure, clock=lambda: now[0])
    assert len(first) == 4
    assert "out of shared memory" in first[measured[0]]["fault"]
    everything = tune_results.search(entries, path, 1e9, measure, clock=lambda: now[0])
    assert measured == [tune_results.key(e) for e in entries], "each is measured once"
    assert json.loads(path.read_text())["results"] == everything
    (fastest,) = tune_results.best(everything, spills=0)
    assert fastest["tile"]["stages"] == 3
    tune_results.search(entries, path, 1e9, measure, spills=8, clock=lambda: now[0])
    assert len(measured) == len(entries) + 5, "what spilled too much is measured where it may spill more"


def test_a_search_ends_with_the_gpu_and_is_interrupted_without_a_trace(tmp_path):
    entries, path = candidates(), tmp_path / "tune.json"

    def fault(entry):
        raise RuntimeError("illegal address")

    def interrupt(entry):
        raise KeyboardInterrupt

    found = tune_results.search(entries, path, 1e9, fault, usable=lambda: False, clock=lambda: 0)
    assert len(found) == 1, "others would fail as well"
    with pytest.raises(KeyboardInterrupt):
        tune_results.search(entries, path, 1e9, interrupt, clock=lambda: 0)
    assert json.loads(path.read_text())["results"] == found


def test_results_of_another_gpu_are_not_gone_on_with(tmp_path):
    path = tmp_path / "tune.json"
    measured = {"us": 1.0, "table us": 2.0, "spills": 0, "at once": 1}
    tune_results.search(candidates()[:1], path, 1, lambda e: measured, header={"device": "H100"}, clock=lambda: 0)
    with pytest.raises(ValueError, match="H200"):
        tune_results.load(path, {"device": "H200"})


def test_compiling_ahead_ends_in_time():
    begin = time.monotonic()
    tune.warm_up(candidates(), 2, begin + 0.2, [sys.executable, "-c", "import time; time.sleep(60)"])
    assert time.monotonic() - begin < 30


@needs_triton
def test_what_a_search_writes_is_a_tile_file(table, tmp_path, monkeypatch):
    found = [e | {"us": 1.0, "table us": 2.0, "spills": 0, "at once": 2} for e in candidates(["backward"], ["labels"])]
    path = tmp_path / "tiles.json"
    path.write_text(json.dumps(tune_results.tile_lines(found[:1], "sm90", lambda entry: "backward-labels")))
    before = table.tile("sm90", ("backward-labels",), "half", 128)
    table.tile.cache_clear()
    monkeypatch.setenv("ECGLOSS_TILES", str(path))
    tile = table.tile("sm90", ("backward-labels",), "half", 256)
    assert (tile.rows, tile.width, tile.occupancy) == (found[0]["tile"]["rows"], 256, 2)
    assert table.tile("sm90", ("backward-labels",), "half", 128) == before, "another D was not measured"
    page = tune_results.table({tune_results.key(e): e for e in found[:1]}, {"device": "H100"})
    assert "| 0.500 | 0 | 2 |" in page


def test_a_tile_is_compared_with_the_launchers_in_the_same_minute_and_within_the_noise_is_none():
    first, second, third = candidates()[:3]
    measured = {"spills": 0, "at once": 1}
    first |= {"us": 98.0, "table us": 100.0, **measured}
    assert tune_results.best({"first": first}, spills=0) == []
    second |= {"us": 60.0, "table us": 70.0, **measured}
    third |= {"us": 80.0, "table us": 100.0, **measured}  # of a GPU that had become slower
    assert tune_results.best({"first": first, "second": second, "third": third}, spills=0) == [third]
