"""The C++ kernels give the same bits for any number of threads and from run to run: experiments can be repeated."""

from __future__ import annotations

import pytest
import torch
from backends import needs_cpp
from rule_cases import evaluate, problem

pytestmark = needs_cpp

RULES = ["uniform", "clef official", "clef of 3 risks, power 1", "labels", "features or labels", "uniform, matched"]
WIDTH = 8  # little work per pair, so that threads meet often


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n", [126, 514, 1030, 2050])
@pytest.mark.parametrize("rule", RULES)
def test_the_number_of_threads_does_not_change_a_bit(rule, n, dtype, set_threads):
    p = problem(rule, "random", n, WIDTH, 0.07).rounded(dtype)
    set_threads(1)
    expected = evaluate(p, "cpp")
    for count in (2, 3, 7):
        set_threads(count)
        assert evaluate(p, "cpp").same_bits(expected), f"{count} threads"


@pytest.mark.parametrize("rule", RULES)
def test_a_second_run_does_not_change_a_bit(rule, set_threads):
    set_threads(4)
    p = problem(rule, "correlated", 1030, WIDTH, 0.02).rounded(torch.float32)
    expected = evaluate(p, "cpp")
    for _ in range(5):
        assert evaluate(p, "cpp").same_bits(expected)


def test_the_comparison_sees_one_bit():
    """The two tests above could not fail if it did not."""
    p = problem("uniform", "random", 6, WIDTH, 0.07).rounded(torch.float32)
    result, other = evaluate(p, "cpp"), evaluate(p, "cpp")
    other.q_gradient[5, 7] = torch.nextafter(other.q_gradient[5, 7], torch.tensor(torch.inf))
    assert not result.same_bits(other)
