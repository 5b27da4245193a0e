"""The Triton kernels are as accurate as plain materialised code: on a GPU, or on a CPU under the interpreter."""

from __future__ import annotations

from functools import partial

import error_rule
import pytest
import torch
from backends import HALF, INTERPRETED, TRITON_DEVICE, needs_triton
from covering import each_value, exhaustive_except
from rule_cases import MAIN, RECTANGULAR, RULES, TAUS, evaluate, problem

from ecgloss.engine import pair_stats
from ecgloss.engine.kernel_package import kernels_module
from ecgloss.pairs import feature_pairs

pytestmark = needs_triton
assert_as_accurate = partial(
    error_rule.assert_as_accurate_as_plain_code, backend="triton", device=TRITON_DEVICE, draws=2
)


@each_value(rule=RULES, kind=["random", "nearly parallel"])
def test_every_rule_gets_the_loss_and_gradients_of_the_definition(rule, kind):
    assert_as_accurate(rule, kind, 40, 20, 0.07)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("rule", exhaustive_except(MAIN, RULES))
def test_half_precision_embeddings_lose_nothing_but_their_own_rounding(rule, dtype):
    assert_as_accurate(rule, "random", 54, 23, 0.1, dtype)


@each_value(rule=MAIN, kind=["correlated", "duplicates", "zero rows"], dtype=[torch.float32, *HALF])
def test_hard_embeddings_give_finite_and_right_gradients(rule, kind, dtype):
    assert_as_accurate(rule, kind, 42, 20, 0.07, dtype, draws=2)


@each_value(rule=MAIN, tau=TAUS)
def test_no_temperature_is_too_small_or_too_large(rule, tau):
    assert_as_accurate(rule, "random", 36, 16, tau)
    assert_as_accurate(rule, "correlated", 36, 16, tau, torch.float16)


@pytest.mark.parametrize("rule", ["labels", "features or labels", "gaussian", "risk, one view"])
def test_the_gradient_of_the_temperature_bears_another_order_of_summation_in_the_backward(rule, monkeypatch):
    """Where the exponentials of the backward do not add up to the forward's sum, by 1 / tau roundings of S."""
    launch = kernels_module("launch_plan")
    whole = launch.tile

    def halves(architecture, passes, product, d):
        sizes = whole(architecture, passes, product, d)
        return sizes._replace(depth=d // 2) if "backward" in passes[-1] else sizes

    monkeypatch.setattr(launch, "tile", halves)
    assert_as_accurate(rule, "correlated", 36, 64, 0.005, torch.float16, draws=3)


@each_value(
    rule=["uniform", "clef paper", "features or labels", "uniform, matched"],
    shape=[(2, 1), (2, 7), (6, 1), (16, 16), (34, 3), (64, 64), (66, 65), (130, 37), (20, 257), (12, 300)],
)
def test_no_batch_size_or_width_is_special(rule, shape):
    n, d = shape
    kind = "correlated" if n > 2 else "random"
    assert_as_accurate(rule, kind, n, d, 0.2, draws=4 if n < 20 else 1)


@pytest.mark.parametrize(
    ("rule", "n", "d"),
    [
        ("clef official", 66, 65),
        ("labels", 66, 65),
        pytest.param("clef official", 130, 20, marks=pytest.mark.exhaustive),
        pytest.param("risk queue, softmax", 66, 33, marks=pytest.mark.exhaustive),
        pytest.param("gaussian, columns", 66, 33, marks=pytest.mark.exhaustive),
    ],
)
def test_parts_of_a_row_add_up(rule, n, d):
    assert_as_accurate(rule, "random", n, d, 0.07, draws=2)


@pytest.mark.parametrize("rule", exhaustive_except(["clef official"], MAIN))
def test_wide_half_precision_rows_are_multiplied_in_pieces(rule):
    assert_as_accurate(rule, "random", 34, 300, 0.1, torch.float16)


@each_value(
    rule=["clef official", "uniform, matched", "risk queue, softmax", "features or labels"],
    dtype=[torch.float32, *HALF],
)
def test_gradients_too_wide_for_registers_come_from_gradient_strips(rule, dtype, monkeypatch):
    launch = kernels_module("launch_backward")
    monkeypatch.setattr(launch, "is_fused", lambda architecture, product, width: False)
    monkeypatch.setattr(kernels_module("launch_gradient"), "STRIP_BYTES", 1)  # the fewest rows at a time
    computed = []
    monkeypatch.setattr(launch, "strip_gradient", wraps(launch.strip_gradient, computed))
    # Where the loss is a random functional of statistics, one draw may happen to cancel.
    assert_as_accurate(rule, "random", 140, 20, 0.1, dtype, draws=1 if rule in MAIN[:3] else 2)
    assert bool(computed) == (rule != "features or labels")  # which stays fused


@pytest.mark.parametrize(("rows", "held"), [(128, 128), (1024, 1024), (1152, 1024), (8192, 2048), (131_072, 2048)])
def test_a_gradient_strip_never_holds_all_of_many_rows(rows, held):
    launch = kernels_module("launch_gradient")
    assert launch.strip_rows(rows, 2 * rows) == held
    assert held * 2 * rows <= launch.STRIP_BYTES


def wraps(function, calls):
    def called(*args):
        calls.append(args)
        return function(*args)

    return called


@pytest.mark.parametrize("rule", [*MAIN, "risk queue, none", "labels, columns"])
def test_a_temperature_on_the_device_is_as_good_as_one_on_the_host(rule, monkeypatch):
    """Without looking at it, the maximum of every row has to run."""
    p = problem(rule, "random", 36, 16, 0.07).rounded(torch.float32)
    expected = evaluate(p, "triton", TRITON_DEVICE)
    problems, pointers = kernels_module("problem"), []
    if TRITON_DEVICE == "cpu":
        monkeypatch.setattr(problems, "on_host", lambda x: False)
    read = problems.read_temperature
    monkeypatch.setattr(problems, "read_temperature", lambda x: pointers.append(read(x)[0]) or read(x))
    moved = evaluate(p, "triton", TRITON_DEVICE, tau_device=TRITON_DEVICE)
    assert pointers
    assert all(isinstance(x, torch.Tensor) for x in pointers)
    for name, x in moved.named().items():
        torch.testing.assert_close(x.nan_to_num(7.0), expected.named()[name].nan_to_num(7.0), rtol=2e-5, atol=1e-6)


# The interpreter runs one program after the other, and twice for the poisoned buffers of test_triton_buffers.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("rule", MAIN[:2] if INTERPRETED else [*MAIN, *RECTANGULAR])
def test_two_runs_give_the_same_bits(rule, dtype):
    p = problem(rule, "correlated", 34, 16, 0.07).rounded(dtype)
    assert evaluate(p, "triton", TRITON_DEVICE).same_bits(evaluate(p, "triton", TRITON_DEVICE))


def test_small_batches_are_split_until_the_machine_is_full():
    """Rounds of programs per unit of work: 64 programs of 132 at once take 1 round, as 128 of half the size would."""
    choose = kernels_module("device").choose_splits
    assert choose(64, 64, 132, 1) == 2
    assert choose(4, 64, 132, 1) == 16
    assert choose(4, 64, 132, 2**27) == 2  # no more than memory allows
    assert choose(132, 64, 132, 1) == 1
    assert choose(1, 1, 132, 1) == 1
    assert choose(1024, 4096, 132, 1) == 1  # 16 parts would be 3 % quicker, and as many times the memory


def test_the_error_rule_notices_a_kernel_that_compares_a_row_with_itself(monkeypatch):
    for module in ("forward_pair", "backward_pair"):
        kernels = kernels_module(module)
        if not hasattr(kernels.is_excluded, "rewriter") and TRITON_DEVICE == "cuda":
            pytest.skip("compiled kernels keep what they were compiled from")
        monkeypatch.setattr(kernels, "is_excluded", lambda rows, cols, a, b, period: cols[None, :] < 0 * rows[:, None])
    with pytest.raises(AssertionError):
        assert_as_accurate("uniform", "random", 36, 16, 0.07)


@pytest.mark.parametrize("width", [50, 130])
def test_only_pairs_at_the_threshold_may_be_classified_otherwise(rng, width):
    """Cosines of features at stated distances from the threshold; and alike for (i, k) and (k, i)."""
    tolerance, threshold = kernels_module("prepare_features").COSINE_TOLERANCE, 0.6
    base = torch.nn.functional.normalize(torch.randn(width, generator=rng, dtype=torch.float64), dim=0)
    other = torch.randn(60, width, generator=rng, dtype=torch.float64)
    other = torch.nn.functional.normalize(other - (other @ base)[:, None] * base, dim=1)
    distances = torch.logspace(-8, -2, 30, dtype=torch.float64)
    wanted = torch.cat([threshold - distances, threshold + distances])[:, None]
    features = torch.cat([base[None, :], wanted * base + (1 - wanted**2).sqrt() * other]).float()
    exact = torch.nn.functional.normalize(features.double(), dim=1)
    cosine = exact @ exact.T
    z = torch.randn(len(features), 16, generator=rng).to(TRITON_DEVICE).requires_grad_()
    rule = feature_pairs(features.to(TRITON_DEVICE), threshold)
    stats = pair_stats(z, None, 0.2, rule, backend="triton")
    clear = (cosine - threshold).abs() > tolerance
    off_diagonal = ~torch.eye(len(features), dtype=torch.bool)
    certain = ((cosine >= threshold) & clear & off_diagonal).sum(1)
    unclear = (~clear & off_diagonal).sum(1)
    assert 0 < unclear[0] < 30, "some pairs are close, most are not"
    count = stats.positive_count.cpu()
    assert bool(((count >= certain) & (count <= certain + unclear)).all())
    assert int(count.sum()) % 2 == 0, "a pair is a positive of both or of none"
