"""What torch's own machinery may ask of the Triton kernels: opcheck, whole graphs, autocast, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from backends import HALF, INTERPRETED, TRITON_DEVICE, needs_triton
from covering import each_value, exhaustive_except
from rule_cases import Problem, evaluate, problem

import ecgloss.functional as F
from ecgloss.engine import pair_stats
from ecgloss.engine.kernel_package import kernels_module
from ecgloss.engine.ops import ALIGNMENTS, dtype_name
from ecgloss.pairs import Layout, UniformPairs, label_pairs
from ecgloss.pairs.encoding import encode_layout

pytestmark = needs_triton
FORWARD, BACKWARD = torch.ops.ecgloss.pair_stats.default, torch.ops.ecgloss.pair_stats_backward.default
RULES = ["uniform", "clef paper", "clef official", "features or labels", "uniform, matched"]
SOME = ["uniform", "clef official", "labels", "uniform, matched"]


def arguments(p: Problem, requires_grad: bool) -> list[Any]:
    """What the forward op takes."""
    p = p.on(TRITON_DEVICE)
    q, q2 = (p.q[:-2], p.q[-2:]) if p.k is None else (p.q, None)
    q, q2, k = (None if x is None else x.clone().requires_grad_(requires_grad) for x in (q, q2, p.k))
    code, numbers, side = p.setting.rule.encode(torch.float32)
    alignment = ALIGNMENTS.index(p.setting.alignment)
    tau = torch.tensor(p.tau, requires_grad=requires_grad)
    rest = [list(code), list(numbers), encode_layout(p.setting.rule.layout), alignment, [1.0, 0.5]]
    return [q, q2, k, tau, *side, *rest]


@each_value(rule=RULES, dtype=[torch.float32, HALF[-1]], requires_grad=[True, False])
def test_opcheck_accepts_the_forward(rule, dtype, requires_grad):
    given = arguments(problem(rule, "random", 6, 5, 0.3).rounded(dtype), requires_grad)
    torch.library.opcheck(FORWARD, given)


@pytest.mark.parametrize("rule", exhaustive_except(["clef official", "features or labels"], RULES))
def test_opcheck_accepts_the_backward(rule):
    p = problem(rule, "random", 6, 5, 0.3).rounded(torch.float32)
    given = arguments(p, requires_grad=False)
    loss, _, _, rows, u, saved = FORWARD(*given)
    sizes = [6, 6 if p.k is not None else 4, 6 if p.k is None else len(p.k), 5]
    gradients = [torch.ones_like(loss), None, torch.full_like(loss, 2.0), torch.ones_like(rows)]
    for wanted in ([True, p.k is None, p.k is not None, True], [True, False, False, False]):
        tail = [sizes, dtype_name(p.q.dtype), dtype_name((p.q if p.k is None else p.k).dtype), wanted]
        torch.library.opcheck(BACKWARD, [*gradients, u, saved, given[3], *given[4:], *tail])


@pytest.mark.parametrize("rule", SOME)
def test_autocast_does_not_change_a_bit(rule):
    p = problem(rule, "random", 54, 23, 0.07).rounded(torch.float32)
    expected = evaluate(p, "triton", TRITON_DEVICE)
    with torch.autocast(TRITON_DEVICE, torch.bfloat16):
        assert evaluate(p, "triton", TRITON_DEVICE).same_bits(expected)


def ntxent(z1, z2, tau, risk, names):
    return F.ntxent(z1, z2, temperature=tau, backend="triton")


def clef(z1, z2, tau, risk, names):
    return F.clef(z1, z2, risk, preset="official", temperature=tau, backend="triton")


def supcon(z1, z2, tau, risk, names):
    stats = pair_stats(torch.cat([z1, z2]), None, tau, label_pairs(torch.cat([names, names])), backend="triton")
    return (stats.negative_lse - stats.positive_sum / stats.positive_count).mean()


def clip(z1, z2, tau, risk, names):
    rule = UniformPairs(Layout.matched(z1.shape[0], z2.shape[0]))
    return pair_stats(z1, z2, tau, rule, backend="triton").loss()


def batch(b: int) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    z = [torch.randn(b, 6, generator=g).to(TRITON_DEVICE).requires_grad_() for _ in range(2)]
    tau = torch.tensor(0.2, device=TRITON_DEVICE, requires_grad=True)
    return [*z, tau, torch.rand(b, generator=g).to(TRITON_DEVICE), (torch.arange(b) % 5).to(TRITON_DEVICE)]


@pytest.mark.parametrize("loss", exhaustive_except([clef, supcon], [ntxent, clef, supcon, clip]))
def test_a_compiled_training_step_holds_the_loss_in_one_graph(loss):
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=True)
    for b in (9, 14):
        given = batch(b)
        mine, expected = compiled(*given), loss(*given)
        # The kernels are the same; what is compiled around them may add up in another order.
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=0)
        for g, h in zip(torch.autograd.grad(mine, given[:3]), torch.autograd.grad(expected, given[:3])):
            torch.testing.assert_close(g, h, rtol=1e-5, atol=1e-7)


def test_risks_and_missing_fractions_may_be_columns_of_a_table(rng):
    z = [torch.randn(7, 5, generator=rng).to(TRITON_DEVICE) for _ in range(2)]
    table = torch.rand(7, 3, generator=rng, dtype=torch.float64).to(TRITON_DEVICE)
    expected = F.clef(*z, table[:, 1].clone(), table[:, 2].clone(), backend="triton")
    assert torch.equal(F.clef(*z, table[:, 1], table[:, 2], backend="triton"), expected)


@pytest.mark.parametrize("offset", [1, 4, 128])
def test_what_was_saved_may_come_back_from_anywhere(offset, rng):
    """As hooks do that keep saved tensors in the host's memory."""
    z = [torch.randn(9, 5, generator=rng).to(TRITON_DEVICE).requires_grad_() for _ in range(2)]
    risk = torch.rand(9, generator=rng).to(TRITON_DEVICE)

    def unpack(x):
        buffer = x.new_zeros(x.numel() + offset)
        buffer[offset:] = x.flatten()
        return buffer[offset:].view(x.shape)

    for preset in ("paper", "official"):
        expected = torch.autograd.grad(F.clef(*z, risk, preset=preset, backend="triton"), z)
        with torch.autograd.graph.saved_tensors_hooks(lambda x: x, unpack):
            loss = F.clef(*z, risk, preset=preset, backend="triton")
        assert all(torch.equal(g, h) for g, h in zip(torch.autograd.grad(loss, z), expected))


def test_equal_risks_weigh_nothing_more_than_missing_metadata_says(rng):
    z = [torch.randn(9, 5, generator=rng).to(TRITON_DEVICE).requires_grad_() for _ in range(2)]
    missing = torch.rand(9, generator=rng).to(TRITON_DEVICE)
    for risk in (torch.full((9,), 0.1), torch.full((9,), torch.nan)):
        for alpha in (0.0, 0.2):
            mine, true = (
                F.clef(*z, risk.to(TRITON_DEVICE), missing, weight_norm="mean", alpha=alpha, backend=backend)
                for backend in ("triton", "reference")
            )
            torch.testing.assert_close(mine, true, rtol=2e-6, atol=0)
            for g, h in zip(torch.autograd.grad(mine, z), torch.autograd.grad(true, z)):
                torch.testing.assert_close(g, h, rtol=1e-4, atol=1e-6)


def test_a_pair_that_weighs_next_to_nothing_is_finite(rng):
    z = [torch.randn(2, 5, generator=rng).to(TRITON_DEVICE).requires_grad_() for _ in range(2)]
    risk = torch.tensor([0.0, 1e-22], dtype=torch.float64).to(TRITON_DEVICE)
    for tau in (0.01, 0.07):
        loss = F.clef(*z, risk, weight_norm="mean", alpha=0.0, temperature=tau, backend="triton")
        assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, z))


@pytest.mark.parametrize("shift", [-3e-6, 3e-6])
def test_the_lowest_similarity_gets_its_gradient_however_the_forward_rounded_it(shift):
    """Products of other tile shapes round otherwise on a GPU; here the rounding is done by hand."""
    p = problem("clef official", "random", 40, 20, 0.07).rounded(torch.float32)
    given = arguments(p, requires_grad=False)
    loss, _, _, _, u, saved = FORWARD(*given)
    tail = [[40, 38, 40, 20], "float32", "float32", [True, True, False, False]]
    layout = kernels_module("memory_layout")
    gradients = []
    for error in (0.0, shift):
        rounded = saved.clone()
        vectors = rounded[: -layout.NUMBERS].view(-1, len(u))
        vectors[layout.ROW_MINIMUM.value] += error
        rounded[-layout.NUMBERS + layout.MINIMUM.value] += error
        gradients.append(BACKWARD(torch.ones_like(loss), None, None, None, u, rounded, *given[3:], *tail)[0])
    assert torch.equal(*gradients)
    scale = rounded[-layout.NUMBERS + layout.ALIGNMENT_BY_MINIMUM.value]
    assert scale != 0  # there is a gradient to lose


@pytest.fixture
def matmul():
    """torch's settings of fp32 products, restored afterwards."""
    settings = torch.backends.cuda.matmul
    if not hasattr(settings, "fp32_precision"):
        pytest.skip("torch has this setting from version 2.9 on")
    before = settings.fp32_precision
    yield settings
    settings.fp32_precision = before  # monkeypatch would delete it


@pytest.mark.parametrize(("setting", "allowed"), [("tf32", True), ("ieee", False)])
def test_either_way_to_allow_tf32_is_understood(setting, allowed, matmul):
    matmul.fp32_precision = setting
    assert kernels_module("device").tf32_allowed() == allowed
    z = torch.eye(4, device=TRITON_DEVICE)
    assert torch.isfinite(F.ntxent(z, z, backend="triton"))


def test_a_precision_set_for_another_device_does_not_concern_the_kernels(monkeypatch):
    def raises():
        raise RuntimeError("mixed ways to set the precision")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", raises)
    z = torch.eye(4, device=TRITON_DEVICE)
    assert torch.isfinite(F.ntxent(z, z, backend="triton"))


@pytest.mark.parametrize("rule", SOME)
def test_a_second_derivative_is_that_of_the_definition(rule):
    p = problem(rule, "random", 6, 5, 0.3).rounded(torch.float32).on(TRITON_DEVICE)
    q = p.q.requires_grad_()
    found = []
    for backend in ("triton", "reference"):
        stats = pair_stats(q, p.k, 0.3, p.setting.rule, alignment=p.setting.alignment, backend=backend)
        (g,) = torch.autograd.grad(stats.positive_sum.sum(), q, create_graph=True)
        found.append(torch.autograd.grad(g.square().sum(), q)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_what_requires_a_gradient_gets_one_and_the_same_one(wanted):
    p = problem("uniform, matched", "random", 6, 5, 0.3).rounded(torch.float32).on(TRITON_DEVICE)
    assert p.k is not None
    expected = evaluate(p, "triton", TRITON_DEVICE)
    leaves = [x.clone().requires_grad_(w) for x, w in zip((p.q, p.k, torch.tensor(p.tau, dtype=torch.float64)), wanted)]
    pair_stats(*leaves, p.setting.rule, backend="triton").loss().backward()
    names = ("q_gradient", "k_gradient", "tau_gradient")
    for leaf, given, name in zip(leaves, wanted, names):
        assert (leaf.grad is not None) == given
        assert leaf.grad is None or torch.equal(leaf.grad.cpu(), expected.named()[name])


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_each_term_and_any_multiple_of_it_can_be_differentiated(preset, rng):
    z = [torch.randn(27, 7, generator=rng).to(TRITON_DEVICE).requires_grad_() for _ in range(2)]
    risk, missing = (torch.rand(27, generator=rng).to(TRITON_DEVICE) for _ in range(2))
    mine, true = (
        F.clef(
            *z, risk, missing, return_terms=True, backend=backend, preset=preset, contrastive_weight=0.7, align_weight=2
        )
        for backend in ("triton", "reference")
    )
    for combine in (
        lambda t: t.loss,
        lambda t: t.contrastive,
        lambda t: t.alignment,
        lambda t: -300 * t.loss,
        lambda t: t.contrastive.square() + 5 * t.alignment + t.loss,
        lambda t: 0 * t.loss,
    ):
        torch.testing.assert_close(combine(mine), combine(true), rtol=2e-6, atol=1e-7)
        for g, h in zip(*(torch.autograd.grad(combine(t), z, retain_graph=True) for t in (mine, true))):
            torch.testing.assert_close(g, h, rtol=1e-4, atol=2e-6 * (1 + h.abs().max().item()))


def test_fp64_embeddings_are_refused_by_name_and_go_elsewhere_by_default(rng):
    z = torch.randn(2, 5, 4, generator=rng, dtype=torch.float64).to(TRITON_DEVICE)
    with pytest.raises(ValueError, match="float64"):
        F.ntxent(*z, backend="triton")
    assert torch.isfinite(F.ntxent(*z))


def test_a_layout_beyond_the_kernels_is_refused_by_name(rng):
    z = torch.randn(9, 4, generator=rng).to(TRITON_DEVICE)
    rule = UniformPairs(Layout(9, 9, True, (0, 3, 6), None))
    with pytest.raises(ValueError, match="at most 2 shifts"):
        pair_stats(z, None, 0.1, rule, backend="triton")
    assert torch.isfinite(pair_stats(z, None, 0.1, rule, backend="chunked").negative_lse).all()


@pytest.mark.skipif(not INTERPRETED, reason="on a GPU there is no other device to refuse")
def test_without_the_interpreter_a_cpu_tensor_is_refused():
    code = (
        "import torch, ecgloss.functional as F\n"
        "try:\n    F.ntxent(torch.eye(3), torch.eye(3), backend='triton')\n"
        "except ValueError as error:\n    print(error)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "triton" in done.stdout
    assert "CUDA" in done.stdout


def test_kernels_say_what_they_were_compiled_for():
    tile = kernels_module("tile_table").tile
    assert tile("sm90", ("forward",), "half", 128) != tile("sm80", ("forward",), "half", 256)
    with pytest.raises(LookupError, match="sm70"):
        tile("sm70", ("forward",), "half", 128)
