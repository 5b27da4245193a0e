"""Arguments of a kernel go by name: their order cannot be wrong, a wrong name is an error, a wrong value is found."""

from __future__ import annotations

import pytest
import torch
from backends import INTERPRETED, TRITON_DEVICE, needs_triton
from error_rule import assert_as_accurate_as_plain_code
from rule_cases import evaluate, problem

from ecgloss.engine import availability
from ecgloss.engine.kernel_package import kernels_module

pytestmark = needs_triton
if availability.triton_obstacle() is None:  # these modules import triton
    launch_cache, finish = kernels_module("launch_cache"), kernels_module("forward_finish").finish_kernel
    LAUNCH = launch_cache.Pass.launch
SUMS = ("sums", "loss_out", "contrastive_out", "alignment_out", "numbers")
NUMBERS = ("contrastive_weight", "alignment_weight", "n", "m", "blocks", "ALIGNMENT", "BLOCK")


@pytest.mark.parametrize("rule", ["clef official", "features or labels"])
def test_the_order_of_names_at_a_launch_does_not_matter(rule, monkeypatch):
    p = problem(rule, "random", 20, 12, 0.07).rounded(torch.float32)
    expected = evaluate(p, "triton", TRITON_DEVICE)

    def backwards(run, kernel, tensors, configure):
        def configured():
            found = configure()
            return found._replace(arguments=dict(reversed(found.arguments.items())))

        LAUNCH(run, kernel, dict(reversed(tensors.items())), configured)

    monkeypatch.setattr(launch_cache.Pass, "launch", backwards)
    assert evaluate(p, "triton", TRITON_DEVICE).same_bits(expected)


@pytest.mark.parametrize(
    ("tensors", "numbers", "fault"),
    [
        (SUMS, NUMBERS[1:], "missing: contrastive_weight$"),
        (SUMS, (*NUMBERS[1:], "contrast_weight"), "missing: contrastive_weight; unknown: contrast_weight$"),
        ((*SUMS, "n"), NUMBERS, "given twice: n$"),
    ],
)
def test_an_argument_that_is_missing_unknown_or_given_twice_is_named(tensors, numbers, fault):
    run = launch_cache.Pass(launch_cache.LaunchSequence(problem=None), (None, 0.07))
    configuration = launch_cache.Configuration(1, dict.fromkeys(numbers), {})
    with pytest.raises(TypeError, match=rf"finish_kernel\(\) takes .*; {fault}"):
        run.launch(finish, dict.fromkeys(tensors), lambda: configuration)


@pytest.mark.skipif(not INTERPRETED, reason="a GPU may fault, and fail every test that follows")
@pytest.mark.parametrize(
    ("kernel", "first", "second", "rule"),
    [
        ("prepare_kernel", "shift", "n", "uniform"),
        ("forward_kernel", "alpha", "tau", "clef paper"),
        ("merge_rows_kernel", "n_compared", "views", "clef mean"),
        ("gains_kernel", "tau", "contrastive_weight", "clef paper"),
        ("backward_dense_kernel", "row_gains", "row_vectors", "labels"),
    ],
)
def test_the_error_rule_notices_two_arguments_that_were_exchanged(kernel, first, second, rule, monkeypatch):
    def exchanged(run, jitted, tensors, configure):
        def exchange(arguments):
            return {name: given[{first: second, second: first}.get(name, name)] for name in arguments}

        found = configure()
        given = {**tensors, **found.arguments}
        if jitted.__name__ == kernel:
            tensors, found = exchange(tensors), found._replace(arguments=exchange(found.arguments))
        LAUNCH(run, jitted, tensors, lambda: found)

    monkeypatch.setattr(launch_cache.Pass, "launch", exchanged)
    with pytest.raises(AssertionError):
        assert_as_accurate_as_plain_code(rule, "random", 36, 16, 0.07, backend="triton", device=TRITON_DEVICE)
