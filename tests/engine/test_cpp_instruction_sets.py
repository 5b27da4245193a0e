"""Every instruction set the extension was built for and this machine can run gives the loss."""

from __future__ import annotations

import pytest
import torch
from backends import needs_cpp
from error_rule import assert_as_accurate_as_plain_code
from rule_cases import RULES, evaluate, problem

from ecgloss.engine.dispatch import _EXTENSION

pytestmark = needs_cpp
SETS = [] if _EXTENSION is None else _EXTENSION.instruction_sets()


@pytest.fixture(params=SETS)
def instruction_set(request):
    """The extension on one of its instruction sets; the one before is back afterwards."""
    before = _EXTENSION.instruction_set()
    _EXTENSION.use_instruction_set(request.param)
    assert _EXTENSION.instruction_set() == request.param
    yield request.param
    _EXTENSION.use_instruction_set(before)


@pytest.mark.parametrize("rule", RULES)
def test_older_processors_get_the_same_loss(rule, instruction_set):
    for kind, tau, n, d in (("random", 0.005, 54, 23), ("nearly parallel", 0.07, 126, 64), ("zero rows", 0.5, 6, 1)):
        assert_as_accurate_as_plain_code(rule, kind, n, d, tau)


@pytest.mark.parametrize("rule", ["uniform", "clef official", "features or labels", "labels, columns"])
def test_older_processors_get_fp64(rule, instruction_set):
    p = problem(rule, "correlated", 126, 23, 0.07)
    expected = evaluate(p, "reference").named()
    for name, mine in evaluate(p, "cpp").named().items():
        true = expected[name]
        known = torch.isfinite(true)
        assert torch.equal(known, torch.isfinite(mine))
        assert (mine[known] - true[known]).norm() <= 1e-10 * true[known].norm()  # fp64 rounding times 1/tau


def test_every_build_has_kernels_for_any_processor():
    assert "generic" in SETS


def test_an_unknown_instruction_set_is_named_with_those_accepted():
    with pytest.raises(ValueError, match=r"'mmx'.*accepted: .*generic"):
        _EXTENSION.use_instruction_set("mmx")
