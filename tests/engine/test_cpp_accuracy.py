"""The C++ kernels are as accurate as plain materialised code: every rule, hard data, all dtypes, awkward shapes."""

from __future__ import annotations

import pytest
import torch
from backends import needs_cpp
from covering import each_value, pairwise
from error_rule import assert_as_accurate_as_plain_code, temperature_floor
from rule_cases import KINDS, RULES, TAUS, evaluate, problem

pytestmark = needs_cpp

SHAPES = [
    *((6, d) for d in (1, 64, 1024)),
    *((126, d) for d in (1, 123, 256, 2048)),
    *((514, d) for d in (7, 64, 1024)),
    *((1030, d) for d in (1, 123, 256)),
]


@pytest.fixture(autouse=True)
def one_thread(set_threads):
    """Problems this small wait for threads longer than they compute."""
    set_threads(1)


@pairwise(rule=RULES, kind=KINDS, tau=TAUS)
def test_fp32_training_gets_the_loss_and_gradients_of_the_definition(rule, kind, tau):
    assert_as_accurate_as_plain_code(rule, kind, 6, 7, tau, draws=3)
    assert_as_accurate_as_plain_code(rule, kind, 126, 64, tau, draws=4)


@each_value(rule=RULES, kind=KINDS, dtype=[torch.bfloat16, torch.float16])
def test_half_precision_embeddings_lose_nothing_but_their_own_rounding(rule, kind, dtype):
    for tau in (0.02, 0.5):
        assert_as_accurate_as_plain_code(rule, kind, 54, 23, tau, dtype)


@each_value(rule=RULES, kind=KINDS)
def test_fp64_embeddings_get_fp64_results(rule, kind):
    for tau, n, d in ((0.005, 6, 7), (0.02, 102, 23), (10.0, 54, 7)):
        p = problem(rule, kind, n, d, tau)
        if kind == "duplicates" and p.setting.alignment == "minmax":
            continue  # which of the ties is the smallest similarity is up to rounding in the reference
        # The reference's own exponentials, as wrong as its log-sum-exps of size 1 / tau, no longer add up to 1.
        cancelled = temperature_floor(p, torch.finfo(torch.float64).eps) / min(tau, 1.0)
        expected = evaluate(p, "reference").named()
        for name, mine in evaluate(p, "cpp").named().items():
            true = expected[name]
            known = torch.isfinite(true)
            assert torch.equal(known, torch.isfinite(mine))
            # fp64 rounding, 1e-16, times 1/tau, and times 100 where a min-max stretches nearly parallel rows.
            floor = cancelled if name == "tau_gradient" else 1e-15
            assert (mine[known] - true[known]).norm() <= 1e-10 * true[known].norm() + floor, name


BASIC = ["uniform", "features or labels", "uniform, matched"]
MOST = [*BASIC, "clef official"]


def size(rule, n, d):
    """Large problems are slow, and one rule says most of what they have to say."""
    if max(n, d) < 500:
        return ()
    return pytest.mark.slow if rule == "features or labels" else pytest.mark.exhaustive


COVERED = [
    *(pytest.param(rule, *shape, marks=size(rule, *shape)) for rule in MOST for shape in SHAPES),
    # The min-max of the two similarities of N = 2 rows is 0 and 1 whatever they are: its gradient is rounding alone.
    *((rule, 2, d) for rule in [*BASIC, "clef paper"] for d in (1, 7, 2048)),
]


@pytest.mark.parametrize(("rule", "n", "d"), COVERED)
def test_no_batch_size_or_width_is_special(rule, n, d):
    kind = "nearly parallel" if d > 64 else "correlated"
    # The min-max hands a large gradient to one pair, whose rounding makes a single draw a lottery.
    draws = 6 if rule == "clef official" else 3 if n < 100 else 1
    assert_as_accurate_as_plain_code(rule, kind, n, d, 0.07, draws=draws)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["clef paper", "clef mean", "gaussian", "labels, columns", "risk queue, softmax"])
@pytest.mark.parametrize(("n", "d"), [(514, 123), (1030, 7)])
def test_several_blocks_of_rows_add_up(rule, n, d):
    assert_as_accurate_as_plain_code(rule, "random", n, d, 0.02, draws=1)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["uniform", "clef official", "clef mean", "labels"])
@pytest.mark.parametrize("tau", [0.02, 0.07])
def test_an_untrained_encoder_gets_the_gradient_of_a_learnable_temperature(rule, tau):
    """Nearly parallel rows in several blocks: sums of g s with s near 1 cancel to a hundredth of their terms."""
    assert_as_accurate_as_plain_code(rule, "nearly parallel", 514, 64, tau, draws=8, strict=True)
