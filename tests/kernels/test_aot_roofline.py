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


def test_a_product_of_another_size_is_noticed(monkeypatch):
    monkeypatch.setattr(static_roofline, "operations", lambda kernel, tile: [1e9])
    with pytest.raises(ValueError, match="operations per warp and tile"):
        static_roofline.analyse(Kernel("sm90", "forward", "bf16", 256, "ntxent"))


def test_a_tile_is_tried_as_the_table_prints_it():
    assert static_roofline.tile_of("64x32x128/256 w4 s3", 512)[:6] == (64, 32, 128, 256, 4, 3)
    assert static_roofline.tile_of("128x64x256w8s2", 256)[:6] == (128, 64, 256, 256, 8, 2)
    with pytest.raises(SystemExit):
        static_roofline.main(["--tile", "128x64"])
