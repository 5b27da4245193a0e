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
from triton.experimental.gluon._runtime import GluonASTSource


@pytest.mark.parametrize("rule", exhaustive_except(["ntxent"], ["ntxent", "clef paper", "clef official"]))
def test_exponentials_run_under_the_next_product(rule):
    launch = compiler.kernels_module("launch_gluon")
    kernel = importlib.import_module("ecgloss.kernels.gluon_forward").gluon_forward_kernel
    weights, alignment = compiler.rules()[rule]
    constants = {"RULE": weights, "ALIGNMENT": alignment, "FIXED_MAXIMUM": True, "D": 256, "tau_pointer": None}
    constants |= {"BLOCK_M": launch.ROWS, "BLOCK_N": launch.COLUMNS, "WARPS": launch.WARPS}
    constants["STAGES"] = launch.stages(weights)
    described = compiler.Kernel("sm90", "forward", "bf16", 256, rule)
    signature = {n: "constexpr" if n in constants else compiler.type_of(n, described) for n in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(kernel.arg_names) if signature[n].startswith("*")}
    source = GluonASTSource(kernel, signature, constants, aligned)
    options = {"num_warps": launch.WARPS, "enable_fp_fusion": True}
    cubin = triton.compile(source, target=compiler.TARGETS["sm90"], options=options).asm["cubin"]

    blocks = sass.parse(static_roofline.disassemble(cubin))
    loop, inner = sass.main_loop(blocks, lambda i: i.opcode == "HGMMA")
    taken = sass.cheapest_turn(blocks, loop, inner)
    names = [i.name for place in sorted(taken) for i in blocks[place].code]
    order = re.sub(r"P+|E+", lambda x: x[0][0], "".join(letter(name) for name in names))
    assert order.count("P") >= 2
    assert order.count("W") == 2, "two tiles per turn"
    assert "PW" not in order + order, f"{order}: a product is waited for before the exponentials of another tile"
    assert compiler.cuda_usage(cubin)[1] <= (64 if rule == "clef official" else 0)


def letter(name):
    """P for a matrix product, E for an exponential, W for waiting for products; nothing for others."""
    if name.startswith("HGMMA"):
        return "P"
    if name == "MUFU.EX2":
        return "E"
    return "W" if name.startswith("WARPGROUP.DEPBAR") else ""
