"""The experimental forward in Gluon, compiled for a Hopper GPU: the epilogue of a tile runs under the next product."""

from __future__ import annotations

import importlib
import os
import re

import pytest
from covering import exhaustive_except

pytest.importorskip("triton", minversion="3.6")
if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
    pytest.skip("interpreted kernels (TRITON_INTERPRET) cannot be compiled", allow_module_level=True)
pytest.importorskip("triton.experimental.gluon._runtime", reason="this Triton has no Gluon")

import compile_kernels as compiler
import static_roofline
import triton
from roofline import sass
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource


@pytest.mark.parametrize("rule", exhaustive_except(["ntxent"], ["ntxent", "clef paper"]))
def test_exponentials_run_under_the_next_product(rule):
    launch = compiler.kernels_module("launch_gluon")
    kernel = importlib.import_module("ecgloss.kernels.gluon_forward").gluon_forward_kernel
    weights, alignment = compiler.rules()[rule]
    tile = launch.choose_tile(weights)
    constants = {"RULE": weights, "ALIGNMENT": alignment, "FIXED_MAXIMUM": True, "D": 256, "tau_pointer": None}
    constants |= {"BLOCK_M": tile.rows, "BLOCK_N": tile.columns, "WARPS": tile.warps}
    constants |= {"STAGES": tile.stages, "TURN": tile.turn, "HELD": tile.held}
    described = compiler.Kernel("sm90", "forward", "bf16", 256, rule)
    signature = {n: "constexpr" if n in constants else compiler.type_of(n, described) for n in kernel.arg_names}
    for name, rows in (("u_rows", tile.rows), ("u_cols", tile.columns)):
        layout = gl.NVMMASharedLayout.get_default_for([rows, 256], gl.bfloat16)
        signature[name] = f"tensordesc<bf16[{rows}, 256],{layout!r}>"
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(kernel.arg_names) if signature[n].startswith("*")}
    source = GluonASTSource(kernel, signature, constants, aligned)
    options = {"num_warps": tile.warps, "enable_fp_fusion": True}
    cubin = triton.compile(source, target=compiler.TARGETS["sm90"], options=options).asm["cubin"]

    blocks = sass.parse(static_roofline.disassemble(cubin))
    loop, _inner = sass.main_loop(blocks, lambda i: i.opcode == "HGMMA")
    code = [i for place in sorted(loop.body) for i in blocks[place].code]
    order = re.sub(r"P+|E+", lambda x: x[0][0], "".join(letter(i) for i in code))
    # A wait "W" leaves the product started last, "w" at the end of a turn none; some exponentials need no product.
    assert re.fullmatch(rf"(PE)+P(W(EP)+){{{tile.turn - 2}}}WEw", order), order
    assert compiler.cuda_usage(cubin)[1] == 0, "spills"


def letter(instruction):
    """P for a matrix product, E for an exponential, W for a wait for products, w for one for all of them."""
    if instruction.opcode == "HGMMA":
        return "P"
    if instruction.name == "MUFU.EX2":
        return "E"
    if instruction.name.startswith("WARPGROUP.DEPBAR"):
        return "w" if instruction.rest.endswith("0x0") else "W"
    return ""
