"""The static roofline counts an ordinary tile of a disassembly, and its clocks are those of the documented model."""

from __future__ import annotations

import json
from types import SimpleNamespace

import gpu_steps
import pytest
import torch
import write_tables
from roofline import predictions, report, sass
from roofline.chips import CHIPS
from roofline.counts import count
from roofline.model import Analysis

CODE = """
.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_3:
        /*0010*/                   HGMMA.64x64x16.F32.BF16 R24, gdesc[UR4], RZ ;
        /*0020*/              @!P0 BRA `(.L_x_1) ;
        /*0030*/                   ISETP.NE.AND P1, PT, R0, R1, PT ;
        /*0040*/                   FSEL R2, R2, RZ, P1 ;
        /*0041*/                   SEL R1, R1, RZ, P1 ;
        /*0042*/                   SEL R2, R2, RZ, P1 ;
        /*0043*/                   SEL R3, R3, RZ, P1 ;
        /*0044*/                   SEL R4, R4, RZ, P1 ;
        /*0045*/                   SEL R5, R5, RZ, P1 ;
        /*0046*/                   SEL R6, R6, RZ, P1 ;
        /*0050*/                   MUFU.EX2 R2, R2 ;
        /*0060*/                   BRA `(.L_x_2) ;
        /*0070*/                   NOP ;
.L_x_1:
        /*0080*/                   FFMA R2, R3, R4, R5 ;
        /*0090*/                   MUFU.EX2 R2, R2 ;
.L_x_2:
        /*00a0*/                   LDGSTS.E.BYPASS.128 [R7], [R8.64] ;
        /*00a1*/                   LDGSTS.E.64 [R7], [R8.64] ;
        /*00b0*/              @!PT LDS RZ, [RZ] ;
.L_x_4:
        /*00c0*/                   FADD R6, R6, R2 ;
        /*00d0*/               @P2 BRA `(.L_x_4) ;
        /*00e0*/               @P3 BRA `(.L_x_3) ;
        /*00f0*/                   EXIT ;
"""
# Softmax's normaliser: a block of exponentials that the first view of the columns skips.
NORMALISER = """
        /*0021*/              @!P4 BRA `(.L_x_9) ;
        /*0022*/                   MUFU.EX2 R9, R9 ;
        /*0023*/                   FADD R8, R8, R9 ;
.L_x_9:
        /*0024*/              @!P0 BRA `(.L_x_1) ;
"""


def counted(code=CODE, **more):
    return count(code, **{"tensor_turns": 1, "other_turns": 5, "tensor": 4096, "bank": 128} | more)


def analysis(counts, **more):
    tile = SimpleNamespace(rows=64, columns=64, depth=256, width=256, warps=4, stages=2, occupancy=1)
    kernel = SimpleNamespace(architecture="sm90", step="forward", width=256, rule="ntxent")
    given = {"kernel": kernel, "tile": tile, "registers": 255, "spills": 0, "shared": 90_000}
    return Analysis(**given | {"counts": counts, "needed": counts.operations} | more)


def test_the_ordinary_tile_takes_the_arm_without_masks():
    found = counted().opcodes
    assert "ISETP" not in found
    assert "FSEL" not in found
    assert found["MUFU"] == found["FFMA"] == found["HGMMA"] == 1
    assert found["FADD"] == 5, "the inner loop turns five times"
    assert found["NEVER"] == 1, "a guard that is never true"


def test_what_runs_in_one_view_of_the_columns_counts_half():
    found = counted(CODE.replace("        /*0020*/              @!P0 BRA `(.L_x_1) ;\n", NORMALISER)).opcodes
    assert found["MUFU"] == 1.5
    assert found["FADD"] == 5.5


def test_bytes_and_operations_of_a_warp_follow_from_its_instructions():
    found = counted()
    assert found.operations == 2 * 64 * 64 * 16 / 4, "a quarter of a warpgroup's product"
    assert found.operand_bytes == (64 + 64) * 16 * 2 / 4
    assert found.copied_bytes == 32 * 16, "vectors of the columns are no embeddings"
    assert found.tensor_clocks == max(found.operations / 4096, found.operand_bytes / 128)
    assert counted(CODE.replace("R24, gdesc", "R24, R4, gdesc")).operand_bytes == 64 * 16 * 2 / 4
    fragments = counted(CODE.replace("HGMMA.64x64x16.F32.BF16", "HMMA.16816.F32.BF16"))
    assert fragments.operations == 2 * 16 * 8 * 16


def test_blocks_that_nothing_reaches_do_not_hide_a_loop():
    blocks = sass.parse(CODE)
    outer, inner = sass.main_loop(blocks, lambda i: i.opcode == "HGMMA")
    assert len(inner) == 1
    assert inner[0].body < outer.body


def test_code_without_a_product_is_refused():
    with pytest.raises(ValueError, match="no loop with a matrix product"):
        counted(CODE.replace("HGMMA.64x64x16.F32.BF16", "FFMA"))


def test_programs_that_share_a_multiprocessor_fill_gaps_up_to_the_longest_pipe():
    counts = counted()
    alone, shared = analysis(counts, shared=150_000), analysis(counts)
    assert (alone.per_multiprocessor, shared.per_multiprocessor) == (1, 2)
    one, two = alone.clocks(), shared.clocks()
    assert one["serial"] == one["mma"] + one["epilogue"]
    assert one["predicted"] == max(one["serial"], one["overlapped"])
    assert two["predicted"] == max(two["overlapped"], two["serial"] / 2)
    assert one["l2"] == 64 * 256 * 2 * 128 / (64 * 64) / 32


def test_a_packed_instruction_is_two_operations():
    packed = analysis(counted(CODE.replace("FFMA R2", "FFMA2 R2"))).clocks()
    once = analysis(counted()).clocks()
    assert packed["fma"] - once["fma"] == 4 * 128 * 32 / (64 * 64) / 128
    assert packed["issue"] == once["issue"]


def test_the_last_wave_waits_for_no_more_programs_than_are_left():
    both = analysis(counted())
    one, two = (max(k * both.clocks()["overlapped"], both.clocks()["serial"]) for k in (1, 2))
    assert both.waves(132) == one
    assert both.waves(133) == both.waves(264) == two
    assert both.waves(264 + 100) == two + one


def test_strips_take_their_product_and_their_way_through_memory_along():
    found, chip, n = analysis(counted()), CHIPS["sm90"], 8192
    found.kernel.step = "strip"
    kernels = 4 * found.waves(2048 // 64) * 64 * 64 / 128 * (n / 64) / chip.ghz / 1e6
    product = 2 * n * n * 256 / (0.75 * 132 * chip.ghz * 1e9 * chip.tensor)
    memory = 4 * n * n / chip.memory
    total = found.milliseconds(n, lambda programs, tiles, at_once, rows: 1, strip_rows=2048)
    assert total == pytest.approx(kernels + 1000 * (product + memory))


def test_the_page_says_that_it_is_a_model_and_adds_up_steps():
    counts = counted()
    entries = [
        report.entry(analysis(counts), {8192: 1.0}),
        report.entry(analysis(counts, needed=counts.operations / 1.5), {8192: 2.5}),
    ]
    page = report.markdown({"triton": "3"}, entries, [8192])
    assert "not a measurement" in page
    assert "| sm90 | 256 | ntxent | 3.5 |" in page
    assert "(1.50 x)" in report.line(entries[1])
    assert "x)" not in report.line(entries[0])


@pytest.fixture
def results(tmp_path, monkeypatch):
    ms = {"8192": 1.0, "32768": 16.0}
    kernels = [
        {"architecture": "sm90", "rule": "ntxent", "D": 256, "pass": step, "ms": {n: factor * x for n, x in ms.items()}}
        for step, factor in (("forward", 1), ("backward", 2))
    ]
    path = tmp_path / "static-roofline.json"
    path.write_text(json.dumps({"kernels": kernels}))
    monkeypatch.setattr(predictions, "RESULTS", path)


@pytest.mark.usefixtures("results")
def test_a_prediction_is_of_the_nearest_size_and_says_so():
    assert predictions.predicted("ntxent", 32768, 256, "sm90") == (16, 32, 32768)
    scaled = predictions.predicted("ntxent", 4096, 256, "sm90")
    assert (scaled.step, scaled.of) == (3 / 4, 8192)
    figure = SimpleNamespace(case=SimpleNamespace(n=4096), info={"predicted": 0.75, "predicted of": 8192})
    assert write_tables.prediction(figure) == "0.75 (by N^2 from 8,192)"
    assert predictions.predicted("ntxent", 8192, 256, "sm70") is None
    assert predictions.predicted("labels", 8192, 256, "sm90") is None


@pytest.mark.usefixtures("results")
def test_predicted_and_measured_stand_beside_each_other_and_a_fault_costs_one_line():
    def measure(rule, d):
        return 20.0, 40.0

    def fault(rule, d):
        raise RuntimeError("illegal address")

    lines = predictions.beside_measured("sm90", measure)
    assert lines[1] == "ntxent, D = 256: 16.00 + 32.00 | 20.00 + 40.00 | forward 1.25, backward 1.25, step 1.25"
    assert lines[2] == "clef paper, D = 256: no prediction for sm90"
    assert "RuntimeError: illegal address" in predictions.beside_measured("sm90", fault)[1]
    late = iter([0.0, 61.0])
    assert "not measured within 60 s" in predictions.beside_measured("sm90", measure, lambda: next(late))[1]


@pytest.mark.parametrize("rule", ["ntxent", "clef official", "labels", "features"])
def test_a_step_of_every_rule_has_a_gradient(rule):
    z, loss = gpu_steps.step_of(rule, 64, 16, device="cpu", backend="chunked")
    (gradient,) = torch.autograd.grad(loss(), z)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
