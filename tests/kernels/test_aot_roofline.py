"""The static roofline counts what is in the machine code, and no kernel's instructions per pair grow unseen."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("triton", minversion="3.5")
if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
    pytest.skip("interpreted kernels (TRITON_INTERPRET) cannot be compiled", allow_module_level=True)

import static_roofline
from compile_kernels import Kernel
from covering import exhaustive_except
from roofline import sass
from roofline.counts import count
from roofline.model import Analysis

tile_table = static_roofline.kernels_module("tile_table")
# Instructions of a thread per pair, at most: those of Triton 3.9 and 3.6, and a twentieth.
BUDGETS = {
    ("sm90", "forward", 256, "ntxent"): 9.7,
    ("sm90", "backward", 256, "ntxent"): 14.5,
    ("sm90", "forward", 256, "clef paper"): 26.0,
    ("sm90", "backward", 256, "clef paper"): 34.6,
    ("sm90", "forward", 256, "clef official"): 31.5,
    ("sm90", "backward", 256, "clef official"): 30.4,
    ("sm90", "forward", 256, "labels"): 27.3,
    ("sm90", "backward", 256, "labels"): 29.5,
    ("sm90", "forward", 256, "features"): 38.0,
    ("sm90", "backward", 256, "features"): 55.0,
    ("sm80", "forward", 256, "clef official"): 56.0,
}
SOME = [b for b in BUDGETS if b[3] in ("ntxent", "clef official") and b[0] == "sm90"] + [
    ("sm90", "forward", 256, "labels"),
    ("sm90", "backward", 256, "features"),
]


@pytest.mark.parametrize(("architecture", "step", "width", "rule"), exhaustive_except(SOME, list(BUDGETS)))
def test_instructions_per_pair_stay_within_their_budget(architecture, step, width, rule):
    found = static_roofline.analyse(Kernel(architecture, step, "bf16", width, rule)).per_pair()["all"]
    budget = BUDGETS[architecture, step, width, rule]
    assert 0.7 * budget <= found <= budget, f"{found:.1f}: lower the budget too if this is a gain"


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
        /*00b0*/              @!PT LDS RZ, [RZ] ;
.L_x_4:
        /*00c0*/                   FADD R6, R6, R2 ;
        /*00d0*/               @P2 BRA `(.L_x_4) ;
        /*00e0*/               @P3 BRA `(.L_x_3) ;
        /*00f0*/                   EXIT ;
"""


def test_the_ordinary_tile_takes_the_arm_without_masks():
    found = count(CODE, tensor_turns=1, other_turns=5, tensor=4096, bank=128).opcodes
    assert "ISETP" not in found
    assert "FSEL" not in found
    assert found["MUFU"] == found["FFMA"] == found["HGMMA"] == found["LDGSTS"] == 1
    assert found["FADD"] == 5, "the inner loop turns five times"
    assert found["NEVER"] == 1, "a guard that is never true"


def test_blocks_that_nothing_reaches_do_not_hide_a_loop():
    blocks = sass.parse(CODE)
    outer, inner = sass.main_loop(blocks, lambda i: i.opcode == "HGMMA")
    assert len(inner) == 1
    assert inner[0].body < outer.body


def test_code_without_a_product_is_refused():
    with pytest.raises(ValueError, match="no loop with a matrix product"):
        count(CODE.replace("HGMMA.64x64x16.F32.BF16", "FFMA"), 1, 1, 4096, 128)


def test_programs_that_share_a_multiprocessor_fill_gaps_up_to_the_longest_pipe():
    tile, kernel = tile_table.Tile(64, 64, 256, 256, 4, 2), Kernel("sm90", "forward", "bf16", 256, "ntxent")
    counts = count(CODE, 1, 1, 4096, 128)
    alone = Analysis(kernel, tile, registers=255, spills=0, shared=150_000, counts=counts)
    shared = Analysis(kernel, tile, registers=255, spills=0, shared=90_000, counts=counts)
    assert (alone.per_multiprocessor, shared.per_multiprocessor) == (1, 2)
    one, two = alone.clocks(), shared.clocks()
    assert one["serial"] == one["mma"] + one["epilogue"]
    assert one["predicted"] == max(one["serial"], one["overlapped"])
    assert two["predicted"] == max(two["overlapped"], two["serial"] / 2)
    assert one["l2"] == 64 * 256 * 2 * 128 / (64 * 64) / 32


def test_a_product_of_another_size_is_noticed(monkeypatch):
    monkeypatch.setattr(static_roofline, "operations", lambda kernel, tile: 1e9)
    with pytest.raises(ValueError, match="operations per warp and tile"):
        static_roofline.analyse(Kernel("sm90", "forward", "bf16", 256, "ntxent"))
