"""Every instruction set the extension was built for and this machine can run gives the loss."""

from __future__ import annotations

import pytest
import torch
from backends import needs_cpp
from covering import each_value
from error_rule import assert_as_accurate_as_plain_code
from rule_cases import RULES, evaluate, problem

import ecgloss.functional as F
from ecgloss.engine import availability, extension
from ecgloss.engine.availability import EXTENSION

pytestmark = needs_cpp
SETS = [] if EXTENSION is None else EXTENSION.instruction_sets()


@pytest.fixture
def use():
    """Chooses an instruction set; the one before is back afterwards."""
    before = EXTENSION.instruction_set()
    yield EXTENSION.use_instruction_set
    EXTENSION.use_instruction_set(before)


@each_value(rule=RULES, instruction_set=SETS)
def test_older_processors_get_the_same_loss(rule, instruction_set, use):
    use(instruction_set)
    assert EXTENSION.instruction_set() == instruction_set
    for kind, tau, n, d in (("random", 0.005, 54, 23), ("nearly parallel", 0.07, 126, 64), ("zero rows", 0.5, 6, 1)):
        assert_as_accurate_as_plain_code(rule, kind, n, d, tau)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("rule", ["uniform", "clef official", "features or labels", "labels, columns"])
def test_older_processors_get_fp64(rule, instruction_set, use):
    use(instruction_set)
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
        EXTENSION.use_instruction_set("mmx")


@pytest.mark.parametrize("name", SETS)
def test_the_environment_can_name_the_instruction_set(name, use, monkeypatch):
    monkeypatch.setenv("ECGLOSS_INSTRUCTION_SET", name)
    assert extension.choose_instruction_set(EXTENSION) is None
    assert EXTENSION.instruction_set() == name
    assert f"kernels for {name} " in availability.describe_extension()


def test_an_instruction_set_that_is_not_there_is_an_error_and_not_another_one(monkeypatch, rng):
    monkeypatch.setenv("ECGLOSS_INSTRUCTION_SET", "mmx")
    monkeypatch.setattr(availability, "EXTENSION_PROBLEM", extension.choose_instruction_set(EXTENSION))
    monkeypatch.delenv("ECGLOSS_BACKEND", raising=False)
    z = torch.randn(2, 4, 3, generator=rng)
    for backend in ("auto", "cpp"):
        with pytest.raises(ValueError, match=r"variable ECGLOSS_INSTRUCTION_SET: .*'mmx'.*accepted: .*generic"):
            F.ntxent(*z, backend=backend)
    assert "ECGLOSS_INSTRUCTION_SET" in next(s.note for s in availability.backends() if s.name == "cpp")
    assert torch.isfinite(F.ntxent(*z, backend="chunked"))
