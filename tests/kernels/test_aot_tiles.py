"""Tiles from a file come before the table; a file with a mistake is refused by name; the search for tiles resumes."""

from __future__ import annotations

import importlib.util
import json

import pytest
import tune

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
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 96}, "tile 0: rows must be a power of two"),
        ({"rows": 256}, "tile 0: rows is at most 128; got 256"),
        ({"warps": "4"}, "tile 0: warps must be a whole number from 1 on; got '4'"),
        ({"passes": ["forward"]}, "tile 0: passes must be names"),
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


def test_a_search_stops_in_time_resumes_and_keeps_faults(tmp_path):
    entries = tune.candidates(["forward"], ["ntxent"], [256], 8192)
    path, now, measured = tmp_path / "tune.json", [0.0], []

    def measure(entry):
        now[0] += 10
        measured.append(tune.key(entry))
        if entry["tile"]["warps"] == 4:
            raise RuntimeError("out of shared memory")
        return {"us": 100.0 - entry["tile"]["stages"], "table us": 102.0, "spills": 8 * (entry["tile"]["stages"] == 4)}

    first = tune.search(entries, path, 35, measure, clock=lambda: now[0])
    assert len(first) == 4
    assert "out of shared memory" in first[measured[0]]["fault"]
    everything = tune.search(entries, path, 1e9, measure, clock=lambda: now[0])
    assert measured == [tune.key(e) for e in entries], "each is measured once"
    assert json.loads(path.read_text()) == everything
    (fastest,) = tune.best(everything, spills=0)
    assert fastest["tile"]["stages"] == 3
    assert tune.best(everything, spills=8)[0]["tile"]["stages"] == 4


@needs_triton
def test_what_a_search_writes_is_a_tile_file(table, tmp_path, monkeypatch):
    found = [e | {"us": 1.0} for e in tune.candidates(["backward"], ["labels"], [256, 128], 8192)[::24]]
    path = tmp_path / "tiles.json"
    path.write_text(json.dumps(tune.tile_lines(found, "sm90", lambda entry: "backward-labels")))
    monkeypatch.setenv("ECGLOSS_TILES", str(path))
    tile = table.tile("sm90", ("backward-labels",), "half", 256)
    assert (tile.rows, tile.width) == (found[0]["tile"]["rows"], 256)


def test_a_tile_within_the_noise_of_the_table_is_none(tmp_path):
    entry = tune.candidates(["forward"], ["ntxent"], [256], 8192)[0] | {"us": 98.0, "table us": 100.0, "spills": 0}
    assert tune.best({tune.key(entry): entry}, spills=0) == []
