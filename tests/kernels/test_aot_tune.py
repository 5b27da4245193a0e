"""A candidate of the search for tiles is what is compiled, checked and timed, on a GPU that is not there."""

from __future__ import annotations

import functools
import importlib
import os
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton", minversion="3.5")
if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
    pytest.skip("interpreted kernels (TRITON_INTERPRET) are not compiled", allow_module_level=True)

TILE = {"rows": 64, "cols": 32, "depth": 9999, "warps": 4, "stages": 3}
ENTRY = {"rule": "ntxent", "pass": "forward", "D": 64, "N": 256, "tile": TILE}


@pytest.fixture
def tuner(monkeypatch):
    found = importlib.import_module("tune_gpu")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(found, "step_of", functools.partial(found.step_of, device="cpu"))
    yield found
    found.launchers.cache_clear()


def test_the_pass_has_the_candidates_tile_and_the_others_theirs(tuner, gpu):
    launcher = tuner.launch_plan.tile
    step = tuner.run(ENTRY, 256, TILE | {"occupancy": 2, "prefetch": 3})
    (forward,) = [launch.arguments for launch in gpu.launches if launch.name == "forward_kernel"]
    assert step.kernel.compiled.metadata.num_warps == 4
    assert step.kernel.compiled.metadata.num_stages == 3
    names = tuner.kernels_module("forward").forward_kernel.arg_names
    given = dict(zip(names, forward, strict=True))
    assert (given["BLOCK_M"], given["BLOCK_N"], given["BLOCK_K"], given["PREFETCH"]) == (64, 32, 64, 3)
    (backward,) = [launch.arguments for launch in gpu.launches if launch.name == "backward_kernel"]
    names = tuner.kernels_module("backward").backward_kernel.arg_names
    expected = launcher("sm90", ("backward-uniform", "backward"), "half", 64)
    assert dict(zip(names, backward, strict=True))["BLOCK_N"] == expected.columns
    assert tuner.launch_plan.tile is launcher


def stand_in(tuner, monkeypatch, spills=0, wrong=0.0):
    """Steps of fixed outcome, which remember their tiles."""
    tiles = []

    def run(entry, n, sizes):
        tiles.append(sizes)
        compiled = SimpleNamespace(n_spills=spills, n_regs=200, metadata=SimpleNamespace(shared=50_000))
        gradient = torch.ones(4) + (0 if sizes is None else wrong)
        return tuner.Step(torch.tensor(2.0), gradient, tuner.Started(None, [sizes], compiled))

    monkeypatch.setattr(tuner, "run", run)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    properties = SimpleNamespace(shared_memory_per_multiprocessor=233_472)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    return tiles


def test_a_candidate_is_timed_beside_the_launchers_tile_as_often_as_it_fits(tuner, monkeypatch):
    tiles = stand_in(tuner, monkeypatch)
    timer = lambda kernels: [10.0 if kernel.arguments[0] is None else 7.0 for kernel in kernels]  # noqa: E731
    expected = {"us": 7.0, "table us": 10.0, "spills": 0, "at once": 2}
    assert tuner.measure(ENTRY, 0, timer) == expected
    assert tiles == [TILE, TILE | {"occupancy": 2}, None]
    assert tuner.measure(ENTRY, 0, timer) == expected
    assert tiles.count(None) == 1, "the launcher's step is kept"


def test_a_candidate_that_spills_or_is_wrong_is_not_timed(tuner, monkeypatch):
    stand_in(tuner, monkeypatch, spills=3)
    assert tuner.measure(ENTRY, 8, timer=None) == {"spills": 12}, "bytes, of which Triton counts fours"
    stand_in(tuner, monkeypatch, wrong=0.01)
    with pytest.raises(ValueError, match=r"gradient differs by 1\.0e-02"):
        tuner.measure(ENTRY, 0, timer=None)


def test_tiles_are_written_for_the_rule_that_was_measured(tuner):
    plan, rules = tuner.launch_plan, importlib.import_module("compile_kernels").rules()
    for rule in ("ntxent", "clef paper", "clef official", "labels", "features"):
        for step in ("forward", "backward"):
            assert tuner.pass_name({"rule": rule, "pass": step}) == plan.pass_names(step, *rules[rule])[0]
