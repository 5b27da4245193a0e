"""Kernels compiled for GPUs that are not there: they fit the chip, nothing spills, tensor cores are used."""

from __future__ import annotations

import functools
import importlib
import itertools
import os

import pytest
from covering import each_value, exhaustive_except, pairwise

pytest.importorskip("triton", minversion="3.5")
if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
    pytest.skip("interpreted kernels (TRITON_INTERPRET) cannot be compiled", allow_module_level=True)

ARCHITECTURES = ("sm80", "sm89", "sm90", "sm100", "gfx942")
MATRIX_UNIT = {"sm80": "mma.sync", "sm89": "mma.sync", "sm90": "wgmma", "sm100": "tcgen05", "gfx942": "mfma"}
STEPS = ("forward", "backward")
TABLE_STEPS = (
    ("forward",),
    ("forward-weighted", "forward"),
    ("forward-moments",),
    ("backward",),
    ("backward-weighted", "backward"),
    ("strip",),
    ("strip-weighted", "strip"),
    *((f"{step}-{kind}", f"{step}-dense") for step in STEPS for kind in ("labels", "features", "gaussian")),
)
# Padded widths: powers of two, and multiples of 128 that are none.
TABLE_WIDTHS = (16, 32, 64, 128, 256, 384, 512, 640, 768, 1024, 2048)


# Bytes that a tile may spill, because on an H100 it was faster than all that spill nothing. Where the maximum runs (a
# small temperature, or one on the GPU) the tiles are those of a fixed one, and may spill some.
SPILLS_LITTLE = {("sm90", "backward", "bf16", 256, "labels"): 8, ("sm90", "backward", "bf16", 128, "features"): 8}
SPILLS_WHERE_THE_MAXIMUM_RUNS = 128


@pytest.fixture(scope="module")
def bench():
    """The ahead-of-time compiler of kernels, which is :mod:`compile_kernels`."""
    return importlib.import_module("compile_kernels")


@pytest.fixture(scope="module")
def measure(bench):
    """Compile a kernel described by the fields of ``bench.Kernel``."""
    return functools.cache(lambda *fields, **more: bench.resources(bench.Kernel(*fields, **more)))


def assert_fast(found):
    """Fits, keeps everything in registers, and multiplies 16-bit numbers on the chip's fastest unit."""
    kernel = found.kernel
    kind = (kernel.architecture, kernel.step, kernel.dtype, kernel.width, kernel.rule)
    least = SPILLS_WHERE_THE_MAXIMUM_RUNS if kernel.temperature == "device" and kernel.dtype == "bf16" else 0
    assert found.faults(max(least, SPILLS_LITTLE.get(kind, 0))) == []
    if found.kernel.dtype == "bf16":
        assert found.matrix_instructions.get(MATRIX_UNIT[found.kernel.architecture], 0) > 0
    if found.kernel.dtype == "tf32":
        assert sum(found.matrix_instructions.values()) > 0


@pairwise(architecture=ARCHITECTURES, width=[64, 128, 256, 512], step=STEPS, dtype=["bf16", "fp32"])
def test_clef_is_fast_on_every_gpu(bench, measure, architecture, width, step, dtype):
    # Missing fractions, min-max alignment, a running maximum and the gradient of the temperature: all that costs.
    if step == "backward":
        step = bench.gradient_step(architecture, dtype, width, "clef official")
    assert_fast(measure(architecture, step, dtype, width, "clef official", "device"))


OTHERS = [
    *itertools.product(("sm80", "sm90"), STEPS, ["bf16"], [256], ["ntxent", "clef paper"], ["device"]),
    ("sm90", "forward", "bf16", 256, "clef mean", "device"),
    *itertools.product(("sm89", "sm100", "gfx942"), STEPS, ["bf16"], [128], ["clef paper"], ["learned"]),
    *itertools.product(["sm90"], STEPS, ["bf16"], [256], ["clef official"], ["learned", "constant"]),
    *itertools.product(["sm90"], STEPS, ["fp32"], [128], ["clef official"], ["learned", "constant"]),
    *itertools.product(["sm80", "sm90"], STEPS, ["tf32"], [128], ["clef official"], ["device"]),
    *itertools.product(["sm80", "sm90"], ["strip"], ["tf32"], [512], ["clef official"], ["device"]),
    ("sm90", "strip", "bf16", 512, "clef mean", "device"),
    *itertools.product(("sm80", "sm90", "gfx942"), ("forward", "strip"), ["bf16"], [1024], ["clef paper"], ["device"]),
]


SOME_OTHERS = [
    ("sm90", "forward", "bf16", 256, "clef mean", "device"),
    ("sm90", "strip", "bf16", 512, "clef mean", "device"),
    ("sm90", "backward", "bf16", 256, "clef official", "learned"),
    ("sm90", "backward", "tf32", 128, "clef official", "device"),
    ("sm80", "strip", "bf16", 1024, "clef paper", "device"),
]


NAMES = ("architecture", "step", "dtype", "width", "rule", "temperature")


@pytest.mark.parametrize(NAMES, exhaustive_except(SOME_OTHERS, OTHERS))
def test_other_losses_widths_and_temperatures_are_fast(measure, architecture, step, dtype, width, rule, temperature):
    assert_fast(measure(architecture, step, dtype, width, rule, temperature))


@each_value(architecture=["sm80", "sm90", "gfx942"], step=STEPS, rule=["labels", "features", "gaussian"])
def test_losses_of_many_positives_are_fast(measure, architecture, step, rule):
    assert_fast(measure(architecture, step, "bf16", 128, rule))


@each_value(rule=["clef paper", "labels"], gains=["rows", "columns"])
def test_gradients_of_queries_and_of_keys_are_fast(measure, rule, gains):
    temperature = "device" if gains == "rows" else "constant"
    assert_fast(measure("sm90", "backward", "bf16", 256, rule, temperature, gains=gains))


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "cpu"])
def test_every_width_has_tiles_that_cover_it_without_a_rest(bench, architecture):
    pad, tile = bench.kernels_module("problem").PAD, bench.kernels_module("tile_table").tile
    products = ("half", "ieee") if architecture == "gfx942" else ("half", "ieee", "tensor")
    for step, product, width in itertools.product(TABLE_STEPS, products, TABLE_WIDTHS):
        if "backward" in step and not bench.kernels_module("tile_table").is_fused(architecture, product, width):
            continue
        sizes = tile(architecture, step, product, width)
        for size, whole in zip((sizes.rows, sizes.columns, sizes.depth), (pad, pad, width)):
            assert whole % size == 0
            assert size & (size - 1) == 0  # triton's vectors are powers of two long
        assert width % sizes.width == 0


def test_a_tile_beyond_shared_memory_is_found_out(bench):
    tile = bench.kernels_module("tile_table").Tile(128, 128, 512, 512, 8, 2)
    faults = bench.resources(bench.Kernel("sm90", "forward", "bf16", 512, "ntxent"), tile).faults()
    assert any("shared memory" in fault for fault in faults)


def test_a_tile_beyond_the_registers_is_found_out(bench):
    tile = bench.kernels_module("tile_table").Tile(128, 128, 128, 128, 4, 2)
    faults = bench.resources(bench.Kernel("sm80", "backward", "bf16", 128, "clef paper"), tile).faults()
    assert any("spilled" in fault for fault in faults)
